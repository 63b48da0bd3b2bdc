"""Tensors of a transformers model under the names and in the shapes that its checkpoints have: transformers holds the
experts of a layer in one tensor, most families' files hold them one by one (gpt_oss: as transformers does)."""

import re

EXPERTS = re.compile(r"(.*)\.mlp\.experts\.(gate_up_proj|down_proj)$")
MIXTRAL = dict(gate_proj="w1", up_proj="w3", down_proj="w2")


def in_checkpoint(family, tensors):
    """The dict `tensors` of module names, renamed and taken apart."""
    if family == "gpt_oss":
        return dict(tensors)
    result = {}
    for name, tensor in tensors.items():
        match = EXPERTS.match(name)
        block = "block_sparse_moe" if family == "mixtral" else "mlp"
        if not match:
            result[name.replace(".mlp.", f".{block}.")] = tensor
            continue
        layer, projection = match.groups()
        for number, expert in enumerate(tensor):
            halves = dict(down_proj=expert)
            if projection == "gate_up_proj":
                halves = dict(zip(("gate_proj", "up_proj"), expert.chunk(2)))
            for part, weight in halves.items():
                part = MIXTRAL[part] if family == "mixtral" else part
                result[f"{layer}.{block}.experts.{number}.{part}.weight"] = weight
    return result
