# Shared by the tests of the tessera program: a folder of its own, a tiny model, token rows. Sourced, with the path of
# the program as $1.
set -euo pipefail
tessera=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

cat >config.json <<'JSON'
{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 97, "hidden_size": 40,
 "intermediate_size": 72, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
 "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "hidden_act": "silu", "tie_word_embeddings": true}
JSON
# 64 rows of 3 to 40 tokens from a fixed linear congruence; the first half of each row is not trained on.
awk 'BEGIN { x = 1
  for (row = 0; row < 64; ++row) {
    n = 3 + row * 7 % 38; ids = ""; labels = ""
    for (i = 0; i < n; ++i) { x = (x * 1103515245 + 12345) % 2147483648; id = int(x / 65536) % 97
      ids = ids (i ? "," : "") id; labels = labels (i ? "," : "") (i < n / 2 ? -100 : id) }
    print "{\"input_ids\":[" ids "],\"labels\":[" labels "]}" } }' >rows.jsonl
common=(model.config=config.json data.path=rows.jsonl train.global_batch=8 optimizer.lr=1e-2 precision.param=fp32 threads=1
        timeout=60)

fail() { echo "FAILED: $*"; exit 1; }
run() { "$tessera" "$@" >out.log 2>&1 || { cat out.log; fail "tessera $*"; }; }
# losses FILE: the losses of a metrics file; exact FILE: losses and norms with their steps.
losses() { sed -E 's/.*"loss": ([0-9.e+-]+).*/\1/' "$1"; }
exact() { sed -E 's/.*("step": [0-9]+, "loss": [^,]+, "grad_norm": [^,]+).*/\1/' "$1"; }
same() { diff "$1" "$2" >diff.log || { cat diff.log; fail "$3"; }; }
# alike FILE FILE TEXT [RELATIVE]: as many numbers in both, equal but for what the order of sums does to float32.
alike() {
  paste "$1" "$2" | awk -v most="${4:-2e-6}" 'function abs(x) { return x < 0 ? -x : x }
    NF != 2 || abs($1 - $2) > most * abs($1) { print; bad = 1 } END { exit bad || NR == 0 }' >diff.log || { cat diff.log; fail "$3"; }
}
