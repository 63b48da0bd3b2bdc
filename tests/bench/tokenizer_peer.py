"""tokenizer_peer.py TOKENIZER TEXT THREADS OURS: the Python tokenizers package on the same lines as tokenizer_bench."""

import json
import os
import sys
import time

import tokenizers
import transformers

directory, path, threads, ours = sys.argv[1], sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4])
tokenizer = tokenizers.Tokenizer.from_file(os.path.join(directory, "tokenizer.json"))
with open(path, newline="") as file:
    lines = file.read().split("\n")
if lines and not lines[-1]:
    lines.pop()


def time_of(work, rounds=5):
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


# encode_batch_fast leaves offsets out, as ours does.
rows = [e.ids for e in tokenizer.encode_batch_fast(lines, add_special_tokens=False)]
checksum = sum(token * (i + 1) for row in rows for i, token in enumerate(row)) & (2**64 - 1)
if (sum(map(len, rows)), checksum) != (ours["ids"], ours["checksum"]):
    sys.exit("the two tokenizers give different ids")
every = time_of(lambda: [e.ids for e in tokenizer.encode_batch_fast(lines, add_special_tokens=False)])
one = time_of(lambda: [tokenizer.encode(line, add_special_tokens=False).ids for line in lines])

CHATML = """{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' %}{% generation %}\
{{ m.content + '<|im_end|>' }}{% endgeneration %}{% else %}{{ m.content + '<|im_end|>' }}{% endif %}{{ '\n' }}{% endfor %}"""
hf = transformers.AutoTokenizer.from_pretrained(directory)
talks = [[dict(role="user", content=a), dict(role="assistant", content=b)]
         for a, b in zip(lines[0::2], lines[1::2])][:ours["conversations"]]
chat = time_of(lambda: [hf.apply_chat_template(t, chat_template=CHATML, tokenize=True, return_dict=True,
                                               return_assistant_tokens_mask=True) for t in talks], rounds=2)

megabytes = ours["bytes"] / 1e6
print(f"{'':34}{'Tessera':>10}{'Python':>10}{'ratio':>8}")
for name, a, b, unit in [
    ("encode, 1 thread, MB/s", megabytes / ours["one_thread_s"], megabytes / one, ""),
    (f"encode batch, {threads} threads, MB/s", megabytes / ours["all_threads_s"], megabytes / every, ""),
    ("chat ids and mask, rows/s", len(talks) / ours["chat_one_thread_s"], len(talks) / chat, ""),
]:
    print(f"{name:34}{a:10.1f}{b:10.1f}{a / b:8.2f}")
print(json.dumps({"bench": "tokenizer", "threads": threads, "tokenizers": tokenizers.__version__, **ours,
                  "peer_one_thread_s": one, "peer_all_threads_s": every, "peer_chat_s": chat}))
