#!/usr/bin/env bash
# How rows share steps, from the command line: balanced attention, curricula, preference pairs, and bad rows said once.
source "$(dirname "$0")/common.sh" "$1"

# 400 rows whose lengths differ much.
awk 'BEGIN { x = 7
  for (row = 0; row < 400; ++row) {
    x = (x * 1103515245 + 12345) % 2147483648; n = 2 + int(x / 65536) % 60; if (row % 9 == 0) n = 64
    ids = row % 97; for (i = 1; i < n; ++i) ids = ids "," (row * i) % 97
    print "{\"input_ids\":[" ids "]}" } }' >uneven.jsonl
uneven=(data.path=uneven.jsonl data.seq_len=64 data.packing=bfd data.shuffle=true train.global_batch=8)
sum() { awk '{ n += $1 } END { print n }'; }
waits() { sed -nE 's/^attention: .* is ([0-9.]+) x its mean.*/\1/p' out.log; }
run pack "${uneven[@]}"
shuffled=$(waits)
run pack "${uneven[@]}" data.balance=true
balanced=$(waits)
awk -v s="$shuffled" -v b="$balanced" 'BEGIN { exit !(s > 1.15 && b < 1.05) }' ||
  fail "data.balance evens out the attention of a step: $shuffled, balanced $balanced"
grep -q "data.balance=true" out.log || fail "the line names the key"

# Balanced steps hold the same documents in the same order on every mesh, and every label once.
for mesh in "ranks=1" "ranks=4" "ranks=4 parallel.dp_shard=2 parallel.cp=2" "ranks=2 parallel.tp=2"; do
  run train "${common[@]}" "${uneven[@]}" $mesh data.balance=true data.epochs=1 output.metrics="balanced.jsonl"
  losses balanced.jsonl >"balanced.losses"
  [ "$mesh" != "ranks=1" ] || cp balanced.losses one.losses
  alike one.losses balanced.losses "balanced steps are those of one rank on $mesh" 2e-5
done
labels() { sed -E 's/.*"label_tokens": ([0-9]+).*/\1/' "$1"; }
run train "${common[@]}" data.path=uneven.jsonl data.seq_len=64 data.epochs=1 output.metrics=plain.jsonl
test "$(labels plain.jsonl | sum)" -eq "$(labels balanced.jsonl | sum)" || fail "no label is lost"
# Aligned to the ranks of a sequence, documents make other rows of the same labels; a capacity that cannot be aligned is an error.
run train "${common[@]}" "${uneven[@]}" ranks=2 parallel.cp=2 data.pad_cp=true data.epochs=1 output.metrics=aligned.jsonl
test "$(labels plain.jsonl | sum)" -eq "$(labels aligned.jsonl | sum)" || fail "alignment loses no label"
"$tessera" train "${common[@]}" "${uneven[@]}" ranks=2 parallel.cp=2 data.pad_cp=true data.seq_len=66 train.steps=1 >bad.log 2>&1 && fail "66 is no multiple of 4"
grep -q "capacity=66 is not a multiple of the alignment 4" bad.log || fail "the capacity is named: $(cat bad.log)"

# A curriculum goes from short to long, also when documents share rows.
run train "${common[@]}" data.path=uneven.jsonl data.seq_len=64 data.order=short_first data.epochs=1 output.metrics=short.jsonl
labels short.jsonl >short.labels
sort -n short.labels | diff - short.labels >/dev/null || fail "data.order=short_first: steps of single documents grow"
run train "${common[@]}" data.path=uneven.jsonl data.seq_len=64 data.order=long_first data.epochs=1 output.metrics=long.jsonl
labels long.jsonl | sort -nr | diff - <(labels long.jsonl) >/dev/null || fail "data.order=long_first: they shrink"

