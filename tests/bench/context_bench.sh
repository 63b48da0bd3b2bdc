#!/usr/bin/env bash
# Exchanges of context parallelism over 4 ranks, as threads and as processes over Gloo, beside PyTorch's ring attention on
# Gloo, in turns in one run. Prints a table (milliseconds, forward and backward), the ratios to the better of PyTorch's
# two rings, and one JSON line. Figures are medians over the rounds.
#   context_bench.sh BENCH_BINARY [ROUNDS]      PYTHON=... names an interpreter with torch 2.11
set -euo pipefail
binary=$1
rounds=${2:-1}
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-$("$here/../support/make_venv.sh")}
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
  # Not by torchrun, which gives each rank a session, and with it a share of a busy machine, of its own.
  pids=() port=$((20000 + RANDOM % 20000))
  for rank in 0 1 2 3; do
    RANK=$rank WORLD_SIZE=4 LOCAL_RANK=$rank LOCAL_WORLD_SIZE=4 MASTER_ADDR=127.0.0.1 MASTER_PORT=$port OMP_NUM_THREADS=1 \
      "$python" "$here/context_peer.py" >>"$work/pytorch.$rank" 2>"$work/pytorch.log.$rank" &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid" || { tail -20 "$work"/pytorch.log.* >&2; exit 1; }; done
done
mv "$work/gloo.0" "$work/gloo"
mv "$work/pytorch.0" "$work/pytorch"

"$python" - "$work" <<'PY'
import collections, json, os, pathlib, statistics, sys
samples = collections.defaultdict(list)
for source in ("threads", "gloo", "pytorch"):
    for line in (pathlib.Path(sys.argv[1]) / source).read_text().splitlines():
        case, name, forward, backward = line.split()
        samples[case, name, source].append((float(forward) * 1e3, float(backward) * 1e3))
table = {}
for (case, name, source), times in samples.items():
    table.setdefault((case, name), {})[source] = [round(statistics.median(t[i] for t in times), 2) for i in (0, 1)]
print(f"{'ms forward + backward, 4 ranks':58}{'threads':>18}{'Gloo':>18}")
for (case, name), row in table.items():
    cells = [row.get("threads"), row.get("gloo") or row.get("pytorch")]
    text = "".join(f"{f'{c[0]:.1f} + {c[1]:.1f}' if c else '-':>18}" for c in cells)
    print(f"{case:28}{name:30}{text}")
ratios = {}
for case in dict.fromkeys(case for case, _ in table):
    peer = [sum(row["pytorch"]) for (c, _), row in table.items() if c == case and "pytorch" in row]
    if not peer:
        continue
    ours = {name: sum(row["gloo"]) for (c, name), row in table.items() if c == case and "gloo" in row}
    best = min(ours, key=ours.get)
    ratios[case] = {"ring": round(min(peer) / ours["ring/zigzag"], 2), "best": round(min(peer) / ours[best], 2)}
    print(f"{case}: {ratios[case]['ring']} times PyTorch's ring with ring/zigzag, {ratios[case]['best']} with {best}")
print(json.dumps({"bench": "context", "load": os.getloadavg()[0], "ratios": ratios,
                  "rows": [[*key, row] for key, row in table.items()]}))
PY
