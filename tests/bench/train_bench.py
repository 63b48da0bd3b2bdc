"""Training speed of `tessera train` beside its peers, in one run on one machine.

Shape: a Llama of 125M parameters (12 layers, 768, ff 2048, 12 heads, 4 kv, vocabulary 32000), bf16 compute, fp32 master
weights, AdamW, 4 rows of 512 tokens a step. Cases: 4 ranks against PyTorch FSDP2 on Gloo (4 processes of one thread),
and the machine's 4 cores against transformers in one process, eager and compiled. Each peer runs as shipped and tuned
(allocator and matmul settings); the headline is the ratio to the better of the two.

    python tests/bench/train_bench.py --tessera build/release/bin/tessera [--python PYTHON] [--rounds 3] [--steps 8]

PYTHON needs torch and transformers. Runs are interleaved, so that a noisy machine hurts all alike; figures are medians.
"""
import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 768, "intermediate_size": 2048,
    "num_hidden_layers": 12, "num_attention_heads": 12, "num_key_value_heads": 4, "head_dim": 64,
    "vocab_size": 32000, "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "hidden_act": "silu",
    "tie_word_embeddings": False, "rope_theta": 10000.0, "initializer_range": 0.02,
}
ROWS, SEQ_LEN = 4, 512
# glibc keeps large blocks instead of returning them to the kernel at every free: what a careful user of PyTorch sets.
TUNED = {"MALLOC_MMAP_THRESHOLD_": str(4 << 30), "MALLOC_TRIM_THRESHOLD_": str(16 << 30), "MALLOC_TOP_PAD_": str(1 << 28)}


def run(command, env=None):
    merged = dict(os.environ, **(env or {}))
    done = subprocess.run(command, env=merged, capture_output=True, text=True, timeout=900)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout


def peer(args, work, mode, tuned):
    script = [os.path.join(HERE, "train_peer.py"), "--mode", mode, "--config", os.path.join(work, "config.json"),
              "--rows", str(ROWS), "--seq-len", str(SEQ_LEN), "--steps", str(args.steps)]
    env = dict(TUNED) if tuned else {}
    if tuned:
        script += ["--matmul-precision", "medium"]
    if mode == "fsdp2":
        launcher = [args.python, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "4"]
        env["OMP_NUM_THREADS"] = "1"
        out = run(launcher + script + ["--threads", "1"], env)
    else:
        out = run([args.python] + script + ["--threads", "4"], env)
    return json.loads(out.strip().splitlines()[-1])


def ours(args, work, ranks):
    metrics = os.path.join(work, "metrics.jsonl")
    if os.path.exists(metrics):
        os.remove(metrics)
    command = ["/usr/bin/env", args.tessera, "train", f"ranks={ranks}", f"model.config={work}/config.json",
               f"data.path={work}/rows.jsonl", "data.format=tokens", f"data.seq_len={SEQ_LEN}", "data.packing=none",
               f"train.steps={args.steps}", f"train.global_batch={ROWS}", f"train.micro_batch={ROWS // ranks}",
               "precision.param=bf16", f"output.metrics={metrics}", "output.export=false"]
    begin = time.time()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    first = None
    while process.poll() is None:
        if first is None and os.path.exists(metrics) and os.path.getsize(metrics):
            first = time.time() - begin
        time.sleep(0.002)
    if process.returncode:
        sys.exit(f"{' '.join(command)}\n{process.stderr.read()[-4000:]}")
    rows = [json.loads(line) for line in open(metrics)]
    return {"step_seconds": [row["seconds"] for row in rows], "first_step_seconds": first,
            "peak_bytes_per_process": max(row["memory"] for row in rows),
            "communication_share": statistics.median(
                row.get("communication_seconds", 0) / row["seconds"] for row in rows[2:])}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tessera", required=True)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--skip-compiled", action="store_true")
    args = parser.parse_args()

    cases = {
        "tessera, 4 rank threads": lambda work: ours(args, work, 4),
        "FSDP2 on Gloo, as shipped": lambda work: peer(args, work, "fsdp2", False),
        "FSDP2 on Gloo, tuned": lambda work: peer(args, work, "fsdp2", True),
        "tessera, 1 rank": lambda work: ours(args, work, 1),
        "transformers eager, as shipped": lambda work: peer(args, work, "eager", False),
        "transformers eager, tuned": lambda work: peer(args, work, "eager", True),
    }
    if not args.skip_compiled:
        cases["transformers compiled, as shipped"] = lambda work: peer(args, work, "compiled", False)
        cases["transformers compiled, tuned"] = lambda work: peer(args, work, "compiled", True)
    results = {name: [] for name in cases}
    with tempfile.TemporaryDirectory() as work:
        json.dump(CONFIG, open(os.path.join(work, "config.json"), "w"))
        generator = random.Random(0)
        with open(os.path.join(work, "rows.jsonl"), "w") as rows:
            for _ in range(ROWS * args.steps):
                rows.write(json.dumps({"input_ids": [generator.randrange(32000) for _ in range(SEQ_LEN)]}) + "\n")
        for _ in range(args.rounds):
            for name, case in cases.items():
                results[name].append(case(work))

    summary = {}
    print(f"{'case':36} {'tokens/s':>9} {'first step s':>13} {'peak MB/process':>16}")
    for name, runs in results.items():
        # The first two steps warm caches up.
        step = statistics.median(s for one in runs for s in one["step_seconds"][2:])
        summary[name] = {
            "tokens_per_s": ROWS * SEQ_LEN / step,
            "first_step_seconds": statistics.median(one["first_step_seconds"] for one in runs),
            "peak_mb": statistics.median(one["peak_bytes_per_process"] for one in runs) / 1e6,
        }
        if "communication_share" in runs[0]:
            summary[name]["communication_share"] = statistics.median(one["communication_share"] for one in runs)
        row = summary[name]
        print(f"{name:36} {row['tokens_per_s']:9.0f} {row['first_step_seconds']:13.2f} {row['peak_mb']:16.0f}")

    def ratio(mine, prefix):
        best = max(row["tokens_per_s"] for name, row in summary.items() if name.startswith(prefix))
        return summary[mine]["tokens_per_s"] / best

    ratios = {"vs_fsdp2": ratio("tessera, 4 rank threads", "FSDP2"),
              "vs_transformers": ratio("tessera, 4 rank threads", "transformers"),
              "one_rank_vs_transformers": ratio("tessera, 1 rank", "transformers")}
    print(json.dumps({"bench": "train_125m_bf16", "load": os.getloadavg()[0], "cases": summary, "ratios": ratios}))


if __name__ == "__main__":
    main()
