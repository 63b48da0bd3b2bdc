package tessera

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestPushedDocuments(t *testing.T) {
	config := newConfig(t, "data.seq_len", "16", "train.global_batch", "2", "data.epochs", "1")
	data := must(NewDataset(config, nil, nil))
	defer data.Close()
	for i := int64(0); i < 4; i++ {
		check(data.Push([]int64{1, 2, 3, 4 + i}, nil))
	}
	check(data.Push([]int64{5, 6, 7}, []int64{-100, 6, 7}))
	if err := data.Push([]int64{5, 6, 7}, []int64{1}); codeOf(err) != ErrArgument {
		t.Fatal(err)
	}
	if _, err := data.Next(); !errors.Is(err, ErrState) {
		t.Fatal(err)
	}
	check(data.PushEnd())
	start := must(data.State())
	seen := int64(0)
	for batch, err := range data.Batches() {
		check(err)
		if must(batch.Count()) > 0 {
			seen++
		}
	}
	if seen != must(data.CountSteps()) {
		t.Fatal(seen)
	}
	check(data.SetState(start))
	must(data.Next()).Close()
	if _, err := OpenDataset(config, nil, nil); codeOf(err) != ErrArgument {
		t.Fatal(err)
	}
	if packs, count, err := Pack("ffd", []int64{6, 5, 4, 3}, 10, 0); len(packs) != 4 || count != 2 || err != nil {
		t.Fatal(packs, count, err)
	}
	settings := must(NewConfig())
	for key, value := range map[string]string{"data.seq_len": "10", "data.packing": "next_fit_split"} {
		check(settings.Set(key, value))
	}
	if pieces := must(PackPieces(settings, []int64{6, 5})); len(pieces) != 3 || pieces[2] != (Piece{1, 1, 4, 1}) {
		t.Fatal(pieces)
	}
	if pieces := must(PackPieces(settings, nil)); len(pieces) != 0 {
		t.Fatal(pieces)
	}
	forms := must(NewBatch())
	check(forms.PushForm(BatchFormRows, []int64{5, 6, 7, 0, 8, 9, 0, 0}, []int64{3, 2}, FormOptions{}))
	if rows := must(forms.Rows(0, 4, 1)); rows.RowLength != 4 || rows.Tokens[3] != 1 || rows.Labels[1] != 6 || rows.AttentionMask[6] != 0 {
		t.Fatal(rows)
	}
	if err := forms.PushForm(BatchFormPositions, []int64{5, 6}, []int64{0, 2}, FormOptions{}); codeOf(err) != ErrArgument {
		t.Fatal(err)
	}
}

func TestTokenizer(t *testing.T) {
	folder := t.TempDir()
	check(os.WriteFile(folder+"/tokenizer.json", []byte(`{"version": "1.0", "truncation": null, "padding": null,
  "added_tokens": [{"id": 3, "content": "<|end|>", "special": true, "single_word": false, "lstrip": false, "rstrip": false,
  "normalized": false}], "normalizer": null, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false,
  "trim_offsets": true, "use_regex": true}, "post_processor": null, "decoder": {"type": "ByteLevel", "add_prefix_space": true,
  "trim_offsets": true, "use_regex": true}, "model": {"type": "BPE", "dropout": null, "unk_token": null,
  "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
  "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}}`), 0o600))
	check(os.WriteFile(folder+"/tokenizer_config.json", []byte(`{"eos_token": "<|end|>", "chat_template":
  "{% for m in messages %}{{ m['content'] }}<|end|>{% endfor %}"}`), 0o600))
	tokenizer := must(OpenTokenizer(folder))
	defer tokenizer.Close()
	text := strings.Repeat("ab", 600)
	if ids := must(tokenizer.Encode(text, true)); must(tokenizer.Decode(ids, true)) != text || must(tokenizer.Count()) != 4 {
		t.Fatal(ids)
	}
	texts := []string{"ab", "", text, "b"}
	for i, ids := range must(tokenizer.EncodeBatch(texts, true)) {
		if !slices.Equal(ids, must(tokenizer.Encode(texts[i], true))) {
			t.Fatal(i, ids)
		}
	}
	if len(must(tokenizer.EncodeBatch(nil, true))) != 0 {
		t.Fatal("no texts are some")
	}
	if must(tokenizer.Decode(nil, false)) != "" || len(must(tokenizer.Encode("", false))) != 0 {
		t.Fatal("nothing is something")
	}
	conversation := `[{"role": "user", "content": "a"}, {"role": "assistant", "content": "ab"}]`
	if got := must(tokenizer.ChatText(conversation, false)); got != "a<|end|>ab<|end|>" {
		t.Fatal(got)
	}
	tokens, labels, err := tokenizer.EncodeChat(conversation)
	if err != nil || len(tokens) != len(labels) || labels[0] != -100 {
		t.Fatal(tokens, labels, err)
	}
}
