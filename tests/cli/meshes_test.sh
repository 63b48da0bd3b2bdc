#!/usr/bin/env bash
# Each axis, and three of them at once, with ranks as processes over Gloo: the losses of one rank.
source "$(dirname "$0")/common.sh" "$1"

run train "${common[@]}" ranks=1 train.steps=4 output.metrics=one.jsonl
losses one.jsonl >one.losses
test "$(wc -l <one.losses)" -eq 4 || fail "four steps give four losses"

# gives_one_rank NAME SIZE ARGUMENT...: a mesh of SIZE processes.
gives_one_rank() {
  local name=$1 size=$2 port=$((20000 + RANDOM % 20000)) pids=() rank pid
  shift 2
  for rank in $(seq 0 $((size - 1))); do
    RANK=$rank WORLD_SIZE=$size LOCAL_RANK=$rank LOCAL_WORLD_SIZE=$size MASTER_ADDR=127.0.0.1 MASTER_PORT=$port \
      "$tessera" train "${common[@]}" backend=gloo train.steps=4 output.metrics="$name.jsonl" "$@" >"$name.$rank.log" 2>&1 &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid" || { cat "$name".*.log; fail "$name: $*"; }; done
  losses "$name.jsonl" >"$name.losses"
  alike one.losses "$name.losses" "$name ($*) gives the losses of one rank"
  echo "$name: $size processes give the losses of one rank"
}

gives_one_rank fsdp 4 parallel.dp_shard=4
gives_one_rank hsdp 4 parallel.dp_replicate=2 parallel.dp_shard=2
gives_one_rank tp 2 parallel.tp=2
gives_one_rank sequence 2 parallel.tp=2 parallel.sequence_parallel=true
for exchange in ring all_gather ulysses; do gives_one_rank cp_$exchange 2 parallel.cp=2 parallel.cp_exchange=$exchange; done
gives_one_rank pp 2 parallel.pp=2 train.micro_batch=2
gives_one_rank pp_zb 2 parallel.pp=2 parallel.pp_schedule=zb_v train.micro_batch=2
gives_one_rank three_axes 8 parallel.pp=2 parallel.dp_shard=2 parallel.tp=2 parallel.sequence_parallel=true train.micro_batch=1
gives_one_rank three_more 8 parallel.pp=2 parallel.cp=2 parallel.tp=2 train.micro_batch=2
echo "ok"
