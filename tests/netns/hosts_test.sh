#!/usr/bin/env bash
# Two hosts of two ranks each train together and give the losses of one rank, whatever axis crosses the network.
source "$(dirname "$0")/common.sh" "$1"

run train "${common[@]}" ranks=1 train.steps=4 output.metrics=one.jsonl
losses one.jsonl >one.losses
test "$(wc -l <one.losses)" -eq 4 || fail "four steps give four losses"
gives_one_rank() {
  local name=$1 pid
  start "$name" train.steps=4 "${@:2}"
  for pid in "${pids[@]}"; do wait "$pid" || { cat "$name".*.log; fail "$name"; }; done
  losses "$name.jsonl" >"$name.losses"
  alike one.losses "$name.losses" "$name over two hosts gives the losses of one rank"
  echo "$name over two hosts gives the losses of one rank"
}

gives_one_rank fsdp parallel.dp_shard=4
gives_one_rank hsdp parallel.dp_replicate=2 parallel.dp_shard=2
gives_one_rank pp parallel.pp=2 parallel.dp_shard=2
gives_one_rank cp_tp parallel.cp=2 parallel.tp=2
bytes=$(ip -n "$b" -s link show tb$$ | awk '/RX:/ { getline; print $1 }')
[ "$bytes" -gt 1000000 ] || fail "the hosts exchanged $bytes bytes only: the job did not use the network"
echo "ok: $bytes bytes went from host a to host b"
