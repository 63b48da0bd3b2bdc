#!/usr/bin/env python3
"""Runs the training program of every language with one recipe and compares the losses bit for bit.

    tests/bindings/compare.py BUILD_DIR [LANGUAGE...]

A language takes part when examples/LANGUAGE/build.sh makes its program: `build.sh BUILD_DIR OUT` writes the executable
OUT/train, or exits with 77 when the toolchain is missing. The program takes recipe files and key=value settings, runs rank
threads when `ranks` is set and one rank of a launcher otherwise, and rank 0 prints `loss STEP VALUE` with 17 significant
digits, flushed. A failed rank gives `E_CODE: message` on stderr and exit status 1. Only the standard library is used.
"""
import hashlib
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
LANGUAGES = ["c", "cpp", "rust", "go", "java", "julia", "python"]
SKIP = 77
STEPS = 8

MODEL = """{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 64, "hidden_size": 32,
 "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
 "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "tie_word_embeddings": false, "torch_dtype": "float32",
 "bos_token_id": 1, "eos_token_id": 2}"""
CHAT_MODEL = MODEL.replace('"vocab_size": 64', '"vocab_size": 768')  # that of the quickstart's tokenizer
EXPERTS = """{"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "vocab_size": 64, "hidden_size": 32,
 "intermediate_size": 64, "moe_intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4,
 "num_key_value_heads": 2, "head_dim": 8, "num_experts": 4, "num_experts_per_tok": 2, "norm_topk_prob": true,
 "max_position_embeddings": 64, "rms_norm_eps": 1e-6, "tie_word_embeddings": false, "torch_dtype": "float32",
 "bos_token_id": 1, "eos_token_id": 2}"""
QUICKSTART = ROOT / "examples" / "quickstart"
RECIPE = f"""model: {{config: config.json}}
data: {{path: rows.jsonl, format: tokens, seq_len: 32}}
train: {{steps: {STEPS}, global_batch: 8, seed: 7}}
optimizer: {{lr: 0.01}}
precision: {{param: fp32}}
threads: 1
timeout: 60
"""
CHAT = ["model.config=chat.json", f"data.path={QUICKSTART}/data/questions.jsonl", "data.format=chat",
        f"data.tokenizer={QUICKSTART}/model", "data.seq_len=64", "data.packing=bfd"]
# What every language computes beside the plain runs: each way of laying ranks out, experts, and conversations in packs.
THREADS = {
    "1 rank": ["ranks=1"],
    "4 rank threads": ["ranks=4"],
    "tp=2 pp=2": ["ranks=4", "parallel.tp=2", "parallel.pp=2"],
    "tp=2 cp=2, sequence parallel": ["ranks=4", "parallel.tp=2", "parallel.cp=2", "parallel.sequence_parallel=true"],
    "HSDP: 2 replicas of 2 shards": ["ranks=4", "parallel.dp_replicate=2", "parallel.dp_shard=2"],
    "experts, ep=2": ["ranks=4", "model.config=experts.json", "parallel.ep=2"],
    "chat data in packs": ["ranks=2", *CHAT],
    "chat data in packs, cp=2 in bf16": ["ranks=2", "parallel.cp=2", "precision.param=bf16", *CHAT],
}


class Failure(Exception):
    pass


def write_inputs(folder):
    (folder / "config.json").write_text(MODEL)
    (folder / "chat.json").write_text(CHAT_MODEL)
    (folder / "experts.json").write_text(EXPERTS)
    (folder / "recipe.yaml").write_text(RECIPE)
    rows = ([1 + (row * 7 + i * i) % 63 for i in range(10 + row % 5)] for row in range(32))
    (folder / "rows.jsonl").write_text("".join(f'{{"input_ids": {row}}}\n' for row in rows))


def build(language, build_dir, folder):
    """The program's path, or None when the language is not here."""
    if language in ("c", "cpp"):
        program = build_dir / "bin" / f"tessera_example_{language}"
        return program if program.exists() else None
    script = ROOT / "examples" / language / "build.sh"
    if not script.exists():
        return None
    out = folder / language
    out.mkdir()
    done = subprocess.run([script, build_dir, out], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode == SKIP:
        print(f"{language:8} skipped: {done.stdout.strip().splitlines()[-1:]}", flush=True)
        return None
    if done.returncode != 0:
        raise Failure(f"{script} failed:\n{done.stdout}")
    return out / "train"


def clean_environment(**extra):
    launchers = ("OMPI_", "PMI", "SLURM_", "TORCHELASTIC_", "MASTER_")
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(launchers) and k not in names}
    return {**kept, "OMP_NUM_THREADS": "1", **extra}


def start(program, folder, *settings, **environment):
    return subprocess.Popen([program, "recipe.yaml", *settings], cwd=folder, env=clean_environment(**environment),
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def start_two_processes(program, folder, *settings):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return [start(program, folder, *settings, RANK=str(rank), WORLD_SIZE="2", LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE="2",
                  MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), TORCHELASTIC_RUN_ID=f"compare.{os.getpid()}.{port}")
            for rank in range(2)]


