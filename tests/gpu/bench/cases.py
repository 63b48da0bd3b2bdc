"""What train_gpu_bench.py measures: model shapes, the cases in the order of what they are worth knowing, and their rows.

A case is a shape with a number of rows and their length; OURS names option sets of `tessera train`, PEERS names modes of
peers.py. Settings fit 80 GB: what `tessera plan` gives as a rank's peak is in each comment.
"""
import dataclasses
import random

PEAK_FLOPS = 989e12  # H100 and H200 SXM, dense bf16
END = 0              # ends each document, so that a peer that packs rows can tell documents apart

LLAMA_1B = dict(hidden_size=2048, intermediate_size=8192, num_hidden_layers=16, num_attention_heads=32,
                num_key_value_heads=8, head_dim=64, vocab_size=128256)
LLAMA_3B = dict(hidden_size=3072, intermediate_size=8192, num_hidden_layers=28, num_attention_heads=24,
                num_key_value_heads=8, head_dim=128, vocab_size=128256)
LLAMA_8B_6 = dict(hidden_size=4096, intermediate_size=14336, num_hidden_layers=6, num_attention_heads=32,
                  num_key_value_heads=8, head_dim=128, vocab_size=128256)
TINY = dict(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
            head_dim=16, vocab_size=512)


@dataclasses.dataclass
class Case:
    shape: dict
    rows: int
    length: int
    peers: list
    ours: dict = dataclasses.field(default_factory=lambda: {"tessera": []})
    packed: bool = False
    tied: bool = True    # of tessera and transformers; torchtitan's Llama 3 never ties
    goal: float = 0      # tokens/s on one H100


# Of 3B, which takes 56.5 GB with selective recompute, 52.5 GB with mlp and 68.5 GB, if it fits, with none.
CASES = {
    "1b-4096": Case(LLAMA_1B, 4, 4096, ["titan-amp", "titan", "compiled", "titan-selective", "fsdp2"], goal=54000,
                    ours={"tessera": [], "tessera recompute=selective": ["memory.recompute=selective"]}),
    "3b-4096": Case(LLAMA_3B, 2, 4096, ["titan-selective", "titan-full", "compiled"], goal=20500,
                    ours={"tessera": ["memory.recompute=selective"], "tessera recompute=none": ["memory.recompute=none"]}),
    "1b-gsm8k": Case(LLAMA_1B, 4, 4096, ["titan-packed", "fsdp2"], packed=True),
    "1b-4096-untied": Case(LLAMA_1B, 4, 4096, [], tied=False),
    "1b-4096-variants": Case(LLAMA_1B, 4, 4096, [], ours={
        "tessera recompute=mlp": ["memory.recompute=mlp"], "tessera graphs": ["cuda.graphs=true"],
        "tessera float8": ["float8.recipe_name=rowwise_with_gw_hp"]}),
    "1b-8192": Case(LLAMA_1B, 2, 8192, ["titan"]),  # 39.6 GB
    "8b-6-layers-4096": Case(LLAMA_8B_6, 2, 4096, ["titan"]),  # 36.0 GB
    "1b-4096-offload": Case(LLAMA_1B, 4, 4096, [], ours={
        "tessera": ["memory.offload=true", "memory.offload_activations=true"]}),
}
TINY_CASES = {
    "tiny-64": Case(TINY, 2, 64, ["titan", "compiled", "titan-selective", "titan-amp", "fsdp2"],
                    ours={"tessera": [], "tessera micro=1": ["train.micro_batch=1"]}, goal=1e9),
    "tiny-packed": Case(TINY, 2, 64, ["fsdp2"], packed=True, ours={"tessera": ["float8.recipe_name=rowwise"]}),
}


def config_of(case):
    """config.json of the case's model."""
    return {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "max_position_embeddings": 8192,
            "rms_norm_eps": 1e-5, "hidden_act": "silu", "tie_word_embeddings": case.tied, "rope_theta": 500000.0,
            "initializer_range": 0.02, "attention_bias": False, "mlp_bias": False, **case.shape}


def flops_per_token(case):
    """torchtitan's formula: 6 parameters that multiply + 6 layers heads (d_qk + d_v) length."""
    h, f, layers, d = (case.shape[k] for k in ("hidden_size", "intermediate_size", "num_hidden_layers", "head_dim"))
    q, kv = case.shape["num_attention_heads"] * d, case.shape["num_key_value_heads"] * d
    parameters = case.shape["vocab_size"] * h + layers * (2 * h * q + 2 * h * kv + 3 * h * f)
    return 6 * parameters + 6 * layers * q * 2 * case.length


def document_lengths(case, generator):
    """Lengths that fill one row: one document, or lengths as of GSM8K's questions with answers (log-normal, median 165)."""
    if not case.packed:
        return [case.length]
    shrink = min(1.0, case.length / 512)
    out, left = [], case.length
    while left > 1:
        out.append(min(left, max(2, int(generator.lognormvariate(5.1, 0.45) * shrink))))
        left -= out[-1]
    return out


def make_rows(case, steps):
    """The documents of each row, lists of random token ids that END ends: the same at every call."""
    generator = random.Random(0)
    last = case.shape["vocab_size"] - 1
    return [[[generator.randint(1, last) for _ in range(size - 1)] + [END] for size in document_lengths(case, generator)]
            for _ in range(case.rows * steps)]
