#!/usr/bin/env bash
# From a bare Debian 12 to a trained model: installs what is missing, builds Tessera, pre-trains a small Llama on
# sentences about countries, fine-tunes that checkpoint to answer questions on four ranks, and shows what it learned.
# Run it again: what is there already is not built or downloaded twice.
set -euo pipefail
cd "$(dirname "$0")/.."
say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

say "1/5  Packages and LibTorch"
cmake/install_packages.sh
if [ -z "${TESSERA_TORCH_ROOT:-}" ]; then
  cmake/get_torch.sh
fi

say "2/5  Building libtessera.so and the tessera program"
cmake --preset release >build.log 2>&1 || { tail -30 build.log; exit 1; }
cmake --build --preset release --target tessera_cli 2>&1 | tee -a build.log | grep --line-buffered -E '^\[[0-9]*0/|error|FAILED' || true
tessera=build/release/bin/tessera
test -x "$tessera" || { tail -30 build.log; exit 1; }
"$tessera" version

out=build/quickstart
rm -rf "$out"
mkdir -p "$out"

say "3/5  A base model: 240 steps on plain sentences (examples/quickstart/base.yaml)"
"$tessera" train examples/quickstart/base.yaml
cp examples/quickstart/model/{tokenizer.json,tokenizer_config.json,chat_template.jinja,generation_config.json} "$out/base/"

questions=(--prompt "Please name the capital of Mongolia." --prompt "What is the language of Brazil?"
           --prompt "Which currency does Ghana use?" --prompt "Do you know which continent Fiji lies in?")
say "     What the base model makes of a question"
"$tessera" generate model.path="$out/base" generate.max_new_tokens=24 --chat "${questions[@]}"

say "4/5  Fine-tuning on questions and answers, FSDP over four ranks (examples/quickstart/tune.yaml)"
"$tessera" plan examples/quickstart/tune.yaml
"$tessera" train examples/quickstart/tune.yaml

say "5/5  The same questions, in words that training never used"
"$tessera" generate model.path="$out/tuned" generate.max_new_tokens=24 --chat "${questions[@]}"
"$tessera" generate model.path="$out/tuned" generate.max_new_tokens=24 --chat --quiet \
  --file examples/quickstart/data/held_out.jsonl

cat <<TEXT

The fine-tuned model is a Hugging Face directory: $out/tuned (transformers loads it as it is).
Metrics of each step: $out/base.jsonl and $out/tuned.jsonl. All settings: $tessera config
TEXT
