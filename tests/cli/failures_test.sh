#!/usr/bin/env bash
# Bad input and dead ranks end in one clear line and an exit code, on every rank, without a hang.
source "$(dirname "$0")/common.sh" "$1"

# refuses TEXT ARGUMENT...: the command fails within a minute and says TEXT.
refuses() {
  local expected=$1 code=0
  shift
  timeout 60 "$tessera" "$@" >out.log 2>&1 || code=$?
  [ $code -eq 1 ] || { cat out.log; fail "exit code $code, not 1: $*"; }
  grep -qF -- "$expected" out.log || { cat out.log; fail "no '$expected': $*"; }
}
refuses "optimizer.lr" train "${common[@]}" optimizer.lrr=1
refuses "data.path is not set" train model.config=config.json
refuses "missing.jsonl" train "${common[@]}" data.path=missing.jsonl train.steps=1
refuses "model.path is not set" train data.path=rows.jsonl train.steps=1
refuses "not divisible" train "${common[@]}" ranks=4 parallel.dp_replicate=3 train.steps=1
refuses "global_batch" train "${common[@]}" ranks=3 train.steps=1
refuses "device=cuda" train "${common[@]}" device=cuda train.steps=1
refuses "output.metrics" train "${common[@]}" train.steps=1 output.metrics=no/such/folder/m.jsonl
printf '%s\n' '{"input_ids":[1,2]}' '{"input_ids":[1,200]}' >bad.jsonl
refuses "bad.jsonl:2" train "${common[@]}" data.path=bad.jsonl ranks=2 train.steps=1

run train "${common[@]}" ranks=2 train.steps=1 output.dir=model
for ranks in 1 4; do
  rm -rf broken && cp -r model broken && truncate -s 1000 broken/model.safetensors
  refuses "model.safetensors" train "${common[@]:1}" model.path=broken ranks=$ranks train.steps=1
  rm -rf broken && cp -r model broken && printf 'not json' >broken/config.json
  refuses "config.json" train "${common[@]:1}" model.path=broken ranks=$ranks train.steps=1
done

# A step whose labels are all ignored changes nothing and is no NaN.
printf '%s\n' '{"input_ids":[1,2,3],"labels":[-100,-100,-100]}' >ignored.jsonl
run train "${common[@]}" data.path=ignored.jsonl train.steps=2 train.global_batch=2 ranks=2 output.metrics=ignored.jsonl.metrics
grep -q '"loss": 0, "grad_norm": 0' ignored.jsonl.metrics || fail "no labels give loss 0 and norm 0"

# A killed process is an error in the others that names it.
port=$((20000 + RANDOM % 20000))
for rank in 0 1 2; do
  RANK=$rank WORLD_SIZE=3 LOCAL_RANK=$rank LOCAL_WORLD_SIZE=3 MASTER_ADDR=127.0.0.1 MASTER_PORT=$port \
    "$tessera" train "${common[@]}" train.global_batch=9 train.steps=1000000 >killed.$rank.log 2>&1 &
  pids[rank]=$!
done
for _ in $(seq 300); do grep -q "^step 5" killed.0.log && break; sleep 0.1; done
kill -9 "${pids[2]}"
for rank in 0 1; do
  code=0
  wait "${pids[rank]}" || code=$?
  [ $code -eq 1 ] || { cat killed.*.log; fail "rank $rank ended with $code"; }
  grep -q "rank 2" killed.$rank.log || { cat killed.$rank.log; fail "rank $rank does not name rank 2"; }
done
echo "ok"
