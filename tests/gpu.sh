#!/usr/bin/env bash
# Builds, checks and measures all GPU code, within ten minutes a call.
#
#   tests/gpu.sh [run] [--out FOLDER] [--parts A,B] [--limit SECONDS]
#                                       on a machine with a GPU. Parts, in their order (default: all):
#                                         tests      correctness on the device
#                                         training   Llama 1B and 3B beside torchtitan and transformers
#                                         profile    where a step's time goes, ours and torchtitan's
#                                         sharing    ranks that share the GPU over NCCL, one of them killed
#                                         kernels    each kernel beside ATen's
#                                         sanitizer  memory and race checks of the kernels
#                                         more       further training cases
#                                       Writes tests.json, kernels.jsonl, training.jsonl, profile.jsonl, report.txt,
#                                       machine.txt and results.md, which is for docs/benchmarks.md, into FOLDER (default
#                                       $OUT or build/gpu-results); what a run that is cut off has measured stays. Any
#                                       failure, and any GPU test that was skipped, ends it with status 1. Without a GPU:
#                                       77, with the reason. --limit (default 570): steps that begin later are left out.
#   tests/gpu.sh report FOLDER...       anywhere: results.md of several runs together, to stdout.
#   tests/gpu.sh dry-run TESSERA [FOLDER]   anywhere: the measuring scripts and the report with the program TESSERA, a tiny
#                                       model and the CPU, which shows that the scripts work and nothing else.
#   tests/gpu.sh pack [CMAKE-OPTIONS]   anywhere: builds with preset cuda and puts the programs with the libraries they
#                                       need beside LibTorch, and torchtitan as wheels, into build/gpu-pack.tar.gz, for a
#                                       machine that has PyTorch and CUDA but no compilers' libraries or no network. `run`
#                                       uses that file where it is and its programs start; otherwise it builds with preset
#                                       cuda.
#
# PYTHON names the interpreter with PyTorch 2.11 for CUDA whose libraries are used (default python3). TESSERA_GPU_PROBE is
# the command that finds a GPU (default `nvidia-smi -L`); TESSERA_GPU_BENCH adds options of train_gpu_bench.py.
set -euo pipefail
cd "$(dirname "$0")/.."
pack=$PWD/build/gpu-pack
programs=(tessera_gpu_tests gpu_kernels_bench tessera)
targets=(tessera_cuda tessera_gpu_tests gpu_kernels_bench tessera_cli kernel_trace)
# torchtitan and what it needs that a machine with PyTorch, transformers, pyarrow, pandas and tensorboard lacks.
wheels=(torchtitan==0.2.2 torchdata==0.11.0 tyro==1.0.17 docstring-parser==0.18.0 typeguard==4.6.0 datasets==5.2.0
  dill==0.4.1 multiprocess==0.70.19)
wheels_python=3.12
python=${PYTHON:-python3}

build() { # CMake options
  cmake --preset cuda "$@"
  cmake --build --preset cuda --target "${targets[@]}"
}

# The libraries a program needs that are neither the system's nor PyTorch's.
own_libraries() {
  ldd "$1" | awk '/=> \//{print $3}' | grep -vE '/(torch|nvidia|cu13)/|/lib(c|m|dl|util|pthread|rt|gcc_s|stdc\+\+|gomp)\.so' || true
}

pack_wheels() {
  "$python" -m pip download -q --no-deps --only-binary=:all: --python-version "$wheels_python" --implementation cp \
    -d "$pack/wheels" "${wheels[@]}" && return
  rm -rf "$pack/wheels"
  echo "torchtitan is not packed: its wheels cannot be had from here"
}

do_pack() {
  build "$@"
  rm -rf "$pack" && mkdir -p "$pack"
  cp build/cuda/lib/libtessera_cuda.so "$pack/"
  cp build/cuda/lib/libkernel_trace.so "$pack/" || true  # where there is no cupti.h
  for program in "${programs[@]}"; do
    cp "build/cuda/bin/$program" "$pack/"
    for library in $(own_libraries "build/cuda/bin/$program"); do cp -Ln "$library" "$pack/" || true; done
  done
  strip --strip-unneeded "$pack"/*
  pack_wheels
  # What travels to such a machine: the pack and the files of the repository.
  local kib tracked
  tar -C "$pack" -czf "$pack.tar.gz" .
  kib=$(du -k "$pack.tar.gz" | cut -f1)
  tracked=$(git ls-files -z | xargs -0 du -ck | tail -1 | cut -f1)
  echo "$pack.tar.gz: $((kib / 1024)) MiB, and $((tracked / 1024)) MiB of tracked files"
  [ $((kib + tracked)) -lt $((64 * 1024)) ] || { echo "more than 64 MiB cannot be carried"; exit 1; }
}

find_torch() {
  torch=$("$python" -c 'import os, torch; print(os.path.dirname(torch.__file__))')
  [ -e "$torch/lib/libtorch_cuda.so" ] || { echo "PyTorch in $torch is without CUDA"; exit 1; }
  site=$(dirname "$torch")
  libraries=$torch/lib
  for folder in "$site"/nvidia/*/lib; do libraries+=:$folder; done
}

