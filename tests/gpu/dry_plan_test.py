"""The memory that `tessera plan` promises of one GPU against what LibTorch's allocator gives out on the dry CUDA runtime
(tests/gpu/dry): dry_plan_test.py TESSERA [CASE...]. LD_PRELOAD and LD_LIBRARY_PATH come from dry_test.sh.
"""
import json
import os
import random
import re
import subprocess
import sys
import tempfile

# options
CASES = {
    "kept": [],
    "cast": ["memory.cast_weights=on"],
    "selective": ["memory.recompute=selective"],
    "selective, kept": ["memory.recompute=selective", "memory.cast_weights=off"],
    "mlp": ["memory.recompute=mlp"],
    "full": ["memory.recompute=full", "train.micro_batch=2"],
    "float8, tensorwise": ["float8.recipe_name=tensorwise"],
    "float8, rowwise, selective": ["float8.recipe_name=rowwise_with_gw_hp", "memory.recompute=selective"],
}
VOCABULARY, TOKENS = 8192, 1024  # a row
CONFIG = dict(architectures=["LlamaForCausalLM"], model_type="llama", attention_bias=False, mlp_bias=False,
              max_position_embeddings=4096, rms_norm_eps=1e-5, hidden_act="silu", tie_word_embeddings=True,
              initializer_range=0.02, rope_theta=10000.0, hidden_size=1024, intermediate_size=4096, num_hidden_layers=8,
              num_attention_heads=16, num_key_value_heads=8, head_dim=64, vocab_size=VOCABULARY)
# Of the peak. The plan knows nothing of cuBLAS's workspace of 32 MiB, which is 1 to 2 % of these peaks.
WITHIN = 0.05


def problem(tessera, folder, case):
    """What is wrong, or None."""
    metrics = f"{folder}/metrics.jsonl"
    if os.path.exists(metrics):
        os.remove(metrics)
    options = ["device=cuda", f"model.config={folder}/config.json", f"data.path={folder}/rows.jsonl", "data.format=tokens",
               f"data.seq_len={TOKENS}", "data.packing=none", "train.steps=3", "train.global_batch=4",
               "train.micro_batch=4", "precision.param=bf16", "output.export=false", *CASES[case]]
    # Segments that do not grow: what tensors take is the same, and nothing has to be mapped.
    environment = dict(os.environ, LD_PRELOAD=os.environ["TESSERA_DRY_PRELOAD"], TESSERA_DRY_COPY_LIMIT="65536",
                       PYTORCH_ALLOC_CONF="expandable_segments:False")
    done = subprocess.run([tessera, "train", *options, f"output.metrics={metrics}", "cuda.expandable_segments=off"],
                          capture_output=True, text=True, timeout=100, env=environment)
    if done.returncode:
        return f"ended with {done.returncode}: {done.stderr.strip()[-1000:]}"
    with open(metrics) as lines:
        used = [json.loads(line) for line in lines][-1]["memory"]
    plan = subprocess.run([tessera, "plan", *options], capture_output=True, text=True, timeout=100)
    found = re.search(r"^  peak +([0-9.]+) MB", plan.stdout, re.M)
    if plan.returncode or not found:
        return f"no plan: {plan.stderr.strip()[-1000:]}"
    planned = float(found.group(1)) * 1e6
    print(f"{case:28} {used / 1e6:7.0f} MB allocated, {planned / 1e6:7.0f} MB planned", flush=True)
    return None if abs(planned / used - 1) <= WITHIN else f"{used} bytes were allocated, {planned:.0f} planned"


def main():
    tessera, wanted = sys.argv[1], sys.argv[2:] or list(CASES)
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        generator = random.Random(0)
        with open(f"{folder}/config.json", "w") as file:
            json.dump(CONFIG, file)
        with open(f"{folder}/rows.jsonl", "w") as file:
            for _ in range(16):
                file.write(json.dumps({"input_ids": [generator.randrange(VOCABULARY) for _ in range(TOKENS)]}) + "\n")
        for case in wanted:
            wrong = problem(tessera, folder, case)
            if wrong:
                print(f"{case}: {wrong}", flush=True)
                failed = True
    sys.exit(failed)


if __name__ == "__main__":
    main()
