"""Times torch.distributed.checkpoint on the state of checkpoint_bench.cpp: 4 gloo processes, DTensors sharded in dim 0.

Usage: checkpoint_peer.py save|load DIRECTORY RANKS REPEATS THREADS. Prints seconds of each repetition, one a line.
"""

import sys
import tempfile
import time
import warnings

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
import torch.multiprocessing as mp
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard


def parameters():
    shapes = {"model.embed_tokens.weight": (8000, 768)}
    for layer in range(6):
        p = f"model.layers.{layer}."
        for name, shape in (("self_attn.q_proj", (768, 768)), ("self_attn.k_proj", (256, 768)),
                            ("self_attn.v_proj", (256, 768)), ("self_attn.o_proj", (768, 768)),
                            ("mlp.gate_proj", (2048, 768)), ("mlp.up_proj", (2048, 768)),
                            ("mlp.down_proj", (768, 2048)), ("input_layernorm", (768,)),
                            ("post_attention_layernorm", (768,))):
            shapes[p + name + ".weight"] = shape
    shapes["model.norm.weight"] = (768,)
    return shapes


def work(rank, action, directory, ranks, repeats, threads, rendezvous):
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=ranks)
    mesh = init_device_mesh("cpu", (ranks,))
    state = {}
    for kind in ("model.", "optimizer.exp_avg.", "optimizer.exp_avg_sq."):
        for name, shape in parameters().items():
            rows = torch.empty(shape).chunk(ranks)
            local = torch.randn(rows[rank].shape) if rank < len(rows) else torch.empty((0, *shape[1:]))
            state[kind + name] = DTensor.from_local(local, mesh, [Shard(0)], run_check=False, shape=torch.Size(shape),
                                                    stride=torch.empty(shape).stride())
    for _ in range(repeats):
        dist.barrier()
        start = time.perf_counter()
        if action == "save":
            dcp.save(state, storage_writer=dcp.FileSystemWriter(directory, thread_count=threads))
        else:
            dcp.load(state, storage_reader=dcp.FileSystemReader(directory))
        dist.barrier()
        if rank == 0:
            print(f"{time.perf_counter() - start:.4f}", flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    action, directory, ranks, repeats, threads = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
    with tempfile.TemporaryDirectory() as scratch:
        mp.spawn(work, args=(action, directory, ranks, repeats, threads, scratch + "/rendezvous"), nprocs=ranks)
