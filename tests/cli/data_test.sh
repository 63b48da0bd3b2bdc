#!/usr/bin/env bash
# Data from the command line: a mix, rows that validate, a cache that ranks share, and a stream that goes on elsewhere.
source "$(dirname "$0")/common.sh" "$1"

# The loss over the validation rows is what eval finds on the exported model, on any mesh.
split=(data.validation_split=0.25 data.shuffle=true)
run train "${common[@]}" "${split[@]}" ranks=2 train.steps=4 train.validate_every=2 output.metrics=v.jsonl output.dir=v
test "$(grep -c validation_loss v.jsonl)" -eq 2 || fail "steps 2 and 4 are validated"
validated=$(grep validation_loss v.jsonl | tail -1 | sed -E 's/.*"validation_loss": ([0-9.e+-]+).*/\1/')
for ranks in 1 4; do
  run eval model.path=v data.path=rows.jsonl precision.param=fp32 "${split[@]}" data.part=validation ranks=$ranks train.global_batch=8
  found=$(sed -E 's/.*"loss": ([0-9.e+-]+).*/\1/' out.log)
  awk -v a="$validated" -v b="$found" 'BEGIN { d = a - b; exit !(d < 1e-5 && d > -1e-5) }' ||
    fail "validation loss $validated, eval on $ranks ranks $found"
done
run train "${common[@]}" ranks=1 train.steps=1 data.validation_path=rows.jsonl
grep -q "validation loss" out.log || fail "the rows of data.validation_path are evaluated after the last step"

# A cache gives the losses that go without, is made by one of the ranks, and is made again when it is damaged.
run train "${common[@]}" ranks=4 train.steps=5 output.metrics=without.jsonl data.packing=bfd data.seq_len=64
cached=("${common[@]}" ranks=4 train.steps=5 output.metrics=with.jsonl data.packing=bfd data.seq_len=64 data.cache=cache)
losses without.jsonl >without.losses
for damage in no no yes; do
  [ $damage = no ] || truncate -s 5000 cache/*.cache
  run train "${cached[@]}"
  losses with.jsonl >with.losses
  alike without.losses with.losses "a cache changes nothing (damaged: $damage)"
  test "$(find cache -name '*.cache' | wc -l)" -eq 1 || fail "four ranks share one cache"
done
grep -q "made again" out.log || fail "a damaged cache is named"

# A mix of two sources.
head -40 rows.jsonl >a.jsonl
tail -24 rows.jsonl >b.jsonl
for ranks in 1 4; do
  run train "${common[@]}" ranks=$ranks train.steps=6 output.metrics=mix$ranks.jsonl data.path=a.jsonl,b.jsonl data.weights=1,3 data.shuffle=true
  losses mix$ranks.jsonl >mix$ranks.losses
done
alike mix1.losses mix4.losses "four ranks mix as one does"

# A stream saved by two ranks goes on with four.
stream=("${common[@]}" data.streaming=true data.stream_buffer=6 data.packing=bfd data.seq_len=64 data.shuffle=true output.export=false)
run train "${stream[@]}" ranks=2 train.steps=8 output.metrics=whole.jsonl
run train "${stream[@]}" ranks=2 train.steps=5 output.metrics=part.jsonl output.dir=stream
run train "${stream[@]}" ranks=4 train.steps=8 output.metrics=rest.jsonl output.dir=stream output.resume=true
losses whole.jsonl | tail -3 >whole.losses
losses rest.jsonl | tail -3 >rest.losses
alike whole.losses rest.losses "a stream goes on on another number of ranks"
echo "ok"
