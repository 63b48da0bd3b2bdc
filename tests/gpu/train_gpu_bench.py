"""Training speed of `tessera train` on one GPU beside transformers: plain, under FSDP2 and compiled, in one run.

Llama shapes, full training, bf16 compute, fp32 master weights, fused AdamW. A case is a shape with a sequence length; of
each the median step counts, and the same rows go to everyone. Cases come in the order of what they are worth knowing;
those that --budget leaves no time for are named. Prints a table and writes one JSON object per case and program.

    python tests/gpu/train_gpu_bench.py --tessera TESSERA [--json FILE] [--steps 12] [--budget SECONDS] [--device cpu --tiny]

The interpreter needs torch and transformers. `--device cpu --tiny` only shows that the script itself works. MFU is by
torchtitan's formula, (6 parameters + 6 layers heads (d_qk + d_v) length) per token, against 989 TFLOP/s. Rows are tokens
drawn at random; packed rows hold documents with the lengths of GSM8K's questions with answers (log-normal, median 165
tokens), which transformers gets padded to the longest of a batch.
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
LLAMA_1B = dict(hidden_size=2048, intermediate_size=8192, num_hidden_layers=16, num_attention_heads=32,
                num_key_value_heads=8, head_dim=64, vocab_size=128256)
LLAMA_3B = dict(hidden_size=3072, intermediate_size=8192, num_hidden_layers=28, num_attention_heads=24,
                num_key_value_heads=8, head_dim=128, vocab_size=128256)
LLAMA_8B_6 = dict(hidden_size=4096, intermediate_size=14336, num_hidden_layers=6, num_attention_heads=32,
                  num_key_value_heads=8, head_dim=128, vocab_size=128256)
TINY = dict(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
            head_dim=16, vocab_size=512)
# name -> shape, rows a step, row length, packed, options of tessera, programs beside it
CASES = {
    "1b-4096": (LLAMA_1B, 4, 4096, False, [], ["fsdp2", "compiled"]),
    "1b-gsm8k": (LLAMA_1B, 4, 4096, True, [], ["fsdp2"]),
    "1b-4096-float8": (LLAMA_1B, 4, 4096, False, ["float8.recipe_name=rowwise_with_gw_hp"], []),
    "3b-4096": (LLAMA_3B, 2, 4096, False, [], ["compiled"]),
    "1b-8192": (LLAMA_1B, 2, 8192, False, [], ["compiled"]),
    "8b-6-layers-4096": (LLAMA_8B_6, 2, 4096, False, [], ["fsdp2"]),
    "1b-4096-offload": (LLAMA_1B, 4, 4096, False, ["memory.offload=true", "memory.offload_activations=true"], []),
}
TINY_CASES = {
    "tiny-64": (TINY, 2, 64, False, [], ["fsdp2", "compiled"]),
    "tiny-packed": (TINY, 2, 64, True, ["float8.recipe_name=rowwise"], ["fsdp2"]),
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


def make_rows(case, steps, generator):
    """Documents of each row: lists of token ids."""
    shape, rows, length, packed = case[:4]
    draw = lambda count: [generator.randrange(shape["vocab_size"]) for _ in range(count)]
    if not packed:
        return [[draw(length)] for _ in range(rows * steps)]
    out = []
    for _ in range(rows * steps):
        row, left = [], length
        while left > 1:
            size = min(left, max(2, int(generator.lognormvariate(5.1, 0.45) * length / 4096) if length < 512
                                 else int(generator.lognormvariate(5.1, 0.45))))
            row.append(draw(size))
            left -= size
        out.append(row)
    return out


def ours(args, work, case):
    shape, rows, length, packed, options = case[:5]
    metrics = os.path.join(work, "metrics.jsonl")
    if os.path.exists(metrics):
        os.remove(metrics)
    command = [args.tessera, "train", f"device={args.device}", "ranks=1", f"model.config={work}/config.json",
               f"data.path={work}/rows.jsonl", "data.format=tokens", f"data.seq_len={length}",
               f"data.packing={'next_fit' if packed else 'none'}",
               f"train.steps={args.steps}", f"train.global_batch={rows}", f"train.micro_batch={rows}",
               "precision.param=bf16", f"output.metrics={metrics}", "output.export=false", *options]
    begin = time.time()
    done = subprocess.run(command, capture_output=True, text=True, timeout=args.case_seconds)
    if done.returncode:
        raise RuntimeError(f"tessera train ended with {done.returncode}: {done.stderr.strip()[-1500:]}")
    steps = [json.loads(line) for line in open(metrics)]
    return {"step_seconds": [s["seconds"] for s in steps], "last_loss": steps[-1]["loss"],
            "tokens": [s["tokens"] for s in steps], "whole_run_seconds": time.time() - begin}


def padded(torch, documents, device):
    """Documents as one batch of rows padded to the longest, as a collator gives them to transformers."""
    longest = max(map(len, documents))
    ids = torch.zeros(len(documents), longest, dtype=torch.long)
    labels = torch.full_like(ids, -100)
    mask = torch.zeros_like(ids)
    for i, document in enumerate(documents):
        ids[i, :len(document)] = torch.tensor(document)
        labels[i, :len(document)] = torch.tensor(document)
        mask[i, :len(document)] = 1
    return dict(input_ids=ids.to(device), labels=labels.to(device), attention_mask=mask.to(device))


def peer(args):
    """One case of transformers in this process: prints its step times."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    work = args.peer_work
    case = (TINY_CASES if args.tiny else CASES)[args.peer_case]
    shape, rows, length, packed = case[:4]
    begin = time.time()
    torch.manual_seed(0)
    with torch.device(args.device):
        model = LlamaForCausalLM._from_config(LlamaConfig(**config_of(shape)), attn_implementation="sdpa")
    if args.peer == "fsdp2":
        import torch.distributed as dist
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29571", RANK="0", WORLD_SIZE="1")
        dist.init_process_group("nccl" if args.device == "cuda" else "gloo")
        mesh = init_device_mesh(args.device, (1,))
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
        for layer in model.model.layers:
            fully_shard(layer, mesh=mesh, mp_policy=policy)
        fully_shard(model, mesh=mesh, mp_policy=policy)
    if args.peer == "compiled":
        model.compile()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, betas=(0.9, 0.95), weight_decay=0.1,
                                  fused=args.device == "cuda")
    data = [json.loads(line) for line in open(os.path.join(work, "peer_rows.jsonl"))]
    seconds = []
    for step in range(args.steps):
        start = time.time()
        batch = padded(torch, [d for row in data[step * rows:(step + 1) * rows] for d in row], args.device)
        if not packed:
            batch.pop("attention_mask")
        with torch.autocast(args.device, dtype=torch.bfloat16, enabled=args.peer != "fsdp2"):
            loss = model(**batch, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()  # waits for the step
        seconds.append(time.time() - start)
    print(json.dumps({"step_seconds": seconds, "last_loss": loss.item(), "tokens": [rows * length] * args.steps,
                      "whole_run_seconds": time.time() - begin}))


def run_peer(args, work, name, mode):
    command = [sys.executable, os.path.abspath(__file__), "--peer", mode, "--peer-work", work, "--peer-case", name,
               "--device", args.device, "--steps", str(args.steps)] + (["--tiny"] if args.tiny else [])
    done = subprocess.run(command, capture_output=True, text=True, timeout=args.case_seconds)
    if done.returncode:
        raise RuntimeError(f"transformers, {mode}: {done.stderr.strip()[-1500:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def run_case(args, name, case, out, left):
    """Everybody's run of one case; False when one failed."""
    shape, rows, length = case[:3]
    fine = True
    with tempfile.TemporaryDirectory() as work:
        json.dump(config_of(shape), open(os.path.join(work, "config.json"), "w"))
        documents = make_rows(case, args.steps, random.Random(0))
        with open(os.path.join(work, "rows.jsonl"), "w") as file:
            for row in documents:
                for ids in row:
                    file.write(json.dumps({"input_ids": ids}) + "\n")
        with open(os.path.join(work, "peer_rows.jsonl"), "w") as file:
            for row in documents:
                file.write(json.dumps(row) + "\n")
        programs = {"tessera": lambda: ours(args, work, case)}
        for mode in case[5]:
            if mode != "compiled" or not args.skip_compiled:
                programs[f"transformers {mode}"] = lambda mode=mode: run_peer(args, work, name, mode)
        for program, run in programs.items():
            if left() < 15:
                print(f"{name:18} {program:22} not run: no time left", flush=True)
                continue
            try:
                with GpuMemory() as memory:
                    result = run()
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                print(f"{name:18} {program:22} FAILED: {error}", flush=True)
                fine = False
                continue
            # The first steps warm up and compile.
            warm = len(result["step_seconds"]) // 3
            rate = statistics.median(t / s for t, s in zip(result["tokens"][warm:], result["step_seconds"][warm:]))
            mfu = 100 * rate * flops_per_token(shape, length) / PEAK_FLOPS
            print(f"{name:18} {program:22} {rate:9.0f} {mfu:6.1f} {memory.peak:9d} {result['step_seconds'][0]:13.2f} "
                  f"{result['last_loss']:10.4f}", flush=True)
            if out:
                out.write(json.dumps({"case": name, "program": program, "tokens_per_s": rate, "mfu": mfu,
                                      "peak_mib": memory.peak, **result}) + "\n")
                out.flush()
    return fine


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tessera")
    parser.add_argument("--json")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--skip-compiled", action="store_true")
    parser.add_argument("--cases", help="comma separated; absent: all")
    parser.add_argument("--budget", type=float, default=1e9, help="seconds for all cases")
    parser.add_argument("--case-seconds", type=float, default=150, help="the most for one program")
    parser.add_argument("--peer", choices=["plain", "fsdp2", "compiled"], help=argparse.SUPPRESS)
    parser.add_argument("--peer-work", help=argparse.SUPPRESS)
    parser.add_argument("--peer-case", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        return peer(args)

    cases = TINY_CASES if args.tiny else CASES
    if args.cases:
        cases = {name: cases[name] for name in args.cases.split(",")}
    end = time.time() + args.budget
    out = open(args.json, "w") if args.json else None
    print(f"{'case':18} {'program':22} {'tokens/s':>9} {'MFU %':>6} {'peak MiB':>9} {'first step s':>13} {'last loss':>10}",
          flush=True)
    fine = [run_case(args, name, case, out, lambda: end - time.time()) for name, case in cases.items()]
    sys.exit(not all(fine))


if __name__ == "__main__":
    main()
