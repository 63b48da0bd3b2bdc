"""Training speed and memory of `tessera train` on one GPU beside transformers and torchtitan, in one run.

Llama shapes (cases.py), full training, bf16 compute, fp32 master weights, fused AdamW, clipping. The same rows go to
everyone, each in a process of its own; of each the median step counts, without the first third. What --budget leaves no
time for is named. A program that fails is reported and stops nothing. Prints a table and appends one JSON object per case
and program to --json as soon as it is known.

    python tests/gpu/bench/train_gpu_bench.py --tessera TESSERA [--json FILE] [--cases A,B] [--programs tessera,titan] [--steps 12]
        [--budget SECONDS] [--device cpu --tiny] [--trace LIBRARY --traces FOLDER]

The interpreter needs torch and transformers; torchtitan is one of the programs where it can be imported (--peer-path: a
folder that is put before its path). --trace runs each program with that library injected by CUDA (kernel_trace.cpp), which
writes a trace of its kernels into --traces. `--device cpu --tiny` only shows that the scripts work.
"""
import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from cases import CASES, PEAK_FLOPS, TINY_CASES, config_of, flops_per_token, make_rows

HEAD = f"{'case':18} {'program':28} {'tokens/s':>9} {'MFU %':>6} {'peak MiB':>9} {'smi MiB':>8} {'1st step s':>10} " \
       f"{'of start':>8} {'last loss':>10}"


class GpuMemory:
    """The most memory in use while it runs, by nvidia-smi, in MiB; 0 without a GPU."""

    def __enter__(self):
        self.peak, self.done = 0, threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()

    def watch(self):
        while not self.done.wait(0.2):
            try:
                out = subprocess.run(["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"],
                                     capture_output=True, text=True, timeout=10).stdout
                self.peak = max(self.peak, int(out.split()[0]))
            except (OSError, ValueError, IndexError, subprocess.SubprocessError):
                return


class LineTimes:
    """When each line of a growing file appeared, in seconds since 1970 and to 5 ms."""

    def __init__(self, path):
        self.path, self.times, self.done = path, [], threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def watch(self):
        while not self.done.wait(0.005):
            self.look()

    def look(self):
        try:
            lines = open(self.path, "rb").read().count(b"\n")
        except OSError:
            return
        self.times += [time.time()] * (lines - len(self.times))

    def stop(self):
        self.done.set()
        self.thread.join()
        self.look()
        return self.times


def last_words(text):
    return " | ".join(text.strip().splitlines()[-4:])[-1000:]


