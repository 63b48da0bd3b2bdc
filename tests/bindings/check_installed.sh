#!/bin/sh
# Installs into an empty prefix; then C++, Go, Rust and Java find the library by pkg-config alone, build their training program
# against it and run it. What a toolchain is missing for is left out and said.
# usage: check_installed.sh <cmake> <build folder> <source tree>
set -eu
cmake=$1
build=$2
source=$3
command -v pkg-config >/dev/null || { echo "pkg-config is not installed"; exit 77; }
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
"$cmake" --install "$build" --prefix "$work/prefix" >"$work/log" || { cat "$work/log"; exit 1; }
PKG_CONFIG_PATH=$(dirname "$(find "$work/prefix" -name tessera.pc)")
export PKG_CONFIG_PATH OMP_NUM_THREADS=1
programs=

# shellcheck disable=SC2046
c++ -std=c++11 -Wall -Wextra -Werror "$source/examples/cpp/train.cpp" $(pkg-config --cflags --libs tessera) -pthread -o "$work/cpp"
programs="$programs cpp"

PATH=$PATH:/usr/local/go/bin
if command -v go >/dev/null && go list -C "$source/examples/go" >/dev/null 2>&1; then
  # The define keeps apart what Go has cached for other prefixes: its cache does not ask what pkg-config said.
  (cd "$source/examples/go" && CGO_CPPFLAGS="-DTESSERA_FOUND_IN=$work" GOPROXY=off GOTOOLCHAIN=local go build -o "$work/go" .)
  programs="$programs go"
else
  echo "left out: go"
fi
if command -v cargo >/dev/null && [ -f "$source/examples/rust/Cargo.toml" ]; then
  # The dependencies come from where the Rust tests have put them.
  (cd "$source/examples/rust" && CARGO_TARGET_DIR="$work/cargo" cargo build --quiet --release --locked)
  cp "$work/cargo/release/train" "$work/rust"
  programs="$programs rust"
else
  echo "left out: rust"
fi
if command -v javac >/dev/null && command -v mvn >/dev/null && command -v swig >/dev/null &&
  (cd "$source/bindings/java" && mvn --quiet --batch-mode --offline -DskipTests -Dmaven.test.skip=true \
    -Dtessera.target="$work/jar" package) >"$work/log" 2>&1; then
  mkdir "$work/classes"
  javac --release 17 -cp "$work"/jar/tessera-*.jar -d "$work/classes" "$source/examples/java/Train.java"
  printf '#!/bin/sh\nexec java -Dtessera.library.path=%s -cp %s:%s Train "$@"\n' "$(pkg-config --variable=libdir tessera)" \
    "$(echo "$work"/jar/tessera-*.jar)" "$work/classes" >"$work/java"
  chmod +x "$work/java"
  programs="$programs java"
else
  # Maven has its plugins when the Java tests have run before.
  echo "left out: java"
fi

cd "$work"
cat >config.json <<'JSON'
{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 64, "hidden_size": 32,
 "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
 "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "tie_word_embeddings": false, "torch_dtype": "float32"}
JSON
for row in 1 2 3 4; do echo "{\"input_ids\": [3, 5, $row, 9, 11, 13, 17, 19, 23, 29]}"; done >rows.jsonl
set -- ranks=2 model.config=config.json data.path=rows.jsonl data.format=tokens data.seq_len=16 train.steps=3 \
  train.global_batch=2 precision.param=fp32 threads=1
for program in $programs; do
  # A double has more than one text that gives it back.
  "./$program" "$@" | awk '$1 == "loss" { printf "%d %.17g\n", $2, $3 }' >"$program.txt"
  [ "$(wc -l <"$program.txt")" = 3 ] || { cat "$program.txt"; echo "$program did not train"; exit 1; }
  cmp cpp.txt "$program.txt"
done
echo "built against the prefix and trained alike:$programs"
