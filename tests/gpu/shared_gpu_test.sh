#!/usr/bin/env bash
# Several ranks on one GPU over NCCL: processes of `tessera train` give the losses and gradient norms of one rank on every
# axis, and a rank that is killed ends the others with an error that names it.
#
#   tests/gpu/shared_gpu_test.sh TESSERA [--device cpu] [--budget SECONDS]
#
# NCCL takes a GPU only once in a communicator, unless the ranks say that they are on hosts of their own (NCCL_HOSTID); then
# they talk through sockets, here of the loopback interface. So the whole engine runs as it does over a network: real
# communicators, splits, kernels, errors; only not NVLink. Cases that --budget leaves no time for are named, and end the
# script with status 1. `--device cpu` runs the same jobs over shared memory, which shows that the script works.
source "$(dirname "$0")/../cli/common.sh" "$1"
shift
device=cuda budget=240
while [ $# -gt 0 ]; do
  case $1 in
    --device) device=$2 ;;
    --budget) budget=$2 ;;
    *) echo "unknown argument $1"; exit 2 ;;
  esac
  shift 2
done

limit=60 # seconds for one job
backend=auto
[ "$device" = cpu ] || backend=nccl
shape='"vocab_size": 97, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4,
 "num_key_value_heads": 2, "max_position_embeddings": 128, "tie_word_embeddings": true'
echo "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", \"rms_norm_eps\": 1e-5, $shape}" >dense.json
echo "{\"architectures\": [\"MixtralForCausalLM\"], $shape, \"num_local_experts\": 4, \"num_experts_per_tok\": 2}" >experts.json
job=(data.path=rows.jsonl train.global_batch=8 optimizer.name=sgd optimizer.lr=0.1 threads=1 timeout=40 device="$device")
failed=()

# start NAME RANKS ARGUMENT...: tessera train, pids[r] is rank r, which writes NAME.r.log.
start() {
  local name=$1 ranks=$2 port=$((20000 + RANDOM % 20000)) rank
  shift 2
  pids=()
  for rank in $(seq 0 $((ranks - 1))); do
    RANK=$rank WORLD_SIZE=$ranks LOCAL_RANK=$rank LOCAL_WORLD_SIZE=$ranks MASTER_ADDR=127.0.0.1 MASTER_PORT=$port \
      CUDA_VISIBLE_DEVICES=0 NCCL_HOSTID="rank$rank" NCCL_P2P_DISABLE=1 NCCL_SHM_DISABLE=1 NCCL_IB_DISABLE=1 \
      NCCL_SOCKET_IFNAME=lo NCCL_MAX_NCHANNELS=2 NCCL_DEBUG=WARN \
      "$tessera" train "${job[@]}" backend=$backend output.metrics="$name.jsonl" "$@" >"$name.$rank.log" 2>&1 &
    pids+=($!)
  done
}

# ends SECONDS PID: whether the process ends in that time.
ends() { timeout "$1" tail --pid="$2" -f /dev/null; }

stop_all() { kill -9 "${pids[@]}" 2>/dev/null || true; wait "${pids[@]}" 2>/dev/null || true; }

show() { tail -n 15 "$1".*.log; }

numbers() { sed -E 's/.*"loss": ([0-9.e+-]+).*"grad_norm": ([0-9.e+-]+).*/\1 \2/' "$1"; }

# close_to EXPECTED ACTUAL LOSS NORM: metrics files, and how far losses and norms may be apart, relative.
close_to() {
  paste <(numbers "$1") <(numbers "$2") | awk -v loss="$3" -v norm="$4" '
    function apart(a, b) { return a > b ? (a - b) / b : (b - a) / b }
    NF != 4 { print "step " NR ": not four numbers: " $0; bad = 1; next }
    { l = apart($3, $1); n = apart($4, $2); if (l > wl) wl = l; if (n > wn) wn = n
      if (l > loss || n > norm) { print "step " NR ": loss " $3 " for " $1 ", norm " $4 " for " $2; bad = 1 } }
    END { if (NR != 4) { print NR " steps"; bad = 1 }
      printf "largest difference: loss %.1e, norm %.1e\n", wl, wn; exit bad }'
}

# reference NAME ARGUMENT...: one rank.
reference() {
  local name=$1
  shift
  timeout $limit "$tessera" train "${job[@]}" ranks=1 train.steps=4 output.metrics="$name.jsonl" "$@" >"$name.log" 2>&1 ||
    { cat "$name.log"; fail "one rank: $*"; }
}

