"""The peers of parallel_bench.py: one Llama under PyTorch's parallelize_module or torch.distributed.pipelining, on Gloo.

Decoder layers are those of transformers with its sdpa attention; around them stand an embedding, the last norm and the
head, so that the same module is a tensor-parallel model and a pipeline stage. bf16 keeps float32 masters of the weights
beside them, as Tessera does. Each rank is a process of one thread with torchrun's variables; rank 0 prints one JSON line: the seconds and the
loss of each step.

    parallel_peer.py --make MODEL_DIR --config config.json        draws the weights that both sides train
    parallel_peer.py --mode tp|tp_sequence|1f1b|interleaved --model MODEL_DIR --rows-file rows.jsonl ...
"""
import argparse
import contextlib
import json
import os
import time

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard
from transformers import AutoConfig, AutoModelForCausalLM


class Part(torch.nn.Module):
    """Layers `first` to `last` of a Llama, with the embedding before the first and the head after the last."""

    def __init__(self, whole, first, last, seq_len, embeds, heads):
        super().__init__()
        self.embed_tokens = whole.model.embed_tokens if embeds else None
        self.layers = torch.nn.ModuleList(whole.model.layers[first:last])
        self.norm = whole.model.norm if heads else None
        self.lm_head = whole.lm_head if heads else None
        with torch.no_grad():
            angles = whole.model.rotary_emb(torch.zeros(1), torch.arange(seq_len)[None])
        self.angles = [each.to(whole.dtype) for each in angles]

    def forward(self, x):
        x = self.embed_tokens(x) if self.embed_tokens is not None else x
        for layer in self.layers:
            x = layer(x, position_embeddings=self.angles)
        return self.lm_head(self.norm(x)) if self.lm_head is not None else x


def tensor_parallel(model, mesh, sequence):
    from torch.distributed.tensor.parallel import (
        ColwiseParallel, PrepareModuleInput, RowwiseParallel, SequenceParallel, parallelize_module)
    outside = Shard(1) if sequence else Replicate()
    plan = {"embed_tokens": RowwiseParallel(input_layouts=Replicate(), output_layouts=outside),
            "lm_head": ColwiseParallel(input_layouts=outside, output_layouts=Shard(-1), use_local_output=False)}
    block = {f"{name}_proj": ColwiseParallel() for name in
             ("self_attn.q", "self_attn.k", "self_attn.v", "mlp.gate", "mlp.up")}
    block |= {name: RowwiseParallel(output_layouts=outside) for name in ("self_attn.o_proj", "mlp.down_proj")}
    if sequence:
        plan["norm"] = SequenceParallel()
        block |= {"input_layernorm": SequenceParallel(), "post_attention_layernorm": SequenceParallel(),
                  "self_attn": PrepareModuleInput(input_kwarg_layouts={"hidden_states": Shard(1)},
                                                  desired_input_kwarg_layouts={"hidden_states": Replicate()}),
                  "mlp": PrepareModuleInput(input_layouts=(Shard(1),), desired_input_layouts=(Replicate(),))}
    for layer in model.layers:
        parallelize_module(layer, mesh, block)
    return parallelize_module(model, mesh, plan)