def start_under_mpirun(program, folder, *settings):
    words = ["mpirun", "--oversubscribe", "--bind-to", "none", "-np", "2"]
    if os.geteuid() == 0:
        words.insert(1, "--allow-run-as-root")
    return subprocess.Popen([*words, program, "recipe.yaml", *settings], cwd=folder, env=clean_environment(),
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(processes, timeout=120):
    """The losses that rank 0 printed, as the bits of doubles."""
    try:
        outputs = [process.communicate(timeout=timeout) for process in processes]
    except subprocess.TimeoutExpired:
        raise Failure(f"{processes[0].args} did not end in {timeout} s")
    finally:
        for process in processes:
            process.kill()
    for process, (out, err) in zip(processes, outputs):
        if process.returncode != 0:
            raise Failure(f"{process.args} ended with {process.returncode}:\n{out}{err}")
    lines = [line.split() for line in "".join(out for out, _ in outputs).splitlines()]
    return [(int(words[1]), float(words[2]).hex()) for words in lines if words[:1] == ["loss"]]


def hash_of_export(folder):
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def run_cases(program, folder, name):
    """What a language computes: the losses of each layout of ranks, and the file that is exported after resuming."""
    out = f"out.{name}"
    results = {case: finish([start(program, folder, *settings)]) for case, settings in THREADS.items()}
    results["2 processes"] = finish(start_two_processes(program, folder))
    if shutil.which("mpirun"):
        results["2 processes under mpirun"] = finish([start_under_mpirun(program, folder)])
        if results["2 processes under mpirun"] != results["2 processes"]:
            raise Failure(f"{name}: mpirun makes a difference:\n{results}")
    for case, losses in results.items():
        if [step for step, _ in losses] != list(range(1, STEPS + 1)):
            raise Failure(f"{name}, {case}: steps {losses}")
    half = finish([start(program, folder, "ranks=2", f"output.dir={out}", f"train.steps={STEPS // 2}")])
    rest = finish([start(program, folder, "ranks=2", f"output.dir={out}", "output.resume=true")])
    results["2 rank threads, resumed"] = half + rest
    if half + rest != results["2 processes"]:
        raise Failure(f"{name}: a resumed run differs from one in a piece:\n{half + rest}\n{results['2 processes']}")
    results["exported file"] = hash_of_export(folder / out)
    return results


def check_failure(program, folder, name):
    """A rank that is killed becomes an error of the other, whose process ends as it wants to."""
    processes = start_two_processes(program, folder, "train.steps=1000000")
    try:
        for line in processes[0].stdout:
            if line.startswith("loss 3 "):
                break
        else:
            raise Failure(f"{name}: rank 0 ended early:\n{processes[0].stderr.read()}")
        processes[1].kill()
        started = time.monotonic()
        _, err = processes[0].communicate(timeout=60)
        seconds = time.monotonic() - started
    except subprocess.TimeoutExpired:
        raise Failure(f"{name}: rank 0 did not notice that rank 1 was killed")
    finally:
        for process in processes:
            process.kill()
            process.wait()
    if processes[0].returncode != 1 or "E_PEER_FAILED" not in err:
        raise Failure(f"{name}: after rank 1 was killed rank 0 ended with {processes[0].returncode}:\n{err}")
    return seconds


def check_refusal(program, folder, name):
    done = subprocess.run([program, "recipe.yaml", "ranks=2", "parallel.tp=3"], cwd=folder, env=clean_environment(),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120)
    if done.returncode != 1 or "E_ARGUMENT" not in done.stderr:
        raise Failure(f"{name}: a mesh that does not fit gave {done.returncode}:\n{done.stdout}{done.stderr}")


def main():
    build_dir = pathlib.Path(sys.argv[1]).resolve()
    wanted = sys.argv[2:] or LANGUAGES
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_inputs(folder)
        results = {}
        for language in wanted:
            program = build(language, build_dir, folder)
            if program is None:
                continue
            started = time.monotonic()
            results[language] = run_cases(program, folder, language)
            check_refusal(program, folder, language)
            noticed = check_failure(program, folder, language)
            print(f"{language:8} ran in {time.monotonic() - started:.1f} s, noticed a killed peer in {noticed:.2f} s",
                  flush=True)
    if len(results) < 2:
        print(f"nothing to compare: {list(results)}")
        sys.exit(SKIP)
    first = next(iter(results))
    different = [(language, case) for language, cases in results.items() for case in cases
                 if cases[case] != results[first][case]]
    for language, case in different:
        print(f"{case}: {language} differs from {first}:\n  {results[language][case]}\n  {results[first][case]}")
    if different:
        sys.exit(1)
    print(f"{len(results)} languages computed the same, to the last bit: {', '.join(results)}\n({'; '.join(results[first])})")
    for step, bits in results[first]["1 rank"]:
        print(f"loss {step} {float.fromhex(bits):.17g}")


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        print(failure)
        sys.exit(1)
