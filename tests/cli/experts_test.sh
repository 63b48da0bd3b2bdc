#!/usr/bin/env bash
# Each family with experts trains from the command line with one rank's losses, with experts spread by data parallelism
# and over a mesh of four axes, and what it exports from there is evaluated and goes on writing.
source "$(dirname "$0")/common.sh" "$1"

shape='"vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4,
 "num_key_value_heads": 2, "max_position_embeddings": 128, "num_experts_per_tok": 2, "eos_token_id": 96'
config() { echo "{\"architectures\": [\"$2ForCausalLM\"], $shape, $3}" >"$1.json"; }
deepseek_experts='"n_routed_experts": 8, "moe_intermediate_size": 24, "first_k_dense_replace": 1, "n_group": 4, "topk_group": 2'
config mixtral Mixtral '"num_local_experts": 4, "sliding_window": 16'
config qwen3_moe Qwen3Moe '"num_experts": 8, "moe_intermediate_size": 24, "norm_topk_prob": true, "decoder_sparse_step": 2'
config deepseek_v3 DeepseekV3 "$deepseek_experts, \"kv_lora_rank\": 16, \"q_lora_rank\": 12, \"qk_nope_head_dim\": 8,
 \"qk_rope_head_dim\": 4, \"v_head_dim\": 8"
config gpt_oss GptOss '"num_local_experts": 4, "head_dim": 8, "sliding_window": 16'
config glm4_moe Glm4Moe "$deepseek_experts, \"use_qk_norm\": true, \"attention_bias\": true"

for family in mixtral qwen3_moe deepseek_v3 gpt_oss glm4_moe; do
  own=("${common[@]}" "model.config=$family.json" optimizer.lr=2e-3 train.steps=4)
  run train "${own[@]}" ranks=1 output.metrics=one.jsonl
  losses one.jsonl >one.losses
  test "$(wc -l <one.losses)" -eq 4 || fail "four steps give four losses"
  run train "${own[@]}" ranks=4 parallel.ep=2 output.metrics=ep.jsonl
  losses ep.jsonl >ep.losses
  alike one.losses ep.losses "$family: ep=2 on four ranks gives the losses of one rank"
  run train "${own[@]}" ranks=8 parallel.pp=2 parallel.cp=2 parallel.tp=2 parallel.ep=2 parallel.sequence_parallel=true \
    output.metrics=mesh.jsonl output.dir=$family
  losses mesh.jsonl >mesh.losses
  alike one.losses mesh.losses "$family: a mesh of 8 with ep=2 gives the losses of one rank"
  run eval model.path=$family data.path=rows.jsonl precision.param=fp32 ranks=2 parallel.ep=2 train.global_batch=8
  grep -q '"perplexity"' out.log || fail "$family: eval prints the perplexity"
  write=(generate "model.path=$family" precision.param=fp32 --tokens 1,2,3 generate.max_new_tokens=5)
  run "${write[@]}"
  cp out.log one.text
  run "${write[@]}" ranks=2 parallel.tp=2 parallel.ep=2
  same one.text out.log "$family: two ranks write what one writes"
  echo "$family: ok"
done

if "$tessera" train "${common[@]}" model.config=mixtral.json ranks=3 parallel.ep=3 train.global_batch=9 train.steps=1 \
  >out.log 2>&1; then fail "ep=3 of 4 experts"; fi
grep -q 'ep=3 does not divide the number of experts, 4' out.log || fail "$(cat out.log)"
echo "ok"
