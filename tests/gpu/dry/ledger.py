"""What a training step on one H100 should take, kernel by kernel, from a log of the dry CUDA runtime. Predicted, not
measured: products at 700 TFLOP/s, less where their tiles fill the last wave of multiprocessors badly; attention at the
rates of the FlashAttention-3 paper; everything else its bytes at 2.9 TB/s, at least 4 microseconds.

    python tests/gpu/dry/ledger.py LOG CONFIG --tokens 16384 --length 4096 [--microbatches 1] [--each]

LOG is of one rank of `tessera train` on a dense model with bfloat16 weights, micro-batches of TOKENS tokens in documents
of LENGTH; its last step is read. CONFIG is the model's config.json.
"""
import argparse
import collections
import json
import math
import re

PRODUCTS, MEMORY, LEAST = 700e12, 2.9e12, 4e-6
# FLOP/s of causal attention by head size, the masked half not counted: forward, backward.
ATTENTION = {("flash", 64): (300e12, 250e12), ("flash", 128): (370e12, 300e12),
             ("cudnn", 64): (400e12, 330e12), ("cudnn", 128): (550e12, 430e12)}
MULTIPROCESSORS = 132
CHUNK = 16384  # elements a block of a multi-tensor pass takes (kernels/cuda/geometry.h)


def last_step(path):
    """The calls after the optimizer of the step before, up to that of the last step, as (call, fields)."""
    lines = [line.split() for line in open(path, errors="replace")]
    lines = [line[3:] for line in lines if len(line) > 3]
    updates = [i for i, line in enumerate(lines) if line[0] == "launch" and "adamw_many" in line[1]]
    ends = [i for n, i in enumerate(updates)
            if n + 1 == len(updates) or any(line[0] == "gemm" for line in lines[i:updates[n + 1]])]
    return lines[ends[-2] + 1:ends[-1] + 1]


def product_seconds(values):
    m, n, k = (int(values[key]) for key in "mnk")
    out = 4 if values["types"].split(",")[2] == "f32" else 2
    best = 0
    for rows, columns, share in ((128, 256, 1.0), (128, 128, 0.9), (64, 128, 0.7)):
        tiles = math.ceil(m / rows) * math.ceil(n / columns)
        best = max(best, share * tiles / (math.ceil(tiles / MULTIPROCESSORS) * MULTIPROCESSORS))
    moved = 2 * (m * k + k * n) + m * n * out * (2 if float(values["beta"]) else 1)
    # A wave that is all but full costs nothing noticeable.
    return max(2 * m * n * k / PRODUCTS / min(1, best / 0.96), moved / MEMORY, LEAST)


