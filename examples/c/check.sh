#!/bin/sh
# Runs the example on a tiny model made here: the loss falls, one rank and four report the same, the export loads again.
# usage: check.sh <example program>
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >config.json <<'JSON'
{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 64, "hidden_size": 32,
 "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
 "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "tie_word_embeddings": false, "torch_dtype": "float32",
 "bos_token_id": 1, "eos_token_id": 2}
JSON
for row in 1 2 3 4 5 6 7 8; do echo "{\"input_ids\": [3, 5, $row, 9, 11, 13, 17, 19, 23, 29]}"; done >rows.jsonl
cat >recipe.yaml <<'YAML'
model: {config: config.json}
data: {path: rows.jsonl, format: tokens, seq_len: 16}
train: {steps: 8, global_batch: 8, seed: 1}
optimizer: {lr: 0.01}
precision: {param: fp32}
threads: 1
YAML
OMP_NUM_THREADS=1 "$1" recipe.yaml ranks=1 >one.txt
OMP_NUM_THREADS=1 "$1" recipe.yaml ranks=4 output.dir=out >four.txt
losses() { awk '$1 == "loss" { printf "%.4f\n", $3 }' "$1"; }  # sums of four ranks round differently
[ "$(losses one.txt | wc -l)" = 8 ] || { cat one.txt; exit 1; }
[ "$(losses one.txt)" = "$(losses four.txt)" ] || { cat one.txt four.txt; echo "one rank and four differ"; exit 1; }
losses one.txt | awk 'NR == 1 { first = $1 } END { exit !($1 < first / 2) }' || { cat one.txt; echo "nothing was learnt"; exit 1; }
OMP_NUM_THREADS=1 "$1" recipe.yaml ranks=4 output.dir=half train.steps=4 >first.txt
OMP_NUM_THREADS=1 "$1" recipe.yaml ranks=4 output.dir=half output.resume=true >second.txt
cat first.txt second.txt | cmp - four.txt || { cat first.txt second.txt four.txt; echo "resuming changes the run"; exit 1; }
OMP_NUM_THREADS=1 "$1" recipe.yaml ranks=1 model.path=out model.config=none train.steps=1 >again.txt
losses again.txt | awk -v last="$(losses four.txt | tail -1)" 'NR == 1 { exit !($1 <= last) }' ||
  { cat four.txt again.txt; echo "the export does not continue"; exit 1; }
if "$1" recipe.yaml ranks=2 parallel.dp_shard=3 2>/dev/null; then echo "a mesh that does not fit was accepted"; exit 1; fi
cat four.txt
