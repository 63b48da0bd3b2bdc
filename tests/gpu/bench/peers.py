"""One case of a peer in this process: transformers or torchtitan trains the rows of a file; prints a JSON line.

    python tests/gpu/bench/peers.py MODE --case NAME --rows FILE --steps N --device cuda [--tiny] [--began SECONDS]

Modes: `plain` and `compiled` are transformers under autocast, without and with torch.compile; `fsdp2` is transformers under
FSDP2 with bf16 parameters and fp32 reduction. `titan` is torchtitan's Llama 3 by its own parallelize code: each block and
the loss compiled, FSDP2 over one rank, no activation checkpointing; `titan-selective` and `titan-full` checkpoint as it
does by default and everything; `titan-amp` runs one GPU as its trainer does, under autocast and without FSDP2;
`titan-packed` attends within the documents of a row by its variable-length attention.

Step times are wall-clock seconds until the loss has been read. `first_step_seconds_from_start` counts from --began
(seconds since 1970), which the caller takes before it starts this process. Memory is the allocator's peak in bytes. A peer
that runs out of device memory prints {"out_of_memory": true} and ends well.
"""
import argparse
import json
import os
import sys
import time

from cases import CASES, END, TINY_CASES, config_of


def join_world(device):
    """A world of this process alone, which needs no port: one that a killed peer left open must not matter."""
    import torch.distributed as dist
    os.environ.update(RANK="0", WORLD_SIZE="1", LOCAL_RANK="0")
    dist.init_process_group("nccl" if device == "cuda" else "gloo", store=dist.HashStore(), rank=0, world_size=1)


class Transformers:
    """LlamaForCausalLM of transformers; rows of several documents are padded to the longest, as its collators do."""

    def __init__(self, mode, case, device, steps):
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM
        self.torch, self.case, self.device = torch, case, device
        self.autocast = mode != "fsdp2"
        torch.manual_seed(0)
        with torch.device(device):
            self.model = LlamaForCausalLM._from_config(LlamaConfig(**config_of(case)), attn_implementation="sdpa")
        if mode == "fsdp2":
            self.shard()
        if mode == "compiled":
            self.model.compile()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-5, betas=(0.9, 0.95), weight_decay=0.1,
                                           fused=device == "cuda")

    def shard(self):
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
        join_world(self.device)
        mesh = init_device_mesh(self.device, (1,))
        policy = MixedPrecisionPolicy(param_dtype=self.torch.bfloat16, reduce_dtype=self.torch.float32)
        for layer in self.model.model.layers:
            fully_shard(layer, mesh=mesh, mp_policy=policy)
        fully_shard(self.model, mesh=mesh, mp_policy=policy)

    def batch(self, rows):
        documents = [document for row in rows for document in row]
        longest = max(map(len, documents))
        ids = self.torch.zeros(len(documents), longest, dtype=self.torch.long)
        labels, mask = self.torch.full_like(ids, -100), self.torch.zeros_like(ids)
        for i, document in enumerate(documents):
            ids[i, :len(document)] = labels[i, :len(document)] = self.torch.tensor(document)
            mask[i, :len(document)] = 1
        out = dict(input_ids=ids.to(self.device), labels=labels.to(self.device))
        return out if not self.case.packed else dict(out, attention_mask=mask.to(self.device))

    def step(self, rows):
        with self.torch.autocast(self.device, dtype=self.torch.bfloat16, enabled=self.autocast):
            loss = self.model(**self.batch(rows), use_cache=False).loss
        loss.backward()
        self.torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.item()  # waits for the step


