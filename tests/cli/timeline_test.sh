#!/usr/bin/env bash
# tessera plan --timeline: the picture in the terminal, the SVG, the trace.
source "$(dirname "$0")/common.sh" "$1"

job=(model.config=config.json ranks=2 parallel.pp=2 train.global_batch=4 train.micro_batch=1 data.seq_len=64)
run plan "${job[@]}" --timeline --timeline-svg=step.svg --timeline-trace step.json
grep -q "^1f1b over pp=2, 4 micro-batches; backward 2 forwards" out.log || fail "the title says what it is"
grep -q "^rank 0  F0" out.log || fail "rank 0 begins with the first micro-batch"
grep -q "^rank 1  \.\." out.log || fail "rank 1 waits for it"
grep -q "^bubble  " out.log || fail "the bubble is told"
grep -q $'\x1b' out.log && fail "colours are for terminals only"
awk 'length > 100 && /^rank/ { exit 1 }' out.log || fail "without a terminal a row has 100 columns at most"
head -c 4 step.svg | grep -q "<svg" && tail -1 step.svg | grep -q "^</svg>$" || fail "the image is SVG"
grep -q '"traceEvents":\[' step.json && tail -1 step.json | grep -q '^\]}$' || fail "the trace is JSON"
if command -v python3 >/dev/null; then
  python3 -c 'import json; json.load(open("step.json")); import xml.dom.minidom as x; x.parse("step.svg")' || fail "other programs read them"
fi

# Slower transfers make the bubble larger; zero-bubble makes it smaller.
bubble() { run plan "${job[@]}" "$@" --timeline; sed -nE 's/^bubble +([0-9.]+)%.*/\1/p' out.log; }
larger() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a > b) }'; }
plain=$(bubble)
larger "$(bubble --timeline-transfer=0.5)" "$plain" || fail "transfers make the bubble larger"
larger "$plain" "$(bubble parallel.pp_schedule=zb_h1)" || fail "zb_h1 has the smaller bubble"

# In a terminal there are colours, unless NO_COLOR is set, and rows as wide as it is.
if command -v script >/dev/null; then
  line="stty cols 60; TERM=xterm $tessera plan ${job[*]} --timeline"
  script -qec "$line" /dev/null </dev/null >terminal.log
  grep -q $'\x1b\[38;5;16;48;5;' terminal.log || fail "a terminal has colours"
  script -qec "export NO_COLOR=1; $line" /dev/null </dev/null >terminal.log
  grep -q $'\x1b' terminal.log && fail "NO_COLOR turns them off"
  tr -d '\r' <terminal.log | awk 'length > 60 && /^rank/ { exit 1 }' || fail "rows fit into the terminal"
fi

refused() { "$tessera" plan "${job[@]}" "${@:2}" >bad.log 2>&1 && fail "$* is an error"; grep -qF -- "$1" bad.log || { cat bad.log; fail "the error says $1"; }; }
refused "--timeline-transfer=fast is not a number" --timeline --timeline-transfer=fast
refused "cost transfer=-1 must be between 0 and 1e9" --timeline --timeline-transfer=-1
refused "cannot write no/such/folder.svg" --timeline-svg=no/such/folder.svg
echo "ok"
