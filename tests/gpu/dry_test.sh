#!/usr/bin/env bash
# Trains with device=cuda on a CUDA runtime without a GPU (tests/gpu/dry): the real LibTorch for CUDA, the real plugin, and
# kernels that compute nothing. dry_test.sh PLUGIN_FOLDER TESSERA LIBRARY [CASE...]; PLUGIN_FOLDER is where build_plugin.sh
# built. Ends with 77 where that has not been done or there is no LibTorch for CUDA.
# DRY_RUN="COMMAND ..." runs that instead of the test, with the runtime in place.
set -euo pipefail
work=$(realpath -m "$1") tessera=$2 library=$(realpath -s "$3")
shift 3
here=$(cd "$(dirname "$0")" && pwd)
skip() { echo "skipped: $1"; exit 77; }

python=$("$here/../support/make_venv.sh" --existing) || skip "no Python environment with PyTorch"
torch=$("$python" -c 'import os, torch; print(os.path.dirname(torch.__file__))')
[ -e "$torch/lib/libtorch_cuda.so" ] || skip "PyTorch in $torch is without CUDA"
plugin=$work/build/lib/libtessera_cuda.so
[ -e "$plugin" ] || skip "no plugin in $work: build_plugin.sh makes it"
headers=$work/nvcc/nvidia/cu13/include
[ -d "$headers" ] || headers=$(dirname "$(dirname "$(command -v nvcc)")")/include

"$here/dry/build.sh" "$work/dry" "$torch" "$headers"
run=$work/dry/run
rm -rf "$run" && mkdir -p "$run"
cp "$tessera" "$run/"
for file in "$library"*; do ln -s "$file" "$run/"; done
ln -s "$plugin" "$run/"
export PATH=$run:$PATH LD_LIBRARY_PATH=$run:$torch/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export TESSERA_DRY_PRELOAD="$work/dry/libcuda.so.1 $work/dry/libnccl.so.2" TESSERA_DRY_LISTENER=$work/dry/liblistener.so
export TESSERA_DRY_RACES=$work/dry/races
if [ -n "${DRY_RUN:-}" ]; then LD_PRELOAD=$TESSERA_DRY_PRELOAD exec bash -c "$DRY_RUN"; fi
python3 "$here/dry_test.py" "$run/$(basename "$tessera")" "$@"
[ $# -gt 0 ] || python3 "$here/dry_plan_test.py" "$run/$(basename "$tessera")"
