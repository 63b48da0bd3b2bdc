#!/usr/bin/env bash
# Ranks as processes give what one rank gives: started by mpirun, and by hand with torchrun's variables, over shared memory
# and over Gloo.
source "$(dirname "$0")/common.sh" "$1"

run train "${common[@]}" ranks=1 train.steps=4 output.metrics=one.jsonl
losses one.jsonl >one.losses
for backend in local gloo; do
  port=$((20000 + RANDOM % 20000))
  pids=()
  for rank in 0 1 2 3; do
    RANK=$rank WORLD_SIZE=4 LOCAL_RANK=$rank LOCAL_WORLD_SIZE=4 MASTER_ADDR=127.0.0.1 MASTER_PORT=$port \
      "$tessera" train "${common[@]}" backend=$backend train.steps=4 output.metrics=$backend.jsonl >$backend.$rank.log 2>&1 &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid" || { cat $backend.*.log; fail "four processes over $backend"; }; done
  losses $backend.jsonl >$backend.losses
  alike one.losses $backend.losses "four processes over $backend give the losses of one rank"
done
if command -v mpirun >/dev/null; then
  mpirun --allow-run-as-root --oversubscribe -np 2 "$tessera" train "${common[@]}" train.steps=4 output.metrics=mpi.jsonl \
    >mpi.log 2>&1 || { cat mpi.log; fail "two processes under mpirun"; }
  losses mpi.jsonl >mpi.losses
  alike one.losses mpi.losses "two processes under mpirun give the losses of one rank"
else
  echo "mpirun is not installed: not tested"
fi
echo "ok"
