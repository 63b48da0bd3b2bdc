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
for i in 1 2 3 4 5 6 7; do printf '{"input_ids": [1, %s00]}\n{"input_ids": [1, "x"]}\n' $i; done >mixed.jsonl
run pack data.path=mixed.jsonl data.on_error=skip output.metrics=mixed.json
for line in 2 4 6 8 10 12 14; do
  grep -q "mixed.jsonl:$line: input_ids\[1\]" out.log || fail "line $line is reported with its reason"
done
grep -q "skipped 7 of 14 rows" out.log || fail "bad rows are counted"
test "$(field mixed.json documents)" -eq 7 || fail "the good rows are there"
"$tessera" pack data.path=mixed.jsonl >bad.log 2>&1 && fail "a malformed row is an error"
grep -q "mixed.jsonl:2: input_ids" bad.log || fail "the error names the first malformed line"
"$tessera" pack data.path=rows.jsonl data.packing=tetris >bad.log 2>&1 && fail "an unknown packer is an error"
grep -q "tetris" bad.log || fail "the error names the packer"
"$tessera" pack data.seq_len=64 >bad.log 2>&1 && fail "pack without data is an error"
grep -q "data.path" bad.log || fail "the error names the key"
echo "ok"
