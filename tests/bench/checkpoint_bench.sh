#!/usr/bin/env bash
# Saves and loads a 527 MB training state (44M parameters and AdamW's moments, float32) on 4 ranks, with Tessera and
# with torch.distributed.checkpoint, in turns in one run. Both flush to disk. Prints a table and one JSON line.
#   checkpoint_bench.sh BENCH_BINARY [DIRECTORY]    PYTHON=... names an interpreter with torch 2.11
#   ROUNDS (3): turns; the best time of each counts, as the disk is shared with the rest of the machine
set -euo pipefail
binary=$1
base=${2:-$(mktemp -d)}
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-$("$here/../support/make_venv.sh")}
rounds=${ROUNDS:-3}
work=$(mktemp -d "$base/checkpoint_bench.XXXXXX")
trap 'rm -rf "$work"' EXIT

time_of() { # name, command...
  local name=$1
  shift
  "$@" >>"$work/$name.times"
}
for ((round = 0; round < rounds; ++round)); do
  rm -rf "$work/peer" "$work/peer2" "$work/ours"
  time_of disk "$python" - "$work/raw" <<'PY'
import os, sys, time
block = os.urandom(1 << 20)
start = time.perf_counter()
with open(sys.argv[1], "wb") as f:
    for _ in range(503):
        f.write(block)
    f.flush()
    os.fsync(f.fileno())
print(f"{time.perf_counter() - start:.4f}")
os.unlink(sys.argv[1])
PY
  time_of save_ours "$binary" save "$work/ours" 4 2
  time_of save_peer "$python" "$here/checkpoint_peer.py" save "$work/peer" 4 2 1
  time_of save_tuned "$python" "$here/checkpoint_peer.py" save "$work/peer2" 4 2 4
  time_of load_ours "$binary" load "$work/ours" 4 2
  time_of load_peer "$python" "$here/checkpoint_peer.py" load "$work/peer" 4 2 1
  time_of reshard_ours "$binary" load "$work/ours" 3 2
  time_of reshard_peer "$python" "$here/checkpoint_peer.py" load "$work/peer" 3 2 1
  time_of export_ours "$binary" export "$work/hf" 4 2
done

"$python" - "$work" <<'PY'
import json, pathlib, sys
best = {p.stem: min(map(float, p.read_text().split())) for p in pathlib.Path(sys.argv[1]).glob("*.times")}
peer_save = min(best["save_peer"], best["save_tuned"])
rows = [("save, 4 ranks", best["save_ours"], peer_save), ("load, 4 ranks", best["load_ours"], best["load_peer"]),
        ("load on 3 ranks", best["reshard_ours"], best["reshard_peer"])]
print(f"{'527 MB, float32, seconds':28}{'Tessera':>10}{'torch DCP':>12}{'ratio':>8}")
for name, ours, peer in rows:
    print(f"{name:28}{ours:10.3f}{peer:12.3f}{peer / ours:8.2f}")
print(f"{'HF export, bfloat16 (88 MB)':28}{best['export_ours']:10.3f}")
print(f"{'527 MB written and flushed':28}{best['disk']:10.3f}")
print(json.dumps({"bench": "checkpoint", "bytes": 527_000_000, **{k: round(v, 4) for k, v in sorted(best.items())}}))
PY
