#!/usr/bin/env bash
# The network between two hosts breaks while they train: every rank ends with an error that says what is missing, soon
# after the timeout, also where the rendezvous is out of reach.
source "$(dirname "$0")/common.sh" "$1"

# breaks NAME ARGUMENT...: the link goes down in the middle of a job.
breaks() {
  local name=$1 rank code begin
  ip -n "$b" link set tb$$ up
  start "$name" train.steps=1000000 timeout=5 "${@:2}"
  for _ in $(seq 600); do grep -qh "^step 5" "$name".*.log && break; sleep 0.1; done
  grep -qh "^step 5" "$name".*.log || { cat "$name".*.log; fail "no training before the link goes down"; }
  ip -n "$b" link set tb$$ down
  begin=$(date +%s)
  for rank in 0 1 2 3; do
    code=0
    # Five seconds for the collective, some to find out who is missing, and patience with a busy machine.
    timeout 30 tail --pid="${pids[rank]}" -f /dev/null || { cat "$name".*.log; fail "$name: rank $rank hangs"; }
    wait "${pids[rank]}" || code=$?
    [ $code -eq 1 ] || { cat "$name".*.log; fail "$name: rank $rank ended with $code"; }
    local expected='missing.* rank [23]'
    [ $rank -lt 2 ] || expected='rank [01].*does not answer|rendezvous .*does not answer'
    tail -1 "$name.$rank.log" | grep -qE "$expected" || { cat "$name".*.log; fail "$name: rank $rank does not say what is missing"; }
    echo "$name: rank $rank ended after $(($(date +%s) - begin)) s: $(tail -1 "$name.$rank.log")"
  done
}

breaks fsdp parallel.dp_shard=4
breaks pp parallel.pp=2 parallel.dp_shard=2
echo "ok"
