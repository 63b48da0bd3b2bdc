#!/usr/bin/env bash
# Communication that computing does not hide, each mesh axis by itself over 4 ranks, as threads and as processes over Gloo,
# in turns in one run. Prints a table (seconds of a step; the share of it that a rank did not compute, by what for) and
# one JSON line. Figures are medians over the rounds.
#   overlap_bench.sh BENCH_BINARY [ROUNDS]
set -euo pipefail
binary=$1
rounds=${2:-1}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for round in $(seq "$rounds"); do
  "$binary" threads >>"$work/threads"
  pids=()
  for rank in 0 1 2 3; do
    "$binary" gloo $rank "file://$work/rendezvous.$round" >>"$work/gloo.$rank" &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid"; done
done
mv "$work/gloo.0" "$work/gloo"

python3 - "$work" <<'PY'
import collections, json, os, pathlib, statistics, sys
kinds = ("dp", "tp", "cp", "pp", "step")
samples = collections.defaultdict(list)
for engine in ("threads", "gloo"):
    for line in (pathlib.Path(sys.argv[1]) / engine).read_text().splitlines():
        name, *values = line.split()
        samples[name, engine].append([float(value) for value in values])
table = {}
for (name, engine), runs in samples.items():
    median = [statistics.median(run[i] for run in runs) for i in range(1 + len(kinds))]
    table.setdefault(name, {})[engine] = {"seconds": round(median[0], 4)} | {
        kind: round(value / median[0], 4) for kind, value in zip(kinds, median[1:])}
print(f"{'4 ranks':18}" + "".join(f"{engine:>9}{'s':2}" + "".join(f"{kind:>7}" for kind in kinds) for engine in ("threads", "gloo")))
for name, row in table.items():
    print(f"{name:18}" + "".join(f"{r['seconds']:11.3f}" + "".join(f"{100 * r[kind]:6.1f}%" for kind in kinds) for r in row.values()))
print(json.dumps({"bench": "overlap_125m_bf16", "load": os.getloadavg()[0], "cases": table}))
PY
