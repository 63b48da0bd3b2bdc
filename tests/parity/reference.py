"""reference.py DIR: for each parity case a transformers checkpoint, packed documents, and what transformers makes of
them: logits, loss, gradients in float32 and bfloat16, the weights after AdamW steps, and a text that goes on greedily, as
safetensors files.

Documents go through the model one by one, so that the reference cannot mix them. Weights are random but exactly
representable in bfloat16, so that both precisions compute the same model.
"""

import json
import pathlib
import sys

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

from cases import CASES, DOCUMENTS
from checkpoint_names import in_checkpoint

STEPS = 4
# With the usual eps of 1e-8, elements whose gradient is but the rounding of 0 would make steps of full size.
ADAMW = dict(lr=3e-3, betas=(0.9, 0.95), eps=1e-5)
WEIGHT_DECAY = 0.1
CLIP = 1.0
IGNORED = -100
NEW_TOKENS = 16


def make_model(arguments):
    arguments = dict(arguments)
    family = arguments.pop("family")
    config = getattr(transformers, arguments.pop("config", family + "Config"))(**arguments)
    norm_weight = 0.0 if family.startswith("Gemma") else 1.0  # Gemma's norms add 1
    model = getattr(transformers, family + "ForCausalLM")(config).float()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() > 1:
                value = noise * parameter.shape[-1] ** -0.5
                if family == "GptOss" and name.endswith("experts.gate_up_proj"):
                    value *= 4  # so that gates and ups reach their limits
            else:
                value = noise * 0.2 + (norm_weight if name.endswith("norm.weight") else 0.0)
            parameter.copy_(value.bfloat16().float())
        for name, buffer in sorted(model.named_buffers()):
            if name.endswith("e_score_correction_bias"):
                buffer.copy_((torch.randn(buffer.shape, generator=generator) * 0.1).bfloat16().float())
    return model


def load(directory, dtype, attention="eager", experts="eager"):
    # Loaded rather than cast: casting a model would round the rotary frequencies as well.
    auto = transformers.AutoModelForCausalLM
    # Grouped products want widths that are multiples of 16 bytes; eager experts take any.
    return auto.from_pretrained(directory, dtype=dtype, attn_implementation=attention,
                                experts_implementation=experts).eval()


def make_documents(lengths, vocab, generator):
    documents = []
    for length in lengths:
        tokens = torch.randint(0, vocab, (length,), generator=generator)
        ignored = torch.rand(length, generator=generator) < 0.2
        documents.append((tokens, torch.where(ignored, IGNORED, tokens)))
    return documents


def label_count(documents):
    return sum(int((labels[1:] != IGNORED).sum()) for _, labels in documents)


def forward_backward(model, documents):
    """Logits [T, V], mean loss per label, and its gradients summed over documents in float32, as a dict."""
    count = label_count(documents)
    logits, loss = [], 0.0
    gradients = {name: torch.zeros_like(p, dtype=torch.float32) for name, p in model.named_parameters()}
    for tokens, labels in documents:
        model.zero_grad()
        out = model(input_ids=tokens[None]).logits[0].float()
        logits.append(out.detach())
        if (labels[1:] != IGNORED).any():
            total = torch.nn.functional.cross_entropy(out[:-1], labels[1:], ignore_index=IGNORED, reduction="sum")
            loss += total.item()
            (total / count).backward()
            for name, parameter in model.named_parameters():
                gradients[name] += parameter.grad.float()
    return torch.cat(logits), loss / count, gradients


def go_on(model, prompt):
    """Greedy tokens after `prompt`. Without a cache: its keys would stay rotated as they were for a shorter text."""
    out = model.generate(prompt[None], attention_mask=torch.ones_like(prompt)[None], do_sample=False,
                         max_new_tokens=NEW_TOKENS, use_cache=False, pad_token_id=0)
    return out[0, len(prompt):]


def train(model, batches):
    # Biases of stacked experts are matrices, but biases all the same.
    is_matrix = {name: p.dim() > 1 and not name.endswith("bias") for name, p in model.named_parameters()}
    decay = [p for name, p in model.named_parameters() if is_matrix[name]]
    rest = [p for name, p in model.named_parameters() if not is_matrix[name]]
    optimizer = torch.optim.AdamW([dict(params=decay, weight_decay=WEIGHT_DECAY), dict(params=rest, weight_decay=0.0)],
                                  **ADAMW)
    losses, norms = [], []
    for documents in batches:
        _, loss, gradients = forward_backward(model, documents)
        for name, parameter in model.named_parameters():
            parameter.grad = gradients[name]
        norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)))
        optimizer.step()
        losses.append(loss)
    return losses, norms


