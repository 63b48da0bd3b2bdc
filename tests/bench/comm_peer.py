"""The peer of comm_bench: the same collectives through torch.distributed on Gloo, 4 processes under torchrun."""
import statistics
import time

import torch
import torch.distributed as dist


def median_seconds(repeats, call):
    rounds = []
    for _ in range(8):
        dist.barrier()
        begin = time.perf_counter()
        for _ in range(repeats):
            call()
        rounds.append((time.perf_counter() - begin) / repeats)
    return statistics.median(rounds[1:])


def main():
    torch.set_num_threads(1)
    dist.init_process_group("gloo")

    def report(name, seconds):
        if dist.get_rank() == 0:
            print(name, f"{seconds:.9f}", flush=True)

    report("barrier", median_seconds(50, dist.barrier))
    four = torch.ones(1)
    report("all_reduce_4B", median_seconds(50, lambda: dist.all_reduce(four, op=dist.ReduceOp.MAX)))
    for megabytes in (1, 16):
        whole, shard = torch.ones(megabytes << 18), torch.ones((megabytes << 18) // 4)
        repeats = 20 if megabytes == 1 else 4
        report(f"all_gather_{megabytes}MB", median_seconds(repeats, lambda: dist.all_gather_into_tensor(whole, shard)))
        report(f"reduce_scatter_{megabytes}MB",
               median_seconds(repeats, lambda: dist.reduce_scatter_tensor(shard, whole)))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