def run_limited(command, seconds, environment):
    """Ends the whole process group when time is up, so that no compiler of a peer stays on the machine."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
                               start_new_session=True)
    try:
        return process.communicate(timeout=seconds) + (process.returncode,)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"not done after {seconds:.0f} s")
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()


def run_ours(args, work, case, options, seconds, environment):
    metrics = os.path.join(work, "metrics.jsonl")
    if os.path.exists(metrics):
        os.remove(metrics)
    command = [args.tessera, "train", f"device={args.device}", "ranks=1", f"model.config={work}/config.json",
               f"data.path={work}/rows.jsonl", "data.format=tokens", f"data.seq_len={case.length}",
               f"data.packing={'next_fit' if case.packed else 'none'}",
               f"train.steps={args.steps}", f"train.global_batch={case.rows}", f"train.micro_batch={case.rows}",
               "precision.param=bf16", f"output.metrics={metrics}", "output.export=false", *options]
    began, lines = time.time(), LineTimes(metrics)
    try:
        _, errors, status = run_limited(command, seconds, environment)
    finally:
        times = lines.stop()
    if status:
        if "out of memory" in errors:
            return {"out_of_memory": True}
        raise RuntimeError(f"ended with {status}: {last_words(errors)}")
    steps = [json.loads(line) for line in open(metrics)]
    out = {"step_seconds": [s["seconds"] for s in steps], "last_loss": steps[-1]["loss"],
           "tokens": [s["tokens"] for s in steps], "step_ends": times,
           "first_step_seconds_from_start": times[0] - began}
    if args.device != "cpu":
        out.update(allocated_bytes=steps[-1]["memory"], reserved_bytes=steps[-1].get("memory_reserved", 0))
    return out


def run_peer(args, work, name, mode, seconds, environment):
    path = [args.peer_path] if args.peer_path else []
    environment = {**environment, "PYTHONPATH": os.pathsep.join(path + [os.environ.get("PYTHONPATH", "")])}
    if mode.startswith("titan"):  # as torchtitan's own start script sets it
        environment.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")
    command = [sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers.py"), mode, "--case", name,
               "--rows", f"{work}/peer_rows.jsonl", "--device", args.device, "--steps", str(args.steps), "--began",
               str(time.time())] + (["--tiny"] if args.tiny else [])
    output, errors, status = run_limited(command, seconds, environment)
    if status:
        raise RuntimeError(f"ended with {status}: {last_words(errors)}")
    return json.loads(output.strip().splitlines()[-1])


def prepare(work, case, steps):
    json.dump(config_of(case), open(os.path.join(work, "config.json"), "w"))
    rows = make_rows(case, steps)
    with open(os.path.join(work, "rows.jsonl"), "w") as file:
        for row in rows:
            file.writelines(json.dumps({"input_ids": ids}) + "\n" for ids in row)
    with open(os.path.join(work, "peer_rows.jsonl"), "w") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def summary(case, result):
    """Figures of one run: the first steps warm up and compile."""
    warm = len(result["step_seconds"]) // 3
    rate = statistics.median(t / s for t, s in zip(result["tokens"][warm:], result["step_seconds"][warm:]))
    return {"tokens_per_s": rate, "mfu": 100 * rate * flops_per_token(case) / PEAK_FLOPS}


def line_of(name, program, row):
    if row.get("out_of_memory"):
        return f"{name:18} {program:28} out of memory"
    return (f"{name:18} {program:28} {row['tokens_per_s']:9.0f} {row['mfu']:6.1f} {row.get('allocated_bytes', 0) >> 20:9d} "
            f"{row['smi_mib']:8d} {row['step_seconds'][0]:10.2f} {row['first_step_seconds_from_start']:8.2f} "
            f"{row['last_loss']:10.4f}")


def programs_of(args, name, case):
    """name -> run(work, seconds, environment), ours first."""
    out = {}
    for program, options in case.ours.items():
        out[program] = lambda *how, options=options: run_ours(args, how[0], case, options, *how[1:])
    for mode in case.peers:
        if mode.startswith("titan") and not args.titan:
            continue
        program = f"torchtitan{mode[5:]}" if mode.startswith("titan") else f"transformers-{mode}"
        out[program] = lambda *how, mode=mode: run_peer(args, how[0], name, mode, *how[1:])
    wanted = args.programs.split(",") if args.programs else list(out)
    return {program: run for program, run in out.items() if program in wanted}


def run_case(args, name, case, report, left):
    """Everybody's run of one case; False when one failed."""
    fine = True
    with tempfile.TemporaryDirectory() as work:
        prepare(work, case, args.steps)
        for program, run in programs_of(args, name, case).items():
            if left() < 20:
                print(f"{name:18} {program:28} not run: no time left", flush=True)
                continue
            environment = dict(os.environ)
            if args.trace:
                trace = os.path.join(args.traces, f"{name}.{program.replace(' ', '-')}.trace")
                environment.update(CUDA_INJECTION64_PATH=args.trace, TESSERA_KERNEL_TRACE=trace)
            try:
                with GpuMemory() as memory:
                    result = run(work, min(args.case_seconds, left()), environment)
                row = {"case": name, "program": program, "tied": case.tied and not program.startswith("torchtitan"),
                       "goal": case.goal, "smi_mib": memory.peak, **result}
                if not row.get("out_of_memory"):
                    row.update(summary(case, result))
                print(line_of(name, program, row), flush=True)
            except Exception as error:  # whatever a peer or its output may hold
                print(f"{name:18} {program:28} FAILED: {type(error).__name__}: {error}", flush=True)
                row = {"case": name, "program": program, "failed": str(error)[-300:]}
                fine = False
            report(row)
    return fine


def has_torchtitan(args):
    path = os.pathsep.join(([args.peer_path] if args.peer_path else []) + [os.environ.get("PYTHONPATH", "")])
    probe = subprocess.run([sys.executable, "-c", "import torchtitan.models.llama3"], capture_output=True, text=True,
                           env={**os.environ, "PYTHONPATH": path})
    if probe.returncode:
        print(f"torchtitan is not measured: {last_words(probe.stderr).split(' | ')[-1]}", flush=True)
    return probe.returncode == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tessera", required=True)
    parser.add_argument("--json")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--cases", help="comma separated; absent: all")
    parser.add_argument("--programs", help="comma separated; absent: all of a case")
    parser.add_argument("--budget", type=float, default=1e9, help="seconds for all cases")
    parser.add_argument("--case-seconds", type=float, default=150, help="the most for one program")
    parser.add_argument("--peer-path", help="a folder with torchtitan and what it needs")
    parser.add_argument("--trace", help="a library that CUDA injects into each program")
    parser.add_argument("--traces", default=".", help="where it writes")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends what runs on its way out

    cases = TINY_CASES if args.tiny else CASES
    if args.cases:
        cases = {name: cases[name] for name in args.cases.split(",")}
    end = time.time() + args.budget
    args.titan = has_torchtitan(args)

    def report(row):
        if args.json:
            with open(args.json, "a") as out:
                out.write(json.dumps(row) + "\n")

    print(HEAD, flush=True)
    fine = [run_case(args, name, case, report, lambda: end - time.time()) for name, case in cases.items()]
    sys.exit(not all(fine))


if __name__ == "__main__":
    main()
