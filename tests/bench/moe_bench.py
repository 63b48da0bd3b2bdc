"""Mixtures of experts beside transformers, in one run on one machine.

A layer (Qwen3-MoE's block: router, top-k, SwiGLU experts) forward and backward, and a training step of a small model of that
family, against transformers with its eager experts and with grouped products (experts_implementation=grouped_mm); and the way
of tokens to the ranks of their experts and back, by all-to-all and by all-gather. Rounds are interleaved, figures are the
smallest of several rounds, so that a busy machine hurts all alike; peers multiply float32 the faster way that torch offers.

    python tests/bench/moe_bench.py --build build/release [--python PYTHON] [--threads 1] [--only layer|train|dispatch]

PYTHON needs torch and transformers. Prints a table, and a JSON line at the end.
"""
import argparse
import json
import os
import random
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
# tokens, hidden, intermediate, experts, experts per token
LAYERS = {"32 experts, 4 a token": (1024, 512, 256, 32, 4), "64 experts, 8 a token": (512, 512, 256, 64, 8),
          "8 wide experts, 2 a token": (512, 1024, 1024, 8, 2)}
MODEL = {
    "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "hidden_size": 384, "intermediate_size": 1024,
    "num_hidden_layers": 4, "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 64, "vocab_size": 8192,
    "moe_intermediate_size": 192, "num_experts": 32, "num_experts_per_tok": 4, "norm_topk_prob": True,
    "decoder_sparse_step": 1, "mlp_only_layers": [], "max_position_embeddings": 1024, "rms_norm_eps": 1e-6,
    "hidden_act": "silu", "tie_word_embeddings": False, "rope_theta": 10000.0, "router_aux_loss_coef": 0.0,
    "output_router_logits": False, "use_sliding_window": False, "attention_bias": False,
}
ROWS, SEQ_LEN = 2, 256
# The same number of tokens of a rank in each; bfloat16 rows.
DISPATCH = {"ep=2": (1024, 1024, 32, 4, 2), "ep=4": (512, 1024, 32, 4, 4), "ep=4, 1 expert a token": (512, 1024, 32, 1, 4)}


def run(command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=600)
    if done.returncode:
        sys.exit(f"{command}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])["seconds"]


def steady(seconds):
    """The first rounds make kernels and memory pools."""
    return min(seconds[3:])


def interleaved(contestants, rounds):
    """The best of each over `rounds` starts, in turn."""
    best = {}
    for _ in range(rounds):
        for name, start in contestants.items():
            best[name] = min(best.get(name, float("inf")), start())
    return best


def layer_contestants(args, shape, dtype):
    tokens, hidden, intermediate, experts, top_k = shape

    def ours():
        return steady(run([os.path.join(args.build, "bin", "moe_bench"), "layer", *shape, dtype, args.threads, 12]))

    def peer(implementation):
        return lambda: steady(run(
            [args.python, os.path.join(HERE, "moe_peer.py"), "layer", "--implementation", implementation, "--dtype", dtype,
             "--matmul-precision", "medium", "--tokens", tokens, "--hidden", hidden, "--intermediate", intermediate,
             "--experts", experts, "--top-k", top_k, "--threads", args.threads, "--rounds", 8]))

    return {"tessera": ours, "eager": peer("eager"), "grouped_mm": peer("grouped_mm")}


def train_contestants(args, work, dtype):
    def ours():
        metrics = os.path.join(work, "metrics.jsonl")
        if os.path.exists(metrics):
            os.remove(metrics)
        command = [os.path.join(args.build, "bin", "tessera"), "train", f"model.config={work}/config.json",
                   f"data.path={work}/rows.jsonl", f"data.seq_len={SEQ_LEN}", "ranks=1", f"threads={args.threads}",
                   f"train.micro_batch={ROWS}", f"train.global_batch={ROWS}", "train.steps=10", f"precision.param={dtype}",
                   "optimizer.lr=1e-4", f"output.metrics={metrics}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        if done.returncode:
            sys.exit(done.stdout[-2000:] + done.stderr[-4000:])
        with open(metrics) as lines:
            return steady([json.loads(line)["seconds"] for line in lines])

    def peer(implementation):
        return lambda: steady(run(
            [args.python, os.path.join(HERE, "moe_peer.py"), "train", "--implementation", implementation, "--config", work,
             "--dtype", dtype, "--matmul-precision", "medium", "--rows", ROWS, "--tokens", SEQ_LEN, "--threads",
             args.threads, "--rounds", 8]))

    return {"tessera": ours, "eager": peer("eager"), "grouped_mm": peer("grouped_mm")}


def write_job(work):
    with open(os.path.join(work, "config.json"), "w") as file:
        json.dump(MODEL, file)
    chance = random.Random(0)
    with open(os.path.join(work, "rows.jsonl"), "w") as file:
        for _ in range(64):
            ids = [chance.randrange(MODEL["vocab_size"]) for _ in range(SEQ_LEN)]
            file.write(json.dumps({"input_ids": ids, "labels": ids}) + "\n")


def compare(title, contestants, rounds, results):
    best = interleaved(contestants, rounds)
    results[title] = {name: round(seconds, 6) for name, seconds in best.items()}
    peers = " ".join(f"{best[name] * 1e3:10.1f} {best[name] / best['tessera']:6.2f}x" for name in ("eager", "grouped_mm"))
    print(f"{title:44} {best['tessera'] * 1e3:9.1f} {peers}", flush=True)


def dispatch(args, results):
    print(f"\n{'tokens to experts and back, bf16':32} {'all_to_all':>22} {'all_gather':>22}")
    for name, (tokens, hidden, experts, top_k, ranks) in DISPATCH.items():
        line = f"{name:32}"
        # What the experts are given and give back, wherever it comes from.
        moved = 2 * ranks * tokens * top_k * hidden * 2
        for exchange in ("all_to_all", "all_gather"):
            seconds = min(steady(run([os.path.join(args.build, "bin", "moe_bench"), "dispatch", exchange, tokens, hidden,
                                      experts, top_k, ranks, 12])) for _ in range(args.rounds))
            results[f"dispatch {name} {exchange}"] = {"seconds": seconds, "bytes_per_s": moved / seconds}
            line += f" {seconds * 1e3:9.2f} ms {moved / seconds / 1e9:5.2f} GB/s"
        print(line, flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["layer", "train", "dispatch"])
    args = parser.parse_args()
    results = {"threads": args.threads}
    with tempfile.TemporaryDirectory() as work:
        write_job(work)
        if args.only != "dispatch":
            print(f"{args.threads} threads, ms{'':30} {'tessera':>9} {'eager':>18} {'grouped_mm':>18}")
        for dtype in ("fp32", "bf16"):
            for name, shape in LAYERS.items() if args.only in (None, "layer") else ():
                compare(f"layer, {name}, {dtype}", layer_contestants(args, shape, dtype), args.rounds, results)
        for dtype in ("fp32", "bf16") if args.only in (None, "train") else ():
            compare(f"training step, {dtype}", train_contestants(args, work, dtype), args.rounds, results)
    if args.only in (None, "dispatch"):
        dispatch(args, results)
    print(json.dumps(results))


main()
