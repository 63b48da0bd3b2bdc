"""Training speed of `tessera train` on one GPU beside transformers, eager and compiled, in one run.

Shape: Llama-3.2-1B (16 layers, 2048, ff 8192, 32 heads, 8 kv, vocabulary 128256, tied), full training, bf16 compute, fp32
master weights, fused AdamW, 4 rows of 4096 tokens a step. Prints a table and writes one JSON object per case.

    python tests/gpu/train_gpu_bench.py --tessera TESSERA [--json FILE] [--steps 12] [--device cpu --tiny]

The interpreter needs torch and transformers. `--device cpu --tiny` only shows that the script itself works. MFU is by
torchtitan's formula, (6 parameters + 6 layers heads (d_qk + d_v) length) per token, against 989 TFLOP/s.
"""
import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time

PEAK_FLOPS = 989e12  # H100 and H200 SXM, dense bf16
SHAPES = {
    "1b": (dict(hidden_size=2048, intermediate_size=8192, num_hidden_layers=16, num_attention_heads=32,
                num_key_value_heads=8, head_dim=64, vocab_size=128256), 4, 4096),
    "tiny": (dict(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
                  num_key_value_heads=2, head_dim=16, vocab_size=512), 2, 64),
}


def config_of(shape):
    return {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "max_position_embeddings": 8192,
            "rms_norm_eps": 1e-5, "hidden_act": "silu", "tie_word_embeddings": True, "rope_theta": 500000.0,
            "initializer_range": 0.02, "attention_bias": False, "mlp_bias": False, **shape}


def flops_per_token(shape, length):
    h, f, layers, d = (shape[k] for k in ("hidden_size", "intermediate_size", "num_hidden_layers", "head_dim"))
    q, kv = shape["num_attention_heads"] * d, shape["num_key_value_heads"] * d
    parameters = shape["vocab_size"] * h + layers * (2 * h * q + 2 * h * kv + 3 * h * f)
    return 6 * parameters + 6 * layers * q * 2 * length


class GpuMemory:
    """The most memory in use while it runs, by nvidia-smi, in MiB; 0 without a GPU."""

    def __enter__(self):
        self.peak, self.done = 0, threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()

    def watch(self):
        while not self.done.wait(0.2):
            try:
                out = subprocess.run(["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"],
                                     capture_output=True, text=True, timeout=10).stdout
                self.peak = max(self.peak, int(out.split()[0]))
            except (OSError, ValueError, IndexError, subprocess.SubprocessError):
                return


def ours(args, work, rows, length):
    metrics = os.path.join(work, "metrics.jsonl")
    command = [args.tessera, "train", f"device={args.device}", "ranks=1", f"model.config={work}/config.json",
               f"data.path={work}/rows.jsonl", "data.format=tokens", f"data.seq_len={length}", "data.packing=none",
               f"train.steps={args.steps}", f"train.global_batch={rows}", f"train.micro_batch={rows}",
               "precision.param=bf16", f"output.metrics={metrics}", "output.export=false"]
    begin = time.time()
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise RuntimeError(f"tessera train ended with {done.returncode}: {done.stderr.strip()[-1500:]}")
    steps = [json.loads(line) for line in open(metrics)]
    return {"step_seconds": [s["seconds"] for s in steps], "last_loss": steps[-1]["loss"],
            "whole_run_seconds": time.time() - begin}


def peer(args):
    """One case of transformers in this process: prints its step times."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    work = args.peer_work
    shape, rows, length = SHAPES["tiny" if args.tiny else "1b"]
    begin = time.time()
    torch.manual_seed(0)
    with torch.device(args.device):
        model = LlamaForCausalLM._from_config(LlamaConfig(**config_of(shape)), attn_implementation="sdpa")
    if args.peer == "compiled":
        model.compile()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, betas=(0.9, 0.95), weight_decay=0.1,
                                  fused=args.device == "cuda")
    data = [json.loads(line)["input_ids"] for line in open(os.path.join(work, "rows.jsonl"))]
    seconds = []
    for step in range(args.steps):
        start = time.time()
        tokens = torch.tensor(data[step * rows:(step + 1) * rows], device=args.device)
        with torch.autocast(args.device, dtype=torch.bfloat16):
            loss = model(input_ids=tokens, labels=tokens, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()  # waits for the step
        seconds.append(time.time() - start)
    print(json.dumps({"step_seconds": seconds, "last_loss": loss.item(), "whole_run_seconds": time.time() - begin}))


def run_peer(args, work, mode):
    command = [sys.executable, os.path.abspath(__file__), "--peer", mode, "--peer-work", work, "--device", args.device,
               "--steps", str(args.steps)] + (["--tiny"] if args.tiny else [])
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise RuntimeError(f"transformers, {mode}: {done.stderr.strip()[-1500:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tessera")
    parser.add_argument("--json")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--skip-compiled", action="store_true")
    parser.add_argument("--peer", choices=["eager", "compiled"], help=argparse.SUPPRESS)
    parser.add_argument("--peer-work", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        return peer(args)

    shape, rows, length = SHAPES["tiny" if args.tiny else "1b"]
    cases = {"tessera": lambda work: ours(args, work, rows, length),
             "transformers eager": lambda work: run_peer(args, work, "eager")}
    if not args.skip_compiled:
        cases["transformers compiled"] = lambda work: run_peer(args, work, "compiled")
    failed = False
    out = open(args.json, "w") if args.json else None
    print(f"{'case':24} {'tokens/s':>9} {'MFU %':>6} {'peak MiB':>9} {'first step s':>13} {'last loss':>10}", flush=True)
    with tempfile.TemporaryDirectory() as work:
        json.dump(config_of(shape), open(os.path.join(work, "config.json"), "w"))
        generator = random.Random(0)
        with open(os.path.join(work, "rows.jsonl"), "w") as file:
            for _ in range(rows * args.steps):
                ids = [generator.randrange(shape["vocab_size"]) for _ in range(length)]
                file.write(json.dumps({"input_ids": ids}) + "\n")
        for name, case in cases.items():
            try:
                with GpuMemory() as memory:
                    result = case(work)
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                print(f"{name:24} FAILED: {error}", flush=True)
                failed = True
                continue
            # The first steps warm up and compile.
            rate = rows * length / statistics.median(result["step_seconds"][len(result["step_seconds"]) // 3:])
            mfu = 100 * rate * flops_per_token(shape, length) / PEAK_FLOPS
            print(f"{name:24} {rate:9.0f} {mfu:6.1f} {memory.peak:9d} {result['step_seconds'][0]:13.2f} "
                  f"{result['last_loss']:10.4f}", flush=True)
            if out:
                out.write(json.dumps({"case": name, "tokens_per_s": rate, "mfu": mfu, "peak_mib": memory.peak, **result}) + "\n")
                out.flush()
    sys.exit(failed)


if __name__ == "__main__":
    main()
