#!/usr/bin/env bash
# tessera pack: the table, the histogram, and the object that output.metrics asks for.
source "$(dirname "$0")/common.sh" "$1"

run pack data.path=rows.jsonl data.seq_len=64 data.packing=bfd train.global_batch=4 output.metrics=bfd.json
grep -q "^\* bfd" out.log || fail "the table marks data.packing"
grep -q "lengths" out.log || fail "there is a histogram"
test "$(wc -l <bfd.json)" -eq 1 || fail "one object is written"
field() { sed -E "s/.*\"$2\": ([0-9.e+-]+).*/\1/" "$1"; }
test "$(field bfd.json documents)" -eq 64 || fail "64 documents"
test "$(field bfd.json capacity)" -eq 64 || fail "capacity is data.seq_len"
for packer in none next_fit next_fit_split first_fit ffd bfd wfd optimal; do
  run pack data.path=rows.jsonl data.seq_len=64 data.packing=$packer output.metrics=$packer.json
  awk -v t="$(field $packer.json tokens)" -v p="$(field $packer.json packs)" -v b="$(field $packer.json lower_bound)" \
      -v e="$(field $packer.json efficiency)" 'BEGIN { exit !(p >= b && b >= t / 64 && e > t / (p * 64) - 1e-6 && e < t / (p * 64) + 1e-6) }' ||
    fail "packs, bound and efficiency of $packer agree: $(cat $packer.json)"
done
test "$(field none.json packs)" -eq 64 || fail "without packing each document is a row"
test "$(field optimal.json packs)" -le "$(field bfd.json packs)" || fail "optimal is not worse than bfd"
"$tessera" pack data.path=rows.jsonl data.packing=tetris >bad.log 2>&1 && fail "an unknown packer is an error"
grep -q "tetris" bad.log || fail "the error names the packer"
"$tessera" pack data.seq_len=64 >bad.log 2>&1 && fail "pack without data is an error"
grep -q "data.path" bad.log || fail "the error names the key"
echo "ok"
