"""text_reference.py DIR [TEMPLATES]: what transformers makes of texts and conversations, for text_test.cpp.

Writes small tokenizers of every kind (trained here, on text made here), the ids transformers gives for texts that are
easy to get wrong, and the text, ids and assistant mask of its apply_chat_template for templates in the styles of the
usual families. TEMPLATES: a folder with more *.jinja files.
"""

import json
import pathlib
import random
import re
import sys
import unicodedata

from text_cases import CONVERSATIONS, TEMPLATES, texts

import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>", "<|start_header_id|>", "<|end_header_id|>",
           "<|eot_id|>", "[INST]", "[/INST]", "<start_of_turn>", "<end_of_turn>", "<|user|>", "<|assistant|>", "<|end|>"]
GPT4_SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
              r"|\s+(?!\S)|\s+")


def corpus():
    generator = random.Random(0)
    words = [t for text in texts() for t in text.split()]
    return [" ".join(generator.choices(words, k=40)) for _ in range(300)] + texts()


def added(names):
    return [AddedToken(name, special=True, normalized=False) for name in names]


def byte_level(split, trim):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC() if split else None
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not split)
    tokenizer.pre_tokenizer = (
        pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(GPT4_SPLIT), "isolated"), level]) if split else level)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=700, special_tokens=added(SPECIAL), show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(corpus(), trainer)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=trim)
    return tokenizer


def llama3_style():
    tokenizer = byte_level(split=True, trim=True)
    bos = "<|endoftext|>"
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=True),
        processors.TemplateProcessing(single=f"{bos} $A", pair=f"{bos} $A {bos} $B",
                                      special_tokens=[(bos, tokenizer.token_to_id(bos))])])
    return tokenizer


