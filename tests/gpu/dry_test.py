"""Trainings with device=cuda on the dry CUDA runtime (tests/gpu/dry): dry_test.py TESSERA [CASE...].

Each case runs twice, with two steps less the second time; what the longer run has more is what two later steps do. A
case fails when a run does, when a call was refused that a device would refuse, when two works on the same memory race,
when the host waits more often for unfinished work than the case says, or when later steps allocate device memory. Losses
mean nothing: kernels compute nothing there. LD_PRELOAD and LD_LIBRARY_PATH for TESSERA come from dry_test.sh.
"""
import json
import os
import random
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "dry"))
import summary  # noqa: E402

LENGTH, VOCABULARY = 64, 512
SHAPE = dict(max_position_embeddings=4096, rms_norm_eps=1e-5, hidden_act="silu", tie_word_embeddings=False,
             initializer_range=0.02, hidden_size=128, intermediate_size=256, num_hidden_layers=4,
             num_attention_heads=4, num_key_value_heads=2, head_dim=32, vocab_size=VOCABULARY)
MODELS = {
    "llama": dict(architectures=["LlamaForCausalLM"], model_type="llama", attention_bias=False, mlp_bias=False),
    "gemma3": dict(architectures=["Gemma3ForCausalLM"], model_type="gemma3_text", query_pre_attn_scalar=32,
                   hidden_activation="gelu_pytorch_tanh", sliding_window=32, sliding_window_pattern=2,
                   rope_local_base_freq=10000.0, tie_word_embeddings=True),
    # Heads of a size that cuDNN is asked for.
    "wide_heads": dict(architectures=["LlamaForCausalLM"], model_type="llama", num_attention_heads=2,
                       num_key_value_heads=1, head_dim=64, attention_bias=False, mlp_bias=False),
    "qwen3_moe": dict(architectures=["Qwen3MoeForCausalLM"], model_type="qwen3_moe", num_experts=8,
                      num_experts_per_tok=2, moe_intermediate_size=64, norm_topk_prob=True, decoder_sparse_step=1,
                      router_aux_loss_coef=0.001, mlp_only_layers=[], num_hidden_layers=2),
}
# model, ranks, options, the most stops of the host a step and rank (None: not looked at)
CASES = {
    "plain": ("llama", 1, [], 1),
    "packed": ("llama", 1, ["data.packing=next_fit"], 1),
    "cudnn": ("wide_heads", 1, ["data.path={folder}/long.jsonl", f"data.seq_len={2 * LENGTH}"], 1),
    "recomputed": ("llama", 1, ["memory.recompute=full"], 1),
    "cast": ("llama", 1, ["memory.recompute=selective"], 1),
    "cast-sharded": ("llama", 2, ["parallel.dp_shard=2", "memory.cast_weights=on"], 1),
    "cast-graphs": ("llama", 1, ["memory.recompute=mlp", "cuda.graphs=true"], 1),
    "graphs": ("llama", 1, ["cuda.graphs=true"], 1),
    "float8": ("llama", 1, ["float8.recipe_name=tensorwise"], 1),
    "float8-rowwise": ("llama", 1, ["float8.recipe_name=rowwise"], 1),
    "float8-exact": ("llama", 1, ["float8.recipe_name=rowwise_with_gw_hp", "cuda.graphs=true"], 1),
    "float8-gathered": ("llama", 2, ["parallel.dp_shard=2", "float8.recipe_name=tensorwise",
                                     "float8.enable_fsdp_float8_all_gather=true"], 1),
    "offloaded": ("llama", 1, ["memory.offload=true", "memory.offload_activations=true"], 2),
    "gemma": ("gemma3", 1, ["data.packing=next_fit"], 1),
    "experts": ("qwen3_moe", 1, [], None),
    "sharded": ("llama", 2, ["parallel.dp_shard=2"], 1),
    "pipeline": ("llama", 2, ["parallel.pp=2"], None),
    "expert-parallel": ("qwen3_moe", 2, ["parallel.dp_shard=2", "parallel.ep=2"], None),
}
STEPS = 6
# Runs that are only looked at for races. The last ones fail at the launch of this number, in the second step's backward:
# copies and collectives that are then under way must not touch memory that goes to others.
STREAMS = {
    "sequence-parallel": ("llama", 2, ["parallel.tp=2", "parallel.sequence_parallel=true"], None),
    "ring": ("llama", 2, ["parallel.cp=2"], None),
    "zero-bubble": ("llama", 2, ["parallel.pp=2", "parallel.pp_schedule=zb_v", "train.micro_batch=1"], None),
    "replicas": ("llama", 4, ["parallel.dp_replicate=2", "parallel.dp_shard=2", "memory.offload=true",
                              "train.global_batch=8", "parallel.defer_gradient_sync=false"], None),
    "gathered-experts": ("qwen3_moe", 2, ["parallel.ep=2", "parallel.ep_exchange=all_gather"], None),
    **{f"failing-{launch}": ("llama", 1, ["memory.offload_activations=true", "memory.recompute=full"], launch)
       for launch in (190, 220, 340)},
}
# Of the waits of a case's last steps that order something, how many at least the check for races has to miss when they
# are left out one by one; the others are covered by later ones. Of the places in the code it has to miss each.
MISSED = {"sharded": 0.6}

