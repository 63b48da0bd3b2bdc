"""The peers of moe_bench.py: the mixture-of-experts block of transformers' Qwen3-MoE, forward and backward, and a training step
of a small model of that family. Prints one JSON line: the seconds of each round."""
import argparse
import json
import time


def layer(args, torch):
    from transformers import Qwen3MoeConfig
    from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeSparseMoeBlock
    config = Qwen3MoeConfig(hidden_size=args.hidden, moe_intermediate_size=args.intermediate, num_experts=args.experts,
                            num_experts_per_tok=args.top_k, norm_topk_prob=True)
    config._experts_implementation = args.implementation
    dtype = torch.bfloat16 if args.dtype == "bf16" else torch.float32
    block = Qwen3MoeSparseMoeBlock(config).to(dtype)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.normal_(std=0.02)
    seconds = []
    for _ in range(args.rounds):
        x = torch.randn(1, args.tokens, args.hidden).to(dtype).requires_grad_()
        dy = torch.randn(1, args.tokens, args.hidden).to(dtype)
        block.zero_grad()
        begin = time.perf_counter()
        out = block(x)
        (out[0] if isinstance(out, tuple) else out).backward(dy)
        seconds.append(time.perf_counter() - begin)
    return seconds


def train(args, torch):
    from transformers import AutoConfig, AutoModelForCausalLM
    config = AutoConfig.from_pretrained(args.config, experts_implementation=args.implementation)
    config.use_cache = False
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="sdpa")
    model.set_experts_implementation(args.implementation)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    seconds = []
    for _ in range(args.rounds):
        tokens = torch.randint(0, config.vocab_size, (args.rows, args.tokens))
        begin = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=args.dtype == "bf16"):
            loss = model(input_ids=tokens, labels=tokens).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()
        seconds.append(time.perf_counter() - begin)
    return seconds


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=["layer", "train"])
    parser.add_argument("--implementation", choices=["eager", "grouped_mm", "batched_mm"], default="eager")
    parser.add_argument("--config", help="directory with config.json, for train")
    parser.add_argument("--dtype", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--matmul-precision", default="highest")
    for name in ("tokens", "hidden", "intermediate", "experts", "top-k", "rows", "threads", "rounds"):
        parser.add_argument("--" + name, type=int, default=1)
    args = parser.parse_args()
    import torch
    torch.set_num_threads(args.threads)
    torch.set_float32_matmul_precision(args.matmul_precision)
    torch.manual_seed(0)
    print(json.dumps({"seconds": (layer if args.mode == "layer" else train)(args, torch)}))


main()