# Preference pairs: a tokenizer of words, with a template.
words=(hi yes no maybe good bad long "<eos>" "<user>" "<assistant>" "[UNK]")
vocab=$(for i in "${!words[@]}"; do printf '"%s": %d, ' "${words[$i]}" "$i"; done | sed 's/, $//')
added=$(for i in 7 8 9; do printf '{"id": %d, "content": "%s", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}, ' "$i" "${words[$i]}"; done | sed 's/, $//')
mkdir words
printf '{"version": "1.0", "added_tokens": [%s], "normalizer": null, "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null, "model": {"type": "WordLevel", "vocab": {%s}, "unk_token": "[UNK]"}}' "$added" "$vocab" >words/tokenizer.json
printf '{"eos_token": "<eos>", "chat_template": "{%% for m in messages %%}<{{ m.role }}> {{ m.content }} <eos> {%% endfor %%}{%% if add_generation_prompt %%}<assistant> {%% endif %%}"}' >words/tokenizer_config.json
long=$(printf 'long %.0s' {1..50})
for i in 1 2 3 4 5 6 7 8; do
  echo '{"prompt": "hi", "chosen": "yes good", "rejected": "no"}'
  echo '{"chosen": [{"role": "user", "content": "hi hi"}, {"role": "assistant", "content": "maybe"}], "rejected": [{"role": "user", "content": "hi hi"}, {"role": "assistant", "content": "bad"}]}'
done >pairs.jsonl
echo "{\"prompt\": \"hi\", \"chosen\": \"$long\", \"rejected\": \"$long\"}" >>pairs.jsonl
echo '{"prompt": "hi", "chosen": "yes"}' >>pairs.jsonl
pairs=(data.path=pairs.jsonl data.format=preference data.tokenizer=words data.seq_len=32 data.on_error=skip)
field() { sed -E "s/.*\"$2\": ([0-9.e+-]+).*/\1/" "$1"; }
for packer in next_fit first_fit ffd bfd wfd optimal; do
  run pack "${pairs[@]}" data.packing=$packer output.metrics=pairs.json
  test "$(field pairs.json documents)" -eq 34 || fail "$packer: 17 pairs are 34 documents"
  grep -q "pairs.jsonl:18: field rejected is missing" out.log || fail "the bad row is named"
  grep -q "1 bad, 0 dropped, 2 truncated" out.log || fail "$packer: the long pair is cut"
done
run pack "${pairs[@]}" data.packing=bfd data.long_documents=drop
grep -q "1 bad, 2 dropped, 0 truncated" out.log || fail "a pair is dropped whole"
"$tessera" pack "${pairs[@]}" data.packing=bfd data.long_documents=error data.on_error=fail >bad.log 2>&1 && fail "the pair that is too long is an error"
grep -q "pairs.jsonl:17: .*do not fit into data.seq_len=32" bad.log || fail "it is named: $(cat bad.log)"
for ranks in 1 4; do
  run train "${common[@]}" "${pairs[@]}" data.packing=bfd ranks=$ranks train.global_batch=4 train.steps=3 output.metrics=pairs$ranks.jsonl
  losses pairs$ranks.jsonl >pairs$ranks.losses
  test "$(grep -c "pairs.jsonl:18" out.log)" -eq 1 || fail "$ranks ranks say a bad row once: $(cat out.log)"
  test "$(grep -c "skipped 1 of 18 rows" out.log)" -eq 1 || fail "$ranks ranks count once"
done
alike pairs1.losses pairs4.losses "pairs are those of one rank" 2e-5
run pack "${pairs[@]}" data.packing=bfd
chosen=$(sed -nE 's/.*of which ([0-9]+) are learnt.*/\1/p' out.log)
run pack "${pairs[@]}" data.packing=bfd data.preference=both
both=$(sed -nE 's/.*of which ([0-9]+) are learnt.*/\1/p' out.log)
test "$both" -gt "$chosen" || fail "data.preference=both learns the rejected answers too: $both, $chosen"

# Whoever fills the cache says it; who finds the cache filled says how many there were.
for pass in 1 2; do
  run train "${common[@]}" "${pairs[@]}" data.cache=cache data.packing=bfd ranks=4 train.global_batch=4 train.steps=1
  test "$(grep -c "pairs.jsonl:18" out.log)" -eq $((2 - pass)) || fail "a cache says a bad row when it is filled: $(cat out.log)"
  test "$(grep -c "skipped 1 of 18 rows" out.log)" -eq 1 || fail "ranks that share a cache count once"
done

# A stream says what its own rows have, once, however often it passes over them.
{ cat rows.jsonl; echo '{"input_ids": "none"}'; } >stream.jsonl
for mesh in "ranks=4" "ranks=4 parallel.tp=2"; do
  run train "${common[@]}" data.path=stream.jsonl data.streaming=true data.stream_buffer=8 data.on_error=skip train.steps=20 $mesh
  test "$(grep -c "stream.jsonl:65" out.log)" -eq 1 || fail "a stream on $mesh says a bad row once"
done
echo "ok"
