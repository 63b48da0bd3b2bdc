#!/usr/bin/env bash
# Builds, checks and measures all GPU code in one go, within ten minutes.
#
#   tests/gpu.sh [run] [--out FOLDER]   on a machine with a GPU: tests, memory checker, kernel and training benchmarks.
#                                       Writes tests.json, kernels.jsonl, training.jsonl, report.txt, machine.txt and
#                                       results.md, which is for docs/benchmarks.md, into FOLDER (default $OUT or
#                                       build/gpu-results) and prints the report. Any failure, and any GPU test that
#                                       was skipped, ends it with status 1. Without a GPU: 77, with the reason.
#   tests/gpu.sh dry-run TESSERA [FOLDER]   anywhere: the measuring scripts and the report with the program TESSERA, a tiny
#                                       model and the CPU, which shows that the scripts work and nothing else.
#   tests/gpu.sh pack [CMAKE-OPTIONS]   anywhere: builds with preset cuda and puts the programs with the libraries they
#                                       need beside LibTorch into build/gpu-pack, for a machine that has PyTorch and CUDA
#                                       but no compilers' libraries or no network. `run` uses that folder where it is and
#                                       its programs start; otherwise it builds with preset cuda.
#
# PYTHON names the interpreter with PyTorch 2.11 for CUDA whose libraries are used (default python3).
set -euo pipefail
cd "$(dirname "$0")/.."
pack=$PWD/build/gpu-pack
programs=(tessera_gpu_tests gpu_kernels_bench tessera)
targets=(tessera_cuda tessera_gpu_tests gpu_kernels_bench tessera_cli)

build() { # CMake options
  cmake --preset cuda "$@"
  cmake --build --preset cuda --target "${targets[@]}"
}

# The libraries a program needs that are neither the system's nor PyTorch's.
own_libraries() {
  ldd "$1" | awk '/=> \//{print $3}' | grep -vE '/(torch|nvidia|cu13)/|/lib(c|m|dl|util|pthread|rt|gcc_s|stdc\+\+|gomp)\.so' || true
}

do_pack() {
  build "$@"
  rm -rf "$pack" && mkdir -p "$pack"
  cp build/cuda/lib/libtessera_cuda.so "$pack/"
  for program in "${programs[@]}"; do
    cp "build/cuda/bin/$program" "$pack/"
    for library in $(own_libraries "build/cuda/bin/$program"); do cp -Ln "$library" "$pack/" || true; done
  done
  strip --strip-unneeded "$pack"/*
  # What travels to such a machine: the pack and the files of the repository.
  local kib tracked
  kib=$(du -sk "$pack" | cut -f1)
  tracked=$(git ls-files -z | xargs -0 du -ck | tail -1 | cut -f1)
  echo "$pack: $((kib / 1024)) MiB, and $((tracked / 1024)) MiB of tracked files"
  [ $((kib + tracked)) -lt $((64 * 1024)) ] || { echo "more than 64 MiB cannot be carried"; exit 1; }
}

find_torch() {
  torch=$("${PYTHON:-python3}" -c 'import os, torch; print(os.path.dirname(torch.__file__))')
  [ -e "$torch/lib/libtorch_cuda.so" ] || { echo "PyTorch in $torch is without CUDA"; exit 1; }
  site=$(dirname "$torch")
  libraries=$torch/lib
  for folder in "$site"/nvidia/*/lib; do libraries+=:$folder; done
}

starts() { # folder
  [ -x "$1/tessera_gpu_tests" ] && "$1/tessera_gpu_tests" --gtest_list_tests >/dev/null
}

choose_programs() {
  export LD_LIBRARY_PATH=$pack:$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  if starts "$pack"; then
    bin=$pack
    return
  fi
  [ ! -d "$pack" ] || echo "the packed programs do not start here: building instead"
  TESSERA_TORCH_ROOT=$torch build
  bin=$PWD/build/cuda/bin
  starts "$bin" || { echo "the programs of $bin do not start"; exit 1; }
}