def write_inputs(folder):
    generator = random.Random(0)
    for name, shape in MODELS.items():
        with open(f"{folder}/{name}.json", "w") as file:
            json.dump({**SHAPE, "rope_theta": 10000.0, **shape}, file)
    for name, length in ("rows", LENGTH), ("long", 2 * LENGTH):
        with open(f"{folder}/{name}.jsonl", "w") as file:
            for _ in range(400):
                ids = [generator.randrange(VOCABULARY) for _ in range(length)]
                file.write(json.dumps({"input_ids": ids}) + "\n")


def run(tessera, folder, case, steps):
    """The log's counts and errors of one run."""
    model, ranks, options, failing = STREAMS.get(case) or (*CASES[case][:3], None)
    log, trace = (f"{folder}/{case}.{steps}.{kind}" for kind in ("log", "trace"))
    environment = dict(os.environ, TESSERA_DRY_LOG=log, TESSERA_DRY_TRACE=trace, TESSERA_DRY_GPUS=str(ranks),
                       TESSERA_DRY_FAIL_LAUNCH=str(failing or 0), LD_PRELOAD=os.environ["TESSERA_DRY_PRELOAD"])
    command = [tessera, "train", "device=cuda", f"ranks={ranks}", f"model.config={folder}/{model}.json",
               f"data.path={folder}/rows.jsonl", "data.format=tokens", f"data.seq_len={LENGTH}",
               "data.packing=none", f"train.steps={steps}", "train.global_batch=4", "train.micro_batch=2",
               "precision.param=bf16", "output.export=false",
               *(option.format(folder=folder) for option in options)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, env=environment)
    if (done.returncode != 0) != (failing is not None):
        return None, [f"ended with {done.returncode}: {done.stderr.strip()[-1000:]}"]
    counts, _, errors = summary.read(log)
    return counts, errors


def races(trace, *options):
    """What the check for races says of a run: whether there are none, and its lines."""
    done = subprocess.run([os.environ["TESSERA_DRY_RACES"], trace, *options], capture_output=True, text=True)
    return done.returncode == 0, (done.stdout + done.stderr).splitlines()


def problems_of_streams(folder, case, steps):
    trace = f"{folder}/{case}.{steps}.trace"
    fine, lines = races(trace)
    if not fine:
        return lines[:5]
    if case not in MISSED:
        return []
    _, lines = races(trace, "--sweep", "60", "80")
    print(f"{case:16} " + "; ".join(lines[:2]), flush=True)
    waits = re.search(r"of (\d+) others (\d+) are missed", lines[0])
    places = re.search(r"^(\d+) places .* (\d+) are missed", lines[1])
    if int(waits[1]) < 10 or int(waits[2]) < MISSED[case] * int(waits[1]) or places[1] != places[2]:
        return ["waits that are left out are not noticed: " + line for line in lines[:5]]
    return []


def problems_of_one_run(tessera, folder, case):
    _, errors = run(tessera, folder, case, 3)
    return errors[:5] or problems_of_streams(folder, case, 3)


def problems(tessera, folder, case):
    ranks, stops = CASES[case][1], CASES[case][3]
    longer, errors = run(tessera, folder, case, STEPS)
    errors = errors or problems_of_streams(folder, case, STEPS)
    if errors:
        return errors[:5]
    shorter, errors = run(tessera, folder, case, STEPS - 2)
    if errors:
        return errors[:5]
    compiled = longer["compiled"]
    longer.subtract(shorter)
    print(f"{case:16} a step: {longer['launch'] / 2:6.0f} launches, {longer['gemm'] / 2:5.0f} products, "
          f"{longer['nccl'] / 2:4.0f} collectives, {longer['copy'] / 2:4.0f} copies, {longer['stops'] / 2:4.1f} stops, "
          f"{longer['malloc'] / 2:3.1f} allocations", flush=True)
    out = []
    if longer["launch"] + longer["replayed"] <= 0:
        out.append("no kernel was launched")
    if compiled:
        out.append(f"{compiled} kernels are compiled while it runs, which needs NVRTC where it is deployed")
    if case == "cudnn" and longer["cudnn"] <= 0:
        out.append("FlashAttention took cuDNN's place")
    if longer["malloc"] > 0:
        out.append(f"later steps allocate device memory: {longer['malloc']} times in two steps")
    if stops is not None and longer["stops"] > 2 * stops * ranks:
        out.append(f"the host stops {longer['stops'] / 2 / ranks} times a step, not {stops}")
    return out


def main():
    tessera, wanted = sys.argv[1], sys.argv[2:] or [*CASES, *STREAMS]
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        write_inputs(folder)
        for case in wanted:
            for problem in (problems_of_one_run if case in STREAMS else problems)(tessera, folder, case):
                print(f"{case}: {problem}", flush=True)
                failed = True
    sys.exit(failed)


if __name__ == "__main__":
    main()