def to_transformers_4_style(path):
    """Rewrites config.json as older checkpoints have it; transformers must still read the same model from it."""
    before = transformers.AutoConfig.from_pretrained(path.parent)
    config = json.loads(path.read_text())
    rope = config.pop("rope_parameters")
    if "full_attention" in rope:
        config["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        rope = rope["full_attention"]
    config["rope_theta"] = rope.pop("rope_theta")
    kind = rope.pop("rope_type")
    if "partial_rotary_factor" in rope:
        config["partial_rotary_factor"] = rope.pop("partial_rotary_factor")
    config["rope_scaling"] = None if kind == "default" else {"type": kind, **rope}
    config["torch_dtype"] = config.pop("dtype")
    path.write_text(json.dumps(config, indent=2))
    after = transformers.AutoConfig.from_pretrained(path.parent)
    if "full_attention" in before.rope_parameters:
        assert before.rope_parameters == after.rope_parameters, (before.rope_parameters, after.rope_parameters)
        return
    keys = {"rope_type", "rope_theta", "partial_rotary_factor"} & before.rope_parameters.keys()
    expected = {key: before.rope_parameters[key] for key in keys}
    assert expected.items() <= after.rope_parameters.items(), (expected, after.rope_parameters)


def quantize_experts(model):
    """Gives experts weights that MXFP4 holds exactly, and returns their blocks and scales by name."""
    packed = {}
    generator = torch.Generator().manual_seed(3)
    for name, parameter in model.named_parameters():
        if not name.endswith(("experts.gate_up_proj", "experts.down_proj")):
            continue
        experts, rows, columns = parameter.shape
        groups = (experts, columns, rows // 32)
        blocks = torch.randint(0, 256, groups + (16,), generator=generator, dtype=torch.uint8)
        scales = torch.randint(121, 125, groups, generator=generator, dtype=torch.uint8)
        with torch.no_grad():
            parameter.copy_(convert_moe_packed_tensors(blocks, scales, dtype=torch.float32))
        packed |= {f"{name}_blocks": blocks, f"{name}_scales": scales}
    return packed


def save_quantized(source, packed):
    """Writes the checkpoint of `source` to source/mxfp4 with the experts as `packed`, as gpt-oss was published."""
    target = source / "mxfp4"
    target.mkdir()
    tensors = load_file(source / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if f"{name}_blocks" not in packed}
    save_file(kept | packed, target / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((source / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]}
    (target / "config.json").write_text(json.dumps(config, indent=2))


def write_case(directory, arguments):
    arguments = dict(arguments)
    lengths = arguments.pop("documents", DOCUMENTS)
    legacy = arguments.pop("legacy", False)
    mxfp4 = arguments.pop("mxfp4", False)
    model = make_model(arguments)
    packed = quantize_experts(model) if mxfp4 else {}
    model.save_pretrained(directory)
    if mxfp4:
        save_quantized(directory, packed)
    if legacy:
        to_transformers_4_style(directory / "config.json")

    generator = torch.Generator().manual_seed(2)
    batches = [make_documents(lengths, model.config.vocab_size, generator) for _ in range(STEPS)]
    tensors = {"lengths": torch.tensor(lengths)}
    for i, documents in enumerate(batches):
        tensors[f"tokens.{i}"] = torch.cat([tokens for tokens, _ in documents])
        tensors[f"labels.{i}"] = torch.cat([labels for _, labels in documents])

    for label, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        logits, loss, gradients = forward_backward(load(directory, dtype), batches[0])
        tensors[f"{label}.logits"] = logits
        tensors[f"{label}.loss"] = torch.tensor([loss], dtype=torch.float64)
        for name, gradient in in_checkpoint(model.config.model_type, gradients).items():
            tensors[f"{label}.grad.{name}"] = gradient
    model = load(directory, torch.float32)
    tensors["prompt"] = batches[0][0][0]
    tensors["generated"] = go_on(model, tensors["prompt"])
    losses, norms = train(model, batches)
    tensors["train.losses"] = torch.tensor(losses, dtype=torch.float64)
    tensors["train.norms"] = torch.tensor(norms, dtype=torch.float64)
    for name, parameter in in_checkpoint(model.config.model_type, dict(model.named_parameters())).items():
        tensors[f"train.weight.{name}"] = parameter.detach()
    # The same once more with sums in another order. AdamW divides a gradient by its own size, so where one is nothing but
    # rounding, so is the step: what these two runs differ by is what the arithmetic leaves open.
    # sdpa leaves out soft caps and has no sinks.
    eager = getattr(model.config, "attn_logit_softcapping", None) or model.config.model_type == "gpt_oss"
    again = load(directory, torch.float32, "eager" if eager else "sdpa", experts="batched_mm")
    train(again, [documents[::-1] for documents in batches])
    for name, parameter in in_checkpoint(model.config.model_type, dict(again.named_parameters())).items():
        tensors[f"train.again.{name}"] = parameter.detach()
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, directory / "reference.safetensors")


def main():
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    for name, arguments in CASES.items():
        directory = pathlib.Path(sys.argv[1]) / name
        directory.mkdir(parents=True)
        write_case(directory, arguments)


if __name__ == "__main__":
    main()