def byte_fallback(metaspace):
    """Llama 2: BPE over text with blanks as U+2581, bytes for what the vocabulary lacks."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if metaspace:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    else:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    special = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=800, special_tokens=special, show_progress=False, max_token_length=12,
                                  limit_alphabet=120)
    # Trained word by word: without a split each line would be one word.
    saved, tokenizer.pre_tokenizer = tokenizer.pre_tokenizer, pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.train_from_iterator(corpus(), trainer)
    tokenizer.pre_tokenizer = saved
    state = json.loads(tokenizer.to_str())
    state["added_tokens"] = [t for t in state["added_tokens"] if not t["content"].startswith("<0x")]
    tokenizer = Tokenizer.from_str(json.dumps(state))
    tokenizer.add_special_tokens(added(SPECIAL))
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                           decoders.Strip(content=" ", left=1)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))])
    return tokenizer


def unigram():
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=500, special_tokens=["<unk>", "<s>", "</s>"], unk_token="<unk>",
                                      show_progress=False)
    tokenizer.train_from_iterator(corpus(), trainer)
    tokenizer.add_special_tokens(added(SPECIAL))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", tokenizer.token_to_id("</s>"))])
    return tokenizer


def wordpiece():
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=500, special_tokens=["[UNK]", "[CLS]", "[SEP]"], show_progress=False)
    tokenizer.train_from_iterator(corpus(), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[(t, tokenizer.token_to_id(t)) for t in ("[CLS]", "[SEP]")])
    return tokenizer


def make_tokenizers(out):
    chat = dict(bos_token="<|endoftext|>", eos_token="<|im_end|>", pad_token="<|pad|>")
    llama = dict(bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    made = {}
    for name, tokenizer, special in [
        ("byte_level", byte_level(split=False, trim=False), chat),
        ("byte_level_split", byte_level(split=True, trim=False), chat),
        ("llama3", llama3_style(), chat),
        ("llama2", byte_fallback(metaspace=False), llama),
        ("llama2_metaspace", byte_fallback(metaspace=True), llama),
        ("unigram", unigram(), llama),
        ("wordpiece", wordpiece(), dict(unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]")),
    ]:
        fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)
        fast.save_pretrained(out / name)
        made[name] = transformers.AutoTokenizer.from_pretrained(out / name)
    # Tokens that only tokenizer_config.json has.
    config = json.loads((out / "byte_level" / "tokenizer_config.json").read_text())
    config["extra_special_tokens"] = ["<|extra|>"]
    config["added_tokens_decoder"] = {
        "700": dict(content="<tool>", lstrip=False, rstrip=True, single_word=False, normalized=False, special=False)}
    late = out / "late_tokens"
    late.mkdir()
    (late / "tokenizer.json").write_text((out / "byte_level" / "tokenizer.json").read_text())
    (late / "tokenizer_config.json").write_text(json.dumps(config))
    made["late_tokens"] = transformers.AutoTokenizer.from_pretrained(late)
    return made


def train_sentencepiece(folder, **options):
    import sentencepiece
    folder.mkdir()
    lines = [line for text in corpus() for line in text.split("\n") if len(line) < 2000]
    settings = dict(vocab_size=700, hard_vocab_limit=False, minloglevel=2, unk_surface="<unk>") | options
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_prefix=str(folder / "tokenizer"),
                                             **settings)
    return sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))


def make_sentencepiece(out):
    """A tokenizer.model as Llama 2 has it; needs the sentencepiece and protobuf packages."""
    try:
        import google.protobuf  # noqa: F401
        import sentencepiece  # noqa: F401
    except ImportError:
        return {}
    folder = out / "sentencepiece"
    train_sentencepiece(folder, model_type="bpe", byte_fallback=True, normalization_rule_name="identity",
                        remove_extra_whitespaces=False, character_coverage=0.995, allow_whitespace_only_pieces=True)
    config = dict(tokenizer_class="LlamaTokenizer", add_bos_token=True, bos_token="<s>", eos_token="</s>",
                  unk_token="<unk>")
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return {"sentencepiece": transformers.LlamaTokenizer.from_pretrained(folder)}


# Models that transformers does not read as they were trained: the truth is sentencepiece itself.
SENTENCEPIECE = {
    "default": {},
    "folded": dict(normalization_rule_name="nmt_nfkc_cf"),
    "identity": dict(normalization_rule_name="identity"),
    "byte_fallback": dict(byte_fallback=True, character_coverage=0.99),
    "no_prefix": dict(add_dummy_prefix=False, byte_fallback=True),
    "symbols": dict(user_defined_symbols=["<|im_start|>", "<tool>", "ren", "\u2581th", "(x)"]),
    "t5_ids": dict(pad_id=0, eos_id=1, unk_id=2, bos_id=-1),
    "gemma": dict(split_digits=True, byte_fallback=True, allow_whitespace_only_pieces=True, add_dummy_prefix=False,
                  remove_extra_whitespaces=False, normalization_rule_name="identity", pad_id=0, eos_id=1, bos_id=2,
                  unk_id=3, user_defined_symbols=["\n", "\n\n", "\u2581\u2581\u2581", "<start_of_turn>"]),
}


def well_defined(text, options, controls):
    """Whether sentencepiece and the crate mean the same: to sentencepiece control tokens in text are none; runs, and long
    texts of few syllables, have several spellings of one score; and the crate's normaliser sees a character and its
    marks as one."""
    if any(control in text for control in controls):
        return False
    if options["model_type"] == "unigram" and (len(text) > 5000 or re.search(r"(.)\1{30}", text, re.DOTALL)):
        return False
    joins = any(unicodedata.combining(c) or "\u1100" <= c <= "\u11ff" for c in text) or "\r\n" in text
    return options.get("normalization_rule_name") == "identity" or not joins


def write_sentencepiece(out):
    for kind in ("bpe", "unigram"):
        for name, options in SENTENCEPIECE.items():
            options = dict(options, model_type=kind)
            folder = out / f"sentencepiece_{kind}_{name}"
            model = train_sentencepiece(folder, **options)
            pieces = range(model.get_piece_size())
            controls = [model.id_to_piece(i) for i in pieces if model.is_control(i) or model.is_unknown(i)]
            rows = []
            for text in texts():
                if well_defined(text, options, controls):
                    ids = model.encode(text)
                    rows.append(dict(text=text, plain=ids, special=ids, decoded=model.decode(ids)))
            ids = dict(bos=model.bos_id(), eos=model.eos_id(), pad=model.pad_id(), unk=model.unk_id())
            facts = dict(size=len(pieces), **{key: None if id < 0 else id for key, id in ids.items()})
            (out / f"{folder.name}.ids.json").write_text(json.dumps(dict(facts=facts, rows=rows)))


def write_ids(out, name, tokenizer):
    rows = []
    for text in texts():
        plain = tokenizer(text, add_special_tokens=False)["input_ids"]
        special = tokenizer(text, add_special_tokens=True)["input_ids"]
        rows.append(dict(text=text, plain=plain, special=special,
                         decoded=tokenizer.decode(special, clean_up_tokenization_spaces=False),
                         skipped=tokenizer.decode(special, skip_special_tokens=True,
                                                  clean_up_tokenization_spaces=False)))
    facts = dict(size=len(tokenizer), bos=tokenizer.bos_token_id, eos=tokenizer.eos_token_id,
                 pad=tokenizer.pad_token_id, unk=tokenizer.unk_token_id)
    (out / f"{name}.ids.json").write_text(json.dumps(dict(facts=facts, rows=rows)))


def chat_row(tokenizer, template, row):
    conversation = row["messages"]
    arguments = dict(tools=row.get("tools"), documents=row.get("documents"), chat_template=template,
                     **row.get("chat_template_kwargs", {}))
    result = {}
    try:
        result["prompt"] = tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True,
                                                         **arguments)
        result["text"] = tokenizer.apply_chat_template(conversation, tokenize=False, **arguments)
        encoded = tokenizer.apply_chat_template(conversation, tokenize=True, return_dict=True,
                                                return_assistant_tokens_mask=True, **arguments)
        result["ids"] = encoded["input_ids"]
        result["mask"] = encoded["assistant_masks"]
    except Exception as error:
        return dict(error=f"{type(error).__name__}: {error}"[:200])
    return result


def main():
    out = pathlib.Path(sys.argv[1])
    templates = dict(TEMPLATES)
    if len(sys.argv) > 2:
        for path in sorted(pathlib.Path(sys.argv[2]).glob("*.jinja")):
            templates[path.stem] = path.read_text()
    more = make_sentencepiece(out)
    if more:
        write_sentencepiece(out)
    made = make_tokenizers(out) | more
    for name, tokenizer in made.items():
        write_ids(out, name, tokenizer)
    transformers.logging.set_verbosity_error()
    with open(out / "chat.jsonl", "w") as file:
        for name, template in templates.items():
            for tokenizer in ("byte_level", "byte_level_split", "llama2_metaspace"):
                for index, row in enumerate(CONVERSATIONS):
                    result = chat_row(made[tokenizer], template, row)
                    file.write(json.dumps(dict(template=name, source=template, tokenizer=tokenizer, row=index,
                                               conversation=row, **result)) + "\n")


main()
