#!/usr/bin/env bash
# Encodes the lines of a text with Tessera and with the Python tokenizers package (transformers for conversations) in
# one run, on the same tokenizer and threads, and checks that both give the same ids. Prints a table and one JSON line.
#   tokenizer_bench.sh BENCH_BINARY TOKENIZER_DIRECTORY TEXT_FILE [THREADS]    PYTHON=... names an interpreter
set -euo pipefail
binary=$1 tokenizer=$2 text=$3 threads=${4:-$(nproc)}
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-$("$here/../support/make_venv.sh")}
ours=$("$binary" "$tokenizer" "$text" "$threads")
RAYON_NUM_THREADS=$threads HF_HUB_OFFLINE=1 "$python" "$here/tokenizer_peer.py" "$tokenizer" "$text" "$threads" "$ours"
