#!/usr/bin/env bash
# check_exports.sh EXPORTS REFERENCE: runs check_exports.py. Exits with 77 (skipped) when no Python reference can be had.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
python=$("$here/../support/make_venv.sh" --existing) || exit 77
OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 exec "$python" "$here/check_exports.py" "$@"