def pipeline(whole, args, rank, size):
    from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleInterleaved1F1B
    split = [int(layers) for layers in args.split.split(",")]
    parts, stages = [], []
    for index in range(rank, len(split), size):
        first = sum(split[:index])
        part = Part(whole, first, first + split[index], args.seq_len, index == 0, index == len(split) - 1)
        parts.append(part)
        stages.append(PipelineStage(part, index, len(split), torch.device("cpu")))
    if args.mode == "1f1b":
        return parts, Schedule1F1B(stages[0], args.rows // args.micro_batch, loss_fn=cross_entropy)
    return parts, ScheduleInterleaved1F1B(stages, args.rows // args.micro_batch, loss_fn=cross_entropy)


def cross_entropy(logits, labels):
    return F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(0, 1))


class Masters:
    """AdamW on float32 copies of this rank's parts of the weights, with a norm over all ranks."""

    def __init__(self, modules, size, shards):
        self.params = [p for module in modules for p in module.parameters()]
        self.size = size
        self.shares = [1.0 if not shards or self.is_cut(p) else 1.0 / size for p in self.params]
        self.masters = [self.local(p).detach().float().clone() for p in self.params]
        decayed = [m for m in self.masters if m.dim() > 1]
        others = [m for m in self.masters if m.dim() == 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}],
            lr=1e-4, betas=(0.9, 0.95), fused=True)

    @staticmethod
    def local(tensor):
        return tensor.to_local() if isinstance(tensor, DTensor) else tensor

    @staticmethod
    def is_cut(param):
        return isinstance(param, DTensor) and any(p.is_shard() for p in param.placements)

    @torch.no_grad()
    def step(self):
        squares = torch.zeros((), dtype=torch.float64)
        for param, master, share in zip(self.params, self.masters, self.shares):
            grad = param.grad
            if isinstance(grad, DTensor):
                grad = grad.redistribute(placements=param.placements).to_local()
            master.grad = grad.float()
            squares += share * master.grad.norm().double() ** 2
            param.grad = None
        dist.all_reduce(squares)
        factor = float(min(1.0, 1.0 / (squares.sqrt() + 1e-6)))
        for master in self.masters:
            master.grad.mul_(factor)
        self.optimizer.step()
        for param, master in zip(self.params, self.masters):
            self.local(param).copy_(master)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--make")
    parser.add_argument("--config")
    parser.add_argument("--mode", choices=["tp", "tp_sequence", "1f1b", "interleaved"])
    parser.add_argument("--model")
    parser.add_argument("--rows-file")
    parser.add_argument("--rows", type=int, help="rows per step")
    parser.add_argument("--micro-batch", type=int, default=1)
    parser.add_argument("--split", default="", help="decoder layers of each stage")
    parser.add_argument("--seq-len", type=int, default=512)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--dtype", choices=["fp32", "bf16"], default="bf16")
    args = parser.parse_args()
    if args.make:
        torch.manual_seed(0)
        config = AutoConfig.from_pretrained(os.path.dirname(args.config))
        AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(args.make)
        return

    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank, size = dist.get_rank(), dist.get_world_size()
    dtype = torch.bfloat16 if args.dtype == "bf16" else torch.float32
    whole = AutoModelForCausalLM.from_pretrained(args.model, dtype=dtype, attn_implementation="sdpa")
    whole.train()
    loss_context = contextlib.nullcontext
    tp = args.mode.startswith("tp")
    if tp:
        from torch.distributed.tensor.parallel import loss_parallel
        loss_context = loss_parallel
        parts = [Part(whole, 0, len(whole.model.layers), args.seq_len, True, True)]
        tensor_parallel(parts[0], init_device_mesh("cpu", (size,)), args.mode == "tp_sequence")
    else:
        parts, schedule = pipeline(whole, args, rank, size)
    del whole
    masters = Masters(parts, size, tp)

    with open(args.rows_file) as lines:
        rows = torch.tensor([json.loads(line)["input_ids"] for line in lines])
    seconds, losses = [], []
    for step in range(args.steps):
        tokens = rows[step * args.rows:(step + 1) * args.rows]
        labels = F.pad(tokens[:, 1:], (0, 1), value=-100)
        dist.barrier()
        begin = time.perf_counter()
        if tp:
            with loss_context():
                loss = cross_entropy(parts[0](tokens), labels)
                loss.backward()
            loss = loss.full_tensor() if isinstance(loss, DTensor) else loss
            loss = loss.detach().double()
        else:
            of_microbatches = []
            first, last = rank == 0, (schedule._stages[-1] if args.mode == "interleaved" else schedule._stage).is_last
            schedule.step(*([tokens] if first else []), target=labels if last else None,
                          losses=of_microbatches if last else None)
            loss = torch.zeros((), dtype=torch.float64)
            if last:
                loss += torch.stack(of_microbatches).double().mean()
        masters.step()
        if not tp:
            dist.all_reduce(loss)
        losses.append(loss.item())
        seconds.append(time.perf_counter() - begin)
    if rank == 0:
        print(json.dumps({"step_seconds": seconds, "losses": losses}), flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
