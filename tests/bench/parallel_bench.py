"""Step time of tensor and pipeline parallelism beside PyTorch's parallelize_module and torch.distributed.pipelining.

Both sides train the same Llama of 125M parameters from the same weights on the same rows (12 layers, 768, ff 2048, 12
heads, 4 kv, vocabulary 32000; AdamW on float32 masters, clipping), 4 ranks of one thread each; the losses are compared
too. Tessera runs as rank threads and as processes over Gloo, PyTorch as processes over Gloo. Tensor parallel: 4 rows of
512 tokens a step. Pipelines: 8 rows, one a micro-batch, the same layers in each stage.

    python tests/bench/parallel_bench.py --tessera build/release/bin/tessera [--python PYTHON] [--rounds 2] [--steps 6]

PYTHON needs torch and transformers. Runs are interleaved, so that a noisy machine hurts all alike; figures are medians.
"""
import argparse
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile

from train_bench import CONFIG, HERE, SEQ_LEN, TUNED, run

RANKS = 4
# Name: recipe keys, rows of a step, layers of each stage. The head is as much work as four layers.
CASES = {
    "tp": (["parallel.tp=4"], 4, None),
    "tp_sequence": (["parallel.tp=4", "parallel.sequence_parallel=true"], 4, None),
    "1f1b": (["parallel.pp=4"], 8, "4,4,4,0"),
    "interleaved": (["parallel.pp=4", "parallel.pp_schedule=interleaved"], 8, "2,2,2,2,2,1,1,0"),
}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run_ranks(work, command, env=None):
    """Runs the command once a rank, all in this session (torchrun would give each a session, and with it a share of the
    machine, of its own), and returns what rank 0 printed."""
    port = str(free_port())
    logs = [open(os.path.join(work, f"rank{r}.log"), "w+") for r in range(RANKS)]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE if r == 0 else subprocess.DEVNULL, stderr=logs[r], text=True,
                                 env=dict(os.environ, RANK=str(r), WORLD_SIZE=str(RANKS), LOCAL_RANK=str(r),
                                          LOCAL_WORLD_SIZE=str(RANKS), MASTER_ADDR="127.0.0.1", MASTER_PORT=port,
                                          **(env or {})))
                for r in range(RANKS)]
    out, _ = children[0].communicate()
    for child, log in zip(children, logs):
        if child.wait():
            log.seek(0)
            sys.exit(f"{' '.join(command)}\n{log.read()[-4000:]}")
        log.close()
    return out


def ours(args, work, name, processes):
    keys, rows, split = CASES[name]
    metrics = os.path.join(work, "metrics.jsonl")
    if os.path.exists(metrics):
        os.remove(metrics)
    command = [args.tessera, "train", f"model.path={work}/model", f"data.path={work}/rows.jsonl", "data.format=tokens",
               f"data.seq_len={SEQ_LEN}", "data.packing=none", f"train.steps={args.steps}", f"train.global_batch={rows}",
               f"train.micro_batch={1 if split else rows}", f"precision.param={args.dtype}", f"output.metrics={metrics}",
               "output.export=false", "threads=1", *keys]
    command += [f"parallel.pp_split={split}"] if split else []
    if processes:
        run_ranks(work, command + ["backend=gloo"])
    else:
        run(command + [f"ranks={RANKS}"])
    lines = [json.loads(line) for line in open(metrics)]
    return {"step_seconds": [line["seconds"] for line in lines], "losses": [line["loss"] for line in lines]}


def peer(args, work, name):
    _, rows, split = CASES[name]
    script = [os.path.join(HERE, "parallel_peer.py"), "--mode", name, "--model", os.path.join(work, "model"),
              "--rows-file", os.path.join(work, "rows.jsonl"), "--rows", str(rows), "--seq-len", str(SEQ_LEN),
              "--steps", str(args.steps), "--dtype", args.dtype]
    script += ["--split", split] if split else []
    out = run_ranks(work, [args.python] + script, dict(TUNED, OMP_NUM_THREADS="1"))
    return json.loads(out.strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tessera", required=True)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--dtype", choices=["fp32", "bf16"], default="bf16")
    parser.add_argument("--only", help="one case")
    args = parser.parse_args()

    columns = {"threads": lambda work, name: ours(args, work, name, False),
               "gloo": lambda work, name: ours(args, work, name, True),
               "pytorch": lambda work, name: peer(args, work, name)}
    names = [args.only] if args.only else list(CASES)
    results = {(name, column): [] for name in names for column in columns}
    with tempfile.TemporaryDirectory() as work:
        json.dump(CONFIG, open(os.path.join(work, "config.json"), "w"))
        run([args.python, os.path.join(HERE, "parallel_peer.py"), "--make", os.path.join(work, "model"), "--config",
             os.path.join(work, "config.json")])
        generator = random.Random(0)
        with open(os.path.join(work, "rows.jsonl"), "w") as rows:
            for _ in range(8 * args.steps):
                rows.write(json.dumps({"input_ids": [generator.randrange(32000) for _ in range(SEQ_LEN)]}) + "\n")
        for _ in range(args.rounds):
            for name in names:
                for column, case in columns.items():
                    results[name, column].append(case(work, name))

    table = {}
    print(f"{'seconds a step, 4 ranks, ' + args.dtype:34}{'threads':>10}{'Gloo':>10}{'PyTorch':>10}{'ratios':>16}{'loss differs':>16}")
    for name in names:
        # The first two steps warm caches up.
        row = {column: statistics.median(s for one in results[name, column] for s in one["step_seconds"][2:])
               for column in columns}
        expected = results[name, "pytorch"][0]["losses"]
        row["loss_difference"] = max(abs(a - b) / b for column in ("threads", "gloo") for one in results[name, column]
                                     for a, b in zip(one["losses"], expected))
        row["ratio_threads"], row["ratio_gloo"] = row["pytorch"] / row["threads"], row["pytorch"] / row["gloo"]
        ratios = f"{row['ratio_threads']:.2f}, {row['ratio_gloo']:.2f}"
        print(f"{name:34}{row['threads']:10.3f}{row['gloo']:10.3f}{row['pytorch']:10.3f}{ratios:>16}{row['loss_difference']:16.1e}")
        table[name] = row
    print(json.dumps({"bench": f"parallel_125m_{args.dtype}", "load": os.getloadavg()[0], "cases": table}))


if __name__ == "__main__":
    main()
