#!/usr/bin/env bash
# Collectives of the local engine, ranks as threads and as processes, beside Gloo through torch.distributed: 4 ranks, one run.
# Prints a table and one JSON line.
#   comm_bench.sh BENCH_BINARY      PYTHON=... names an interpreter with torch 2.11
set -euo pipefail
binary=$1
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-$("$here/../support/make_venv.sh")}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$binary" threads >"$work/threads"
for rank in 0 1 2 3; do
  "$binary" process $rank "file://$work/rendezvous" >"$work/processes.$rank" &
done
wait
mv "$work/processes.0" "$work/processes"
OMP_NUM_THREADS=1 "$python" -m torch.distributed.run --standalone --nproc-per-node 4 "$here/comm_peer.py" >"$work/gloo" 2>/dev/null

"$python" - "$work" <<'PY'
import json, pathlib, sys
read = lambda name: {k: float(v) for k, v in map(str.split, (pathlib.Path(sys.argv[1]) / name).read_text().splitlines())}
threads, processes, gloo = read("threads"), read("processes"), read("gloo")
print(f"{'microseconds, 4 ranks':24}{'threads':>12}{'processes':>12}{'Gloo':>12}{'ratio':>8}")
for name in gloo:
    print(f"{name:24}{threads[name] * 1e6:12.1f}{processes[name] * 1e6:12.1f}{gloo[name] * 1e6:12.1f}"
          f"{gloo[name] / max(threads[name], processes[name]):8.1f}")
print(json.dumps({"bench": "collectives", "threads": threads, "processes": processes, "gloo": gloo}))
PY
