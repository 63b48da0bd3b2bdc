"""The peers of train_bench.py: the same Llama shape trained by transformers, alone or under PyTorch FSDP2 on Gloo.

One process prints one JSON line: seconds of each step, seconds from process start to the end of the first step, peak
resident set. FSDP2 runs one process per rank under torchrun and one thread each; rank 0 prints.
"""
import argparse
import json
import os
import resource
import time

# Process start, not interpreter start: what a user waits for includes the imports.
STARTED = time.time() - (time.clock_gettime(time.CLOCK_BOOTTIME)
                         - int(open("/proc/self/stat").read().rsplit(")", 1)[1].split()[19]) / os.sysconf("SC_CLK_TCK"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mode", choices=["fsdp2", "eager", "compiled"], required=True)
    parser.add_argument("--config", required=True, help="config.json of the model")
    parser.add_argument("--rows", type=int, default=4, help="rows per step over all ranks")
    parser.add_argument("--seq-len", type=int, default=512)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--matmul-precision", default="highest")
    args = parser.parse_args()

    import torch
    import torch.distributed as dist
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.set_num_threads(args.threads)
    torch.set_float32_matmul_precision(args.matmul_precision)
    torch.manual_seed(0)
    rank, world = 0, 1
    if args.mode == "fsdp2":
        dist.init_process_group("gloo")
        rank, world = dist.get_rank(), dist.get_world_size()

    config = AutoConfig.from_pretrained(os.path.dirname(args.config))
    config.use_cache = False
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="sdpa")
    model.train()
    if args.mode == "fsdp2":
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
        mesh = init_device_mesh("cpu", (world,))
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
        for layer in model.model.layers:
            fully_shard(layer, mesh=mesh, mp_policy=policy)
        fully_shard(model, mesh=mesh, mp_policy=policy)
    forward = torch.compile(model) if args.mode == "compiled" else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)

    rows = args.rows // world
    generator = torch.Generator().manual_seed(rank)
    seconds, first = [], None
    for _ in range(args.steps):
        tokens = torch.randint(0, config.vocab_size, (rows, args.seq_len), generator=generator)
        begin = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=args.mode != "fsdp2"):
            loss = forward(input_ids=tokens, labels=tokens).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()
        seconds.append(time.perf_counter() - begin)
        if first is None:
            first = time.time() - STARTED
    if rank == 0:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({"step_seconds": seconds, "first_step_seconds": first, "peak_bytes_per_process": peak}),
              flush=True)
    if args.mode == "fsdp2":
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