starts() { # folder
  [ -x "$1/tessera_gpu_tests" ] && "$1/tessera_gpu_tests" --gtest_list_tests >/dev/null
}

# The pack travels as one file.
unpack() {
  [ -e "$pack.tar.gz" ] || return 0
  rm -rf "$pack" && mkdir -p "$pack" && tar -C "$pack" -xzf "$pack.tar.gz"
}

choose_programs() {
  unpack
  export LD_LIBRARY_PATH=$pack:$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  if starts "$pack"; then
    bin=$pack trace=$pack/libkernel_trace.so
    return
  fi
  [ ! -d "$pack" ] || echo "the packed programs do not start here: building instead"
  TESSERA_TORCH_ROOT=$torch build
  bin=$PWD/build/cuda/bin trace=$PWD/build/cuda/lib/libkernel_trace.so
  starts "$bin" || { echo "the programs of $bin do not start"; exit 1; }
}

# torchtitan out of the pack into a folder that only peers see. The wheels are Python alone: unpacked they are installed.
unpack_peers() {
  local wheel
  peers=$scratch/peers
  mkdir -p "$peers"
  for wheel in "$pack"/wheels/*.whl; do
    [ ! -e "$wheel" ] || "$python" -m zipfile -e "$wheel" "$peers" || echo "$wheel cannot be unpacked"
  done
}

left() { echo $((limit - SECONDS)); }

failures=()
step() { # name, the most seconds, command...
  local name=$1 seconds=$2 begin=$SECONDS status=0
  shift 2
  [ "$seconds" -le "$(left)" ] || seconds=$(left)
  if [ "$seconds" -lt 10 ]; then
    echo "== $name: not run, no time left"
    return
  fi
  echo "== $name"
  if [ "$(type -t "$1")" = function ]; then
    "$@" || status=$?
  else
    timeout --kill-after=10 "$seconds" "$@" &
    wait $! || status=$?  # a signal is answered while it waits
  fi
  echo "== $name: $([ "$status" = 0 ] && echo ok || echo "FAILED with status $status"), $((SECONDS - begin)) s"
  [ "$status" = 0 ] || failures+=("$name")
  write_results  # what there is, should the next step be the last
}

write_results() {
  "$python" tests/gpu/bench/report.py "$out" >"$out/results.md.new" && mv "$out/results.md.new" "$out/results.md"
}

# A test of a device that was skipped has shown nothing.
no_device_test_was_skipped() {
  "$python" - "$out/tests.json" <<'PY'
import json, sys
tests = [t for suite in json.load(open(sys.argv[1]))["testsuites"] for t in suite["testsuite"]]
device = [t for t in tests if t["name"].endswith("/device")]
skipped = [t["name"] for t in device if t.get("result") == "SKIPPED"]
print(f"{len(tests)} tests, {len(device)} of them on the device, {len(skipped)} of these skipped")
sys.exit(bool(skipped) or not device)
PY
}

train() { # name, the most seconds, options of train_gpu_bench.py
  local name=$1 seconds=$2
  shift 2
  [ "$seconds" -le "$(left)" ] || seconds=$(left)
  # shellcheck disable=SC2086  # several options
  step "$name" "$seconds" "$python" tests/gpu/bench/train_gpu_bench.py --tessera "$bin/tessera" --peer-path "$peers" \
    --budget $((seconds - 5)) "$@" ${TESSERA_GPU_BENCH:-}
}

part_tests() {
  step "tests on the device" 150 "$bin/tessera_gpu_tests" --gtest_brief=1 --gtest_output="json:$out/tests.json"
  step "no test skipped" 20 no_device_test_was_skipped
}

part_training() {
  train "training of 1B" 300 --json "$out/training.jsonl" --cases "${cases_first:-1b-4096}"
  train "training of 3B" 300 --json "$out/training.jsonl" --cases "${cases_second:-3b-4096}"
}

part_profile() {
  local case=${cases_first:-1b-4096} program
  if [ ! -e "$trace" ]; then
    echo "== no profile: libkernel_trace.so was not built"
    return
  fi
  train "profiled training" 150 --json "$scratch/profiled.jsonl" --cases "$case" --programs tessera,torchtitan --steps 8 \
    --trace "$trace" --traces "$scratch"
  for program in tessera torchtitan; do
    [ ! -e "$scratch/$case.$program.trace" ] ||
      step "profile of $program" 30 "$python" tests/gpu/bench/kernel_table.py "$scratch/$case.$program.trace" --case "$case" \
        --program "$program" --training "$scratch/profiled.jsonl" --json "$out/profile.jsonl"
  done
}

part_sharing() {
  step "ranks that share the GPU" 150 tests/gpu/shared_gpu_test.sh "$bin/tessera" --budget 130
}

part_kernels() {
  step "kernels beside ATen" 90 "$bin/gpu_kernels_bench" --json "$out/kernels.jsonl"
}

part_sanitizer() {
  if ! command -v compute-sanitizer >/dev/null; then
    echo "== no compute-sanitizer here"
    return
  fi
  step "accesses outside memory" 90 compute-sanitizer --tool memcheck --error-exitcode 1 --print-limit 5 \
    "$bin/tessera_gpu_tests" --gtest_brief=1 --gtest_filter='*NormOn*TwoRuns*device:*RopeOn*device:*GatedOn*device:*RowsOn*device:*CrossEntropyOn*Pieces*device'
  step "races in shared memory" 60 compute-sanitizer --tool racecheck --error-exitcode 1 --print-limit 5 \
    "$bin/tessera_gpu_tests" --gtest_brief=1 --gtest_filter='*NormOn*TwoRuns*device:*CrossEntropyOn*Pieces*device'
}

part_more() {
  train "further training" 600 --json "$out/training.jsonl" \
    --cases "${cases_more:-1b-gsm8k,1b-4096-untied,1b-4096-variants,1b-8192,8b-6-layers-4096,1b-4096-offload}"
}

finish() {
  local status=$?
  trap - EXIT
  trap '' TERM INT PIPE
  [ -z "$(jobs -p)" ] || kill $(jobs -p) 2>/dev/null || true
  write_results || true
  rm -rf "$scratch"
  [ "$status" != 143 ] || failures+=("the run itself, which was cut off")
  echo "failed: ${failures[*]:-nothing}"
  [ ${#failures[@]} = 0 ] || status=1
  exit "$status"
}

do_run() {
  out=${OUT:-$PWD/build/gpu-results} limit=570
  local parts=tests,training,profile,sharing,kernels,sanitizer,more part
  while [ $# -gt 0 ]; do
    case $1 in
      --out) out=$2 ;;
      --parts) parts=$2 ;;
      --limit) limit=$2 ;;
      *) echo "unknown option $1"; exit 2 ;;
    esac
    shift 2
  done
  for part in ${parts//,/ }; do
    [ "$(type -t "part_$part")" = function ] || { echo "no part \"$part\""; exit 2; }
  done
  mkdir -p "$out"
  find_torch
  if ! ${TESSERA_GPU_PROBE:-nvidia-smi -L} >/dev/null 2>&1; then
    echo "no measurement: nvidia-smi finds no GPU"
    exit 77
  fi
  scratch=$(mktemp -d)
  # The report outlives a signal to all of the script's processes.
  exec > >(trap '' TERM INT; exec tee "$out/report.txt") 2>&1
  trap finish EXIT
  trap 'exit 143' TERM INT
  choose_programs
  unpack_peers
  nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit --format=csv,noheader 2>/dev/null |
    tee "$out/machine.txt" || true
  for part in ${parts//,/ }; do "part_$part"; done
}

do_dry_run() { # tessera, folder
  out=${2:-$PWD/build/gpu-results}
  mkdir -p "$out"
  rm -f "$out/training.jsonl"
  echo "no GPU: a dry run" >"$out/machine.txt"
  "$python" tests/gpu/bench/train_gpu_bench.py --tessera "$1" --device cpu --tiny --steps 3 --json "$out/training.jsonl"
  "$python" tests/gpu/bench/report.py "$out" | tee "$out/results.md"
}

case ${1:-run} in
  dry-run) shift; do_dry_run "$@" ;;
  pack) shift; do_pack "$@" ;;
  report) shift; "$python" tests/gpu/bench/report.py "$@" ;;
  run) shift || true; do_run "$@" ;;
  --*) do_run "$@" ;;
  *) sed -n '2,27p' "$0"; exit 2 ;;
esac
