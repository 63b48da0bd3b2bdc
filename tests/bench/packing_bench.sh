#!/usr/bin/env bash
# Packs the same lengths with Tessera's packers and with the real ones of Axolotl 0.19.0 (multipack) and NeMo AutoModel
# 0.7.0 (neat packing), one core each, in one run. Prints a table and one JSON line a case.
#   packing_bench.sh BENCH_BINARY [LENGTHS_FILE ...]
# Without files: 100,000 and 1,000,000 log-normal lengths, cut at 1,024 (mean 469). CAPACITIES="1024 2048 4096" by default.
set -euo pipefail
binary=$1
shift
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-}
if [ -z "$python" ]; then
  python3 -m venv "$work/venv"
  python=$work/venv/bin/python
  "$python" -m pip install -q numba numpy
fi
wheels=${WHEELS:-$work/wheels}
[ -d "$wheels" ] || "$python" -m pip download -q --no-deps -d "$wheels" axolotl==0.19.0 nemo-automodel==0.7.0

files=("$@")
if [ ${#files[@]} -eq 0 ]; then
  for count in 100000 1000000; do
    "$python" -c "
import numpy as np
lengths = np.random.default_rng(0).lognormal(5.9, 1.1, $count).astype(int).clip(8, 1024)
print('\n'.join(map(str, lengths)))" >"$work/lognormal-$count.txt"
    files+=("$work/lognormal-$count.txt")
  done
fi
for file in "${files[@]}"; do
  for capacity in ${CAPACITIES:-1024 2048 4096}; do
    "$binary" "$file" "$capacity" >"$work/ours"
    "$python" "$here/packing_peer.py" "$wheels" "$file" "$capacity" >"$work/peers"
    "$python" - "$file" "$capacity" "$work/ours" "$work/peers" <<'PY'
import json, pathlib, sys
file, capacity, *results = sys.argv[1:]
lengths = [int(x) for x in pathlib.Path(file).read_text().split()]
tokens, capacity = sum(lengths), int(capacity)
rows = [line.split() for path in results for line in pathlib.Path(path).read_text().splitlines()]
bound = int(rows.pop(0)[1])
name = pathlib.Path(file).stem
print(f"\n{name}: {len(lengths)} documents, {tokens} tokens, capacity {capacity}, lower bound {bound} packs")
print(f"{'packer':16}{'packs':>10}{'above bound':>13}{'efficiency':>12}{'ms':>12}")
out = {"bench": "packing", "lengths": name, "documents": len(lengths), "capacity": capacity, "lower_bound": bound}
for packer, packs, seconds in rows:
    packs, seconds = int(packs), float(seconds)
    efficiency = tokens / (packs * capacity)
    print(f"{packer:16}{packs:10}{packs - bound:13}{100 * efficiency:11.3f}%{1000 * seconds:12.2f}")
    out[packer] = {"packs": packs, "efficiency": round(efficiency, 6), "seconds": seconds}
print(json.dumps(out))
PY
  done
done
