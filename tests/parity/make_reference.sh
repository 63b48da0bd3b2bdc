#!/usr/bin/env bash
# make_reference.sh DIR [SCRIPT]: writes what transformers computes for every parity case into DIR, unless it is there
# already. SCRIPT: reference.py (models, default) or text_reference.py (tokenizers and chat templates).
# Exits with 77 (skipped) when no Python reference can be had.
set -euo pipefail
out=$1
script=${2:-reference.py}
here=$(cd "$(dirname "$0")" && pwd)

python=$("$here/../support/make_venv.sh" --existing) || exit 77
stamp=$("$python" -c 'import torch, transformers; print(torch.__version__, transformers.__version__)')
stamp="$stamp $(cat "$here/$script" "$here/cases.py" "$here/checkpoint_names.py" "$here/text_cases.py" | sha256sum)"
mkdir -p "$out"
exec 9>"$out.lock" # ctest may run several tests at once
flock 9
if [ "$(cat "$out/stamp" 2>/dev/null)" != "$stamp" ]; then
  rm -rf "$out"
  mkdir -p "$out"
  # One thread: models are tiny, and the machine runs other tests.
  OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 "$python" "$here/$script" "$out"
  echo "$stamp" >"$out/stamp"
fi