failures=()
step() { # name, seconds, command...
  local name=$1 limit=$2 begin=$SECONDS
  shift 2
  echo "== $name"
  if [ "$(type -t "$1")" = function ]; then set -- "$@"; else set -- timeout "$limit" "$@"; fi
  if "$@"; then
    echo "== $name: ok, $((SECONDS - begin)) s"
  else
    echo "== $name: FAILED with status $?, after $((SECONDS - begin)) s"
    failures+=("$name")
  fi
}

# A test of a device that was skipped has shown nothing.
no_device_test_was_skipped() {
  "${PYTHON:-python3}" - "$out/tests.json" <<'PY'
import json, sys
tests = [t for suite in json.load(open(sys.argv[1]))["testsuites"] for t in suite["testsuite"]]
device = [t for t in tests if t["name"].endswith("/device")]
skipped = [t["name"] for t in device if t.get("result") == "SKIPPED"]
print(f"{len(tests)} tests, {len(device)} of them on the device, {len(skipped)} of these skipped")
sys.exit(bool(skipped) or not device)
PY
}

do_run() {
  out=${OUT:-$PWD/build/gpu-results}
  if [ "${1:-}" = --out ]; then out=$2; fi
  mkdir -p "$out"
  find_torch
  if ! nvidia-smi -L >/dev/null 2>&1; then
    echo "no measurement: nvidia-smi finds no GPU"
    exit 77
  fi
  choose_programs
  {
    nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit --format=csv,noheader |
      tee "$out/machine.txt"
    step "tests on the device" 120 "$bin/tessera_gpu_tests" --gtest_brief=1 --gtest_output="json:$out/tests.json"
    step "no test skipped" 20 no_device_test_was_skipped
    if command -v compute-sanitizer >/dev/null; then
      step "accesses outside memory" 80 compute-sanitizer --tool memcheck --error-exitcode 1 --print-limit 5 \
        "$bin/tessera_gpu_tests" --gtest_brief=1 --gtest_filter='*NormOn*TwoRuns*device:*RopeOn*device:*GatedOn*device:*RowsOn*device:*CrossEntropyOn*Pieces*device'
      step "races in shared memory" 50 compute-sanitizer --tool racecheck --error-exitcode 1 --print-limit 5 \
        "$bin/tessera_gpu_tests" --gtest_brief=1 --gtest_filter='*NormOn*TwoRuns*device:*CrossEntropyOn*Pieces*device'
    fi
    step "kernels beside ATen" 90 "$bin/gpu_kernels_bench" --json "$out/kernels.jsonl"
    # What is left of ten minutes, but for the report.
    local left=$((570 - SECONDS))
    step "training beside transformers" "$left" "${PYTHON:-python3}" tests/gpu/train_gpu_bench.py \
      --tessera "$bin/tessera" --json "$out/training.jsonl" --budget $((left - 10))
    echo "failed: ${failures[*]:-nothing}"
  } 2>&1 | tee "$out/report.txt"
  "${PYTHON:-python3}" tests/gpu/report.py "$out" >"$out/results.md"
  ! grep -q '^== .*: FAILED' "$out/report.txt"
}

do_dry_run() { # tessera, folder
  out=${2:-$PWD/build/gpu-results}
  mkdir -p "$out"
  echo "no GPU: a dry run" >"$out/machine.txt"
  "${PYTHON:-python3}" tests/gpu/train_gpu_bench.py --tessera "$1" --device cpu --tiny --steps 3 --json "$out/training.jsonl"
  "${PYTHON:-python3}" tests/gpu/report.py "$out" | tee "$out/results.md"
}

case ${1:-run} in
  dry-run) shift; do_dry_run "$@" ;;
  pack) shift; do_pack "$@" ;;
  run) shift || true; do_run "$@" ;;
  --out) do_run "$@" ;;
  *) sed -n '2,20p' "$0"; exit 2 ;;
esac