class Torchtitan:
    """torchtitan's Llama 3: its model, parallelize code, loss, optimizer, clipping and mixed precision, as its trainer
    puts them together."""

    def __init__(self, mode, case, device, steps):
        import torch
        import torchtitan.models.llama3 as llama3
        from torchtitan.config import JobConfig
        from torchtitan.distributed import ParallelDims, utils
        self.torch, self.case, self.device, self.utils = torch, case, device, utils
        join_world(device)
        job = JobConfig()
        job.training.seq_len, job.training.local_batch_size, job.training.steps = case.length, case.rows, steps
        job.compile.enable = True
        job.activation_checkpoint.mode = {"titan-selective": "selective", "titan-full": "full"}.get(mode, "none")
        job.optimizer.lr, job.optimizer.implementation = 1e-5, "fused" if device == "cuda" else "for-loop"
        job.lr_scheduler.warmup_steps = 0
        dims = ParallelDims(dp_replicate=1, dp_shard=1, cp=1, tp=1, pp=1, ep=1, etp=1, world_size=1)
        args = self.model_args(llama3, mode)
        args.update_from_config(job)
        spec = llama3.get_train_spec()
        self.loss_of = spec.build_loss_fn(job, parallel_dims=dims)
        torch.manual_seed(0)
        with torch.device("meta"):
            model = spec.model_cls(args)
        # With one rank its own code leaves FSDP2 out and its trainer runs under autocast.
        model = spec.parallelize_fn(model, dims, job)
        self.precision = lambda: utils.maybe_enable_amp(dims, job.training.mixed_precision_param, device)
        if mode != "titan-amp":
            self.shard(model, job)
        model.to_empty(device=device)
        with torch.no_grad():
            model.init_weights(buffer_device=None)
        model.train()
        self.model, self.max_norm = model, job.training.max_norm
        self.optimizers = spec.build_optimizers_fn([model], job.optimizer, dims)
        self.schedulers = spec.build_lr_schedulers_fn(self.optimizers, job.lr_scheduler, steps)

    def model_args(self, llama3, mode):
        shape = self.case.shape
        hidden, feed_forward = shape["hidden_size"], shape["intermediate_size"]
        # Its width is int(multiplier int(8/3 hidden)) rounded up to a multiple.
        multiplier = (feed_forward - 0.5) / int(8 * hidden / 3)
        packed = dict(attn_type="varlen", attn_mask_type="block_causal") if mode == "titan-packed" else {}
        return llama3.TransformerModelArgs(
            dim=hidden, n_layers=shape["num_hidden_layers"], n_heads=shape["num_attention_heads"],
            n_kv_heads=shape["num_key_value_heads"], vocab_size=shape["vocab_size"], multiple_of=8,
            ffn_dim_multiplier=multiplier, rope_theta=500000.0, **packed)

    def shard(self, model, job):
        import contextlib
        from torch.distributed.device_mesh import init_device_mesh
        from torchtitan.models.llama3.infra.parallelize import apply_fsdp
        apply_fsdp(model, init_device_mesh(self.device, (1,)), param_dtype=self.torch.bfloat16,
                   reduce_dtype=self.torch.float32, pp_enabled=False,
                   reshard_after_forward_policy=job.parallelism.fsdp_reshard_after_forward)
        self.precision = contextlib.nullcontext

    def batch(self, rows):
        ids = self.torch.tensor([[token for document in row for token in document] for row in rows])
        labels = self.torch.full_like(ids, -100)
        labels[:, :-1] = ids[:, 1:]
        if self.case.packed:  # no document predicts the next one's first token
            labels[ids == END] = -100
        return ids, labels

    def step(self, rows):
        self.optimizers.zero_grad()
        ids, labels = self.batch(rows)
        valid = (labels != -100).sum().to(self.device).float()
        ids, labels = ids.to(self.device), labels.to(self.device)
        extra = {}
        if self.case.packed:
            tokenizer = type("Ends", (), {"eos_id": END})()
            extra["attention_masks"] = self.model.get_attention_masks(input_batch=ids, tokenizer=tokenizer)
        with self.precision():
            logits = self.model(ids, **extra)
            loss = self.loss_of(logits, labels) / valid
        del logits
        loss.backward()
        self.utils.clip_grad_norm_(list(self.model.parameters()), self.max_norm, foreach=True)
        self.optimizers.step()
        self.schedulers.step()
        return loss.item()  # waits for the step


def memory_of(torch, device):
    if device == "cpu":
        return {}
    return {"allocated_bytes": torch.cuda.max_memory_allocated(), "reserved_bytes": torch.cuda.max_memory_reserved()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=["plain", "compiled", "fsdp2", "titan", "titan-selective", "titan-full", "titan-amp",
                                         "titan-packed"])
    parser.add_argument("--case", required=True)
    parser.add_argument("--rows", required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--began", type=float, default=time.time())
    args = parser.parse_args()
    case = (TINY_CASES if args.tiny else CASES)[args.case]
    import torch
    sys.argv = sys.argv[:1]  # libraries parse it too
    seconds, ends, out = [], [], {}
    try:
        peer = (Torchtitan if args.mode.startswith("titan") else Transformers)(args.mode, case, args.device, args.steps)
        rows = [json.loads(line) for line in open(args.rows)]
        for step in range(args.steps):
            start = time.time()
            loss = peer.step(rows[step * case.rows:(step + 1) * case.rows])
            ends.append(time.time())
            seconds.append(ends[-1] - start)
        out = {"step_seconds": seconds, "step_ends": ends, "last_loss": loss,
               "tokens": [case.rows * case.length] * args.steps, "first_step_seconds_from_start": ends[0] - args.began}
    except torch.OutOfMemoryError:
        out = {"out_of_memory": True}
    print(json.dumps({**out, **memory_of(torch, args.device)}), flush=True)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
