"""Trains the quickstart's byte-level BPE tokenizer on its data (PyPI: tokenizers). Its output is committed in model/."""
import json
import os

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

HERE = os.path.dirname(os.path.abspath(__file__))


def texts():
    for name in ("facts.jsonl", "questions.jsonl"):
        for line in open(os.path.join(HERE, "data", name)):
            row = json.loads(line)
            yield from [row["text"]] if "text" in row else [message["content"] for message in row["messages"]]


def main():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(texts(), trainers.BpeTrainer(
        vocab_size=768, special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.save(os.path.join(HERE, "model", "tokenizer.json"), pretty=False)
    print("vocabulary", tokenizer.get_vocab_size())


if __name__ == "__main__":
    main()
