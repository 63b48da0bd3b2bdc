#!/usr/bin/env bash
# Each family trains from the command line with one rank's losses on a mesh over four axes, and what it exports is
# evaluated and goes on writing.
source "$(dirname "$0")/common.sh" "$1"

shape='"vocab_size": 97, "hidden_size": 40, "intermediate_size": 72, "num_hidden_layers": 4, "num_attention_heads": 4,
 "num_key_value_heads": 2, "head_dim": 10, "max_position_embeddings": 128, "sliding_window": 16, "eos_token_id": 96'
cat >phi3.json <<JSON
{"architectures": ["Phi3ForCausalLM"], $shape, "original_max_position_embeddings": 24, "partial_rotary_factor": 0.8,
 "rope_scaling": {"type": "longrope", "short_factor": [1, 1, 2, 3], "long_factor": [1, 2, 4, 8]}}
JSON
cat >gemma3.json <<JSON
{"architectures": ["Gemma3ForCausalLM"], $shape, "query_pre_attn_scalar": 10, "sliding_window_pattern": 2}
JSON
cat >gemma2.json <<JSON
{"architectures": ["Gemma2ForCausalLM"], $shape, "query_pre_attn_scalar": 10}
JSON

for family in phi3 gemma3 gemma2; do
  own=("${common[@]}" "model.config=$family.json" optimizer.lr=3e-3)
  run train "${own[@]}" ranks=1 train.steps=6 output.metrics=one.jsonl output.dir=$family
  losses one.jsonl >one.losses
  run train "${own[@]}" ranks=8 parallel.pp=2 parallel.cp=2 parallel.tp=2 parallel.sequence_parallel=true train.steps=6 \
    output.metrics=mesh.jsonl
  losses mesh.jsonl >mesh.losses
  alike one.losses mesh.losses "$family: a mesh of 8 gives the losses of one rank"
  run eval model.path=$family data.path=rows.jsonl precision.param=fp32 ranks=2 parallel.tp=2 train.global_batch=8
  grep -q '"perplexity"' out.log || fail "$family: eval prints the perplexity"
  run generate model.path=$family --tokens 1,2,3 generate.max_new_tokens=5
  cp out.log one.text
  run generate model.path=$family --tokens 1,2,3 generate.max_new_tokens=5 ranks=2 parallel.tp=2
  same one.text out.log "$family: two ranks write what one writes"
done

sed -i 's/"longrope"/"linear"/' phi3.json
if "$tessera" train "${common[@]}" model.config=phi3.json ranks=1 train.steps=1 >out.log 2>&1; then fail "linear rope"; fi
grep -q 'rope_scaling.rope_type="linear" is not supported: default and longrope are' out.log || fail "$(cat out.log)"
echo "ok"
