"""The peer of context_bench: PyTorch's ring attention on Gloo, 4 processes with torchrun's variables.

torch.distributed.tensor.experimental.context_parallel has no entry for the CPU's flash attention, so its ring (the
loop that context_parallel calls for CUDA kernels) is called directly, with that kernel. Its result is checked
against attention on one rank before it is timed.
"""
import statistics
import time

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.distributed.tensor.experimental._context_parallel import _attention as cp

aten = torch.ops.aten


def forward_op(query, key, value, is_causal, **_):
    return aten._scaled_dot_product_flash_attention_for_cpu(query, key, value, 0.0, is_causal)


def backward_op(query, key, value, out, logsumexp, is_causal, grad_out, **_):
    return aten._scaled_dot_product_flash_attention_for_cpu_backward(
        grad_out, query, key, value, out, logsumexp, 0.0, is_causal)


def forward(group, q, k, v):
    return cp._templated_ring_attention(group, 2, forward_op, q, k, v, is_causal=True)


def backward(group, dout, q, k, v, out, lse):
    return cp._templated_ring_attention_backward(
        group, 2, backward_op, grad_out=dout, grad_out_name="grad_out", query=q, key=k, value=v, out=out,
        logsumexp=lse, is_causal=True)


def head_tail(full, rank, size):
    chunks = full.chunk(2 * size, dim=2)
    return torch.cat([chunks[rank], chunks[2 * size - 1 - rank]], dim=2).contiguous()


def check(group, rank, size):
    torch.manual_seed(3)
    q, k, v, dout = (torch.randn(1, 2, 64 * size, 32) for _ in range(4))
    whole = [t.clone().requires_grad_() for t in (q, k, v)]
    expected = F.scaled_dot_product_attention(*whole, is_causal=True)
    expected.backward(dout)
    mine = [head_tail(t, rank, size) for t in (q, k, v)]
    out, lse = forward(group, *mine)[:2]
    torch.testing.assert_close(out, head_tail(expected.detach(), rank, size), rtol=1e-4, atol=1e-5)
    grads = backward(group, head_tail(dout, rank, size), *mine, out, lse)[:3]
    for actual, full in zip(grads, whole):
        torch.testing.assert_close(actual, head_tail(full.grad, rank, size), rtol=1e-4, atol=1e-4)


def timed(call):
    dist.barrier()
    begin = time.perf_counter()
    result = call()
    dist.barrier()
    return time.perf_counter() - begin, result


def main():
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    group, rank, size = dist.group.WORLD, dist.get_rank(), dist.get_world_size()
    with torch.no_grad():
        for method in ("alltoall", "allgather"):
            cp.set_rotate_method(method)
            with torch.enable_grad():
                check(group, rank, size)
            for name, tokens, dtype in (("one_8192_fp32", 8192, torch.float32), ("one_8192_bf16", 8192, torch.bfloat16),
                                        ("one_1024_bf16", 1024, torch.bfloat16)):
                q, k, v, dout = (torch.randn(1, 8, tokens // size, 64).to(dtype) for _ in range(4))
                times = []
                for _ in range(6):
                    f, (out, lse, *_) = timed(lambda: forward(group, q, k, v))
                    out = out.to(dtype)
                    b, _ = timed(lambda: backward(group, dout, q, k, v, out, lse))
                    times.append((f, b))
                f, b = (statistics.median(t[i] for t in times[1:]) for i in (0, 1))
                if rank == 0:
                    print(name, f"pytorch_ring/{method}", f"{f:.6f} {b:.6f}", flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