class Kernels:
    """Bytes and kinds of launches by their names and grids."""

    def __init__(self, config, tokens, length):
        self.hidden, self.vocabulary, self.tokens = config["hidden_size"], config["vocab_size"], tokens
        heads = config["num_attention_heads"]
        self.head = config.get("head_dim") or self.hidden // heads
        # Scores and their product with the values, half of them masked.
        self.attention = 2 * 2 * tokens * length / 2 * heads * self.head
        self.key_rows = tokens * config["num_key_value_heads"] * self.head
        self.query_rows = tokens * heads * self.head
        self.norms = collections.Counter()

    def attend(self, engine, backward):
        forward, back = ATTENTION[engine, self.head]
        return 2.5 * self.attention / back if backward else self.attention / forward

    def of(self, name, blocks, threads):
        """(kind, seconds)"""
        rows, pack = self.tokens * self.hidden * 2, blocks * threads * 8 * 2
        if "flash_fwd" in name:
            return "attention", self.attend("flash", False)
        if "flash_bwd_dq_dk_dv" in name:
            return "attention", self.attend("flash", True)
        if "flash_bwd" in name:
            return "attention", 3 * self.query_rows * 2 / MEMORY
        if "adamw_many" in name:
            return "AdamW", blocks * CHUNK * 30 / MEMORY
        if "squares_many" in name:
            return "gradient norm", blocks * CHUNK * 4 / MEMORY
        if "copy_many" in name:
            return "gradients cast", blocks * CHUNK * 6 / MEMORY
        if "cross_entropy_kernel" in name:
            return "cross-entropy", 3 * blocks * self.vocabulary * 2 / MEMORY
        if "reduce_kernel" in name:  # dk and dv of query heads, summed to those of their key heads
            return "attention", (self.query_rows + self.key_rows) * 2 / MEMORY
        known = {"rms_norm_backward": 4 * rows, "gated_backward": 5 * pack, "gated_kernel": 3 * pack,
                 "rope_kernel": 4 * pack, "gather_kernel": 2 * rows, "embedding_backward": 5 * rows,
                 "vectorized_gather": 2 * rows, "index_elementwise": 2 * rows, "column_sum": 0}
        for part, size in known.items():
            if part in name:
                return "elementwise", max(size / MEMORY, LEAST)
        if "rms_norm_kernel" in name:  # every second one adds the residual
            self.norms["seen"] += 1
            return "elementwise", (2 if self.norms["seen"] % 2 else 4) * rows / MEMORY
        if "copy_kernel" in name:  # the residual added, or the gradient of a norm's weight
            return "elementwise", max(3 * pack / MEMORY, LEAST)
        if "elementwise" in name and blocks * 8 >= self.tokens:  # a copy of strided rows
            return "copies", max(2 * self.key_rows * 2 / MEMORY, LEAST)
        return "other", LEAST


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("log")
    parser.add_argument("config")
    parser.add_argument("--tokens", type=int, required=True)
    parser.add_argument("--length", type=int, required=True)
    parser.add_argument("--microbatches", type=int, default=1, help="of a step")
    parser.add_argument("--each", action="store_true", help="a line for each kind of call too")
    args = parser.parse_args()
    kernels = Kernels(json.load(open(args.config)), args.tokens, args.length)
    seconds, calls, names, attended = (collections.Counter() for _ in range(4))
    for call, *fields in last_step(args.log):
        values = dict(f.split("=", 1) for f in fields if "=" in f)
        if call == "gemm":
            kind, took = "products", product_seconds(values)
            name = " ".join(f for f in fields[1:] if f.split("=")[0] in ("m", "n", "k", "types", "beta"))
        elif call == "launch":
            blocks, threads = (math.prod(map(int, values[key].split(","))) for key in ("grid", "block"))
            kind, took = kernels.of(fields[0], blocks, threads)
            name = (re.findall(r"[a-z][a-z_0-9]*?kernel|flash_[a-z_]+", fields[0]) or [fields[0][:60]])[-1]
        elif call == "cudnn":
            backward = int(values["matmuls"]) > 2
            kind, took, name = "attention", kernels.attend("cudnn", backward), f"cudnn backward={backward}"
        elif call in ("copy", "set"):
            both = values.get("to") == values.get("from") == "device"
            kind, name = "copies", f"{call} {' '.join(fields[:3])}"
            took = max((2 if both else 1) * int(values["bytes"]) / MEMORY, LEAST)
        else:
            continue
        seconds[kind] += took
        calls[kind] += 1
        names[kind, name] += took
        attended[kind, name] += 1
    for kind, took in seconds.most_common():
        print(f"{1e3 * took:9.1f} ms {calls[kind]:6d}  {kind}")
        for (of, name), part in names.most_common() if args.each else ():
            if of == kind:
                print(f"          {1e3 * part:9.2f} ms {attended[of, name]:6d}  {name}")
    total = sum(seconds.values())
    rate = args.tokens * args.microbatches / total
    print(f"{1e3 * total:9.1f} ms {sum(calls.values()):6d}  predicted, {rate:.0f} tokens/s")


if __name__ == "__main__":
    main()