# gives REFERENCE NAME RANKS LOSS NORM ARGUMENT...
gives() {
  local expected=$1 name=$2 ranks=$3 loss=$4 norm=$5 begin=$SECONDS pid good=1
  shift 5
  if [ $((budget - SECONDS)) -lt 20 ]; then
    echo "$name: no time left"
    failed+=("$name")
    return
  fi
  start "$name" "$ranks" train.steps=4 "$@"
  for pid in "${pids[@]}"; do
    if ! ends $((limit - SECONDS + begin > 1 ? limit - SECONDS + begin : 1)) "$pid"; then
      echo "$name: not done after $limit s"
      good=0
    elif ! wait "$pid"; then
      good=0
    fi
    [ $good -eq 1 ] || break
  done
  stop_all
  if [ $good -eq 1 ] && close_to "$expected.jsonl" "$name.jsonl" "$loss" "$norm" >"$name.close"; then
    echo "$name: $ranks processes give one rank's losses and norms in $((SECONDS - begin)) s; $(tail -1 "$name.close")"
  else
    show "$name"
    cat "$name.close" 2>/dev/null || true
    echo "$name: FAILED ($*)"
    failed+=("$name")
  fi
}

# A rank is killed: the others end soon, with status 1 and its number.
killed_rank_ends_the_others() {
  local name=kill rank code begin
  start $name 4 model.config=dense.json precision.param=fp32 parallel.dp_shard=2 parallel.tp=2 train.steps=1000000
  for _ in $(seq $((limit * 5))); do grep -qh "^step 5" $name.*.log && break; sleep 0.2; done
  if ! grep -qh "^step 5" $name.*.log; then
    show $name
    stop_all
    failed+=("$name: no training before the kill")
    return
  fi
  kill -9 "${pids[2]}"
  wait "${pids[2]}" 2>/dev/null || true
  begin=$SECONDS
  for rank in 0 1 3; do
    code=0
    if ! ends 30 "${pids[rank]}"; then
      show $name
      failed+=("$name: rank $rank hangs")
      break
    fi
    wait "${pids[rank]}" || code=$?
    if [ $code -eq 1 ] && tail -5 $name.$rank.log | grep -q 'rank 2'; then
      echo "$name: rank $rank ended after $((SECONDS - begin)) s: $(grep 'rank 2' $name.$rank.log | tail -1)"
    else
      show $name
      failed+=("$name: rank $rank ended with $code and does not name rank 2")
    fi
  done
  stop_all
}

# Without hosts of their own the ranks are told why that does not go.
shared_gpu_is_refused() {
  local code=0
  timeout $limit "$tessera" train "${job[@]}" model.config=dense.json ranks=2 backend=nccl train.steps=1 >refused.log 2>&1 || code=$?
  if [ $code -ne 1 ] || ! grep -q 'backend=nccl needs a GPU for each of the 2 ranks' refused.log; then
    cat refused.log
    failed+=("two ranks on a GPU without NCCL_HOSTID: status $code")
  fi
}

exact=(2e-5 1e-3)
reference one model.config=dense.json precision.param=fp32
dense=(model.config=dense.json precision.param=fp32)
gives one fsdp 2 "${exact[@]}" "${dense[@]}" parallel.dp_shard=2
killed_rank_ends_the_others
gives one pp 2 "${exact[@]}" "${dense[@]}" parallel.pp=2 train.micro_batch=2
gives one tp 2 "${exact[@]}" "${dense[@]}" parallel.tp=2 parallel.sequence_parallel=true
gives one hsdp 4 "${exact[@]}" "${dense[@]}" parallel.dp_replicate=2 parallel.dp_shard=2
gives one registered 2 "${exact[@]}" "${dense[@]}" parallel.dp_shard=2 comm.register_buffers=on
gives one ring 2 "${exact[@]}" "${dense[@]}" parallel.cp=2
reference experts model.config=experts.json precision.param=fp32
gives experts ep 2 "${exact[@]}" model.config=experts.json precision.param=fp32 parallel.ep=2
reference bf16 model.config=dense.json precision.param=bf16
gives bf16 fsdp_bf16 4 2e-2 5e-2 model.config=dense.json precision.param=bf16 parallel.dp_shard=4
gives one three_axes 4 "${exact[@]}" "${dense[@]}" parallel.pp=2 parallel.tp=2 train.micro_batch=2
[ "$device" = cpu ] || shared_gpu_is_refused

[ ${#failed[@]} -eq 0 ] || fail "$(printf '%s; ' "${failed[@]}")"
echo "ok, $SECONDS s"
