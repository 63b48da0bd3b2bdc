#!/usr/bin/env bash
# tessera plan with a cluster: the ranked meshes, as a table and as JSON whose keys are a recipe.
source "$(dirname "$0")/common.sh" "$1"

cat >large.json <<'JSON'
{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 128256, "hidden_size": 8192,
 "intermediate_size": 28672, "num_hidden_layers": 80, "num_attention_heads": 64, "num_key_value_heads": 8,
 "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "hidden_act": "silu", "tie_word_embeddings": false}
JSON
job=(model.config=large.json data.seq_len=8192 world=1024 cluster=h100-8x-ib)
run plan "${job[@]}" plan.top=4
title="1024 ranks of h100-8x-ib, 80.0 GB each; 70.55 B parameters; 1024 rows of 8192 tokens a step"
grep -q "^$title$" out.log || { cat out.log; fail "the title says what it is"; }
[ "$(grep -cE '^ +[0-9]+ +[0-9]+ +[0-9]+ +[0-9]+ +[0-9]+ +[0-9]+ ' out.log)" = 4 ] || fail "plan.top rows"
run plan "${job[@]}" parallel.tp=8 parallel.pp=4 train.global_batch=2048 plan.top=1 --summary
grep -qE '^  1 +4 +[0-9]+ +[0-9]+ +[0-9]+ +8 ' out.log || fail "keys that are set are kept"
grep -q "^time    on h100-8x-ib" out.log && grep -q "^  MFU " out.log || fail "the summary has the time"

if command -v python3 >/dev/null; then
  run plan "${job[@]}" --json plan.top=2
  python3 - >keys <<'PY' || fail "JSON"
import json
report = json.load(open("out.log"))
assert report["world"] == 1024 and len(report["plans"]) == 2 and report["cluster"]["name"] == "h100-8x-ib"
first = report["plans"][0]
assert 0 < first["mfu"] < 1 and first["memory_bytes"]["peak"] < 80e9
print("\n".join(f"{k}={str(v).lower() if isinstance(v, bool) else v}" for k, v in first["recipe"].items()))
PY
  mapfile -t keys <keys
  # The keys of a plan are a recipe of their own.
  run plan model.config=large.json data.seq_len=8192 world=1024 "${keys[@]}"
  grep -q "^mesh " out.log || fail "the keys of a plan make a recipe"
fi

# This machine, measured.
run plan "${common[@]}" ranks=2 cluster=here data.seq_len=64 train.micro_batch=1
grep -q "^2 ranks of here" out.log || fail "this machine"
run plan model.config=large.json world=1 data.seq_len=8192 cluster=h100-8x-ib
grep -q "^nothing fits" out.log || fail "what does not fit is said"

refused() { "$tessera" plan "${@:2}" >bad.log 2>&1 && fail "$* is an error"; grep -qF -- "$1" bad.log || { cat bad.log; fail "the error says $1"; }; }
refused 'no cluster "h101"' model.config=large.json cluster=h101
refused "no mesh of 64 ranks divides" model.config=large.json world=64 parallel.tp=7 cluster=h100-8x-ib
refused "--json is for plans with cluster" model.config=large.json --json
echo "ok"
