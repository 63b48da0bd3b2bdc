#!/usr/bin/env bash
# Training from the command line: every mesh gives one rank's losses, a resumed run goes on to the last bit, an exported
# model is one that can be opened again.
source "$(dirname "$0")/common.sh" "$1"

run train "${common[@]}" ranks=1 train.steps=6 output.metrics=one.jsonl output.dir=one
test "$(wc -l <one.jsonl)" -eq 6 || fail "six steps give six lines"
losses one.jsonl >one.losses
run train "${common[@]}" ranks=1 train.steps=48 output.metrics=long.jsonl
losses long.jsonl | awk 'NR <= 8 { first += $1 } NR > 40 { last += $1 } END { exit !(last < first - 2) }' ||
  fail "the loss falls over six epochs"
for mesh in "ranks=2" "ranks=3 train.global_batch=9" "ranks=4 train.micro_batch=2" "ranks=4 parallel.dp_replicate=2" \
            "ranks=8 memory.recompute=full memory.reshard_after_forward=true"; do
  # shellcheck disable=SC2086
  run train "${common[@]}" $mesh train.steps=6 output.metrics=mesh.jsonl
  losses mesh.jsonl >mesh.losses
  [[ $mesh == *global_batch* ]] || alike one.losses mesh.losses "$mesh gives the losses of one rank"
done

# 3 + 3 steps are 6 steps: the same bits on the same mesh, the same losses on another.
run train "${common[@]}" ranks=2 train.steps=6 output.metrics=six.jsonl data.shuffle=true
run train "${common[@]}" ranks=2 train.steps=3 output.metrics=half.jsonl output.dir=run data.shuffle=true output.export=false
cp -r run other
run train "${common[@]}" ranks=2 train.steps=6 output.metrics=half.jsonl output.dir=run data.shuffle=true output.resume=true
exact six.jsonl >six.bits
exact half.jsonl >half.bits
same six.bits half.bits "a resumed run repeats the bits"
run train "${common[@]}" ranks=4 train.steps=6 output.metrics=rest.jsonl output.dir=other data.shuffle=true output.resume=true
losses six.jsonl | tail -3 >six.losses
losses rest.jsonl >rest.losses
alike six.losses rest.losses "four ranks go on where two stopped"

run eval model.path=one data.path=rows.jsonl precision.param=fp32 ranks=2 train.global_batch=8
grep -q '"perplexity"' out.log || fail "eval prints the perplexity"
run generate model.path=one --tokens 1,2,3 generate.max_new_tokens=5
test "$(tr -cd ',' <out.log | wc -c)" -le 4 || fail "at most five tokens are generated"
run plan model.path=one train.global_batch=8 --world 8 --program
grep -q "optimizer" out.log || fail "plan --program prints the program"
run config
grep -q "^optimizer.lr" out.log || fail "config lists the keys"
echo "ok"
