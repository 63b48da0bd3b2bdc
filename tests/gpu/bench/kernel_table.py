"""Where a training step's time on the GPU goes, from a trace of kernel_trace.cpp.

    python tests/gpu/bench/kernel_table.py TRACE --training training.jsonl --case 1b-4096 --program tessera [--json FILE]
    python tests/gpu/bench/kernel_table.py TRACE

--training gives the run's step ends; the steps behind the first third are taken then. Without, the second half of the
trace is, and counts are of that window. Prints milliseconds by group and the kernels that take longest; --json appends
them as one line.
Groups add up to more than the busy time where streams overlap; idle is time of the window in which nothing ran.
"""
import argparse
import json
import re
from collections import defaultdict

TOP = 15
# The first that matches names the group. Names of cuBLAS, cuDNN, ATen, Triton's inductor and impl/cuda/kernels.
GROUPS = [
    ("collectives", r"nccl"),
    ("attention", r"flash|fmha|attention|sdpa|attn"),
    ("loss", r"cross_entropy|nll_loss|softmax|labelled_rows"),
    ("optimizer", r"adam|multi_tensor_apply|foreach|lpnorm|squares_many|clip_scale|sgd_many|find_not_finite"),
    ("GEMM", r"gemm|gemv|cutlass|nvjet|xmma|cublas|splitk|scaled_mm|wgrad|dgrad|triton_tem"),
    ("copies", r"memcpy|memset|catarray|chunk_cat|split_with_sizes|copy_kernel|copy_many|direct_copy|fillfunctor"),
]
REST = "elementwise"


def shorten(name):
    """A kernel's own name, with the functor or inner kernel that tells instances of a template apart."""
    name = re.sub(r"\(anonymous namespace\)::", "", name)
    name = re.sub(r"^(void|int|float|bool) ", "", name)
    base = re.split(r"[<(]", name, maxsplit=1)[0]
    base = base.split("::")[-1] or name
    inner = re.search(r"(\w*[Ff]unctor\w*|\w+_kernel_(?:cuda|impl)\w*|\w+Copy\w*)", name[name.find(base) + len(base):])
    short = f"{base}<{inner.group(1)}>" if inner else base
    return short if len(short) <= 72 else short[:69] + "..."


def group_of(name):
    for group, pattern in GROUPS:
        if re.search(pattern, name, re.IGNORECASE):
            return group
    return REST


def read_trace(lines):
    """(start, end, name, group) of each record; a line that was cut off is left out."""
    names, records = {}, []
    for line in lines:
        parts = line.rstrip("\n").split(" ", 2)
        try:
            if parts[0] == "N":
                names[parts[1]] = (shorten(parts[2]), group_of(parts[2]))
                continue
            start, rest = int(parts[1]), parts[2].split()
            if parts[0] == "K":
                records.append((start, int(rest[0]), *names[rest[2]]))
            elif parts[0] == "C":
                records.append((start, int(rest[0]), "memcpy of kind " + rest[3], "copies"))
            elif parts[0] == "S":
                records.append((start, int(rest[0]), "memset", "copies"))
        except (IndexError, KeyError, ValueError):
            continue
    return sorted(records)


def busy_nanoseconds(records):
    """Length of the union of the records' intervals, which come by start."""
    total, until = 0, 0
    for start, end, *_ in records:
        total += max(0, end - max(start, until))
        until = max(until, end)
    return total


def window_of(records, step_ends):
    """(begin, end, steps) in nanoseconds: the ends of steps are known to milliseconds, which several steps outweigh."""
    if step_ends and len(step_ends) >= 3:
        first = max(1, len(step_ends) // 3)
        return int(step_ends[first - 1] * 1e9), int(step_ends[-1] * 1e9), len(step_ends) - first
    first, last = records[0][0], max(end for _, end, *_ in records)
    return (first + last) // 2, last, 1


def summarize(records, step_ends=None):
    begin, end, steps = window_of(records, step_ends)
    inside = [r for r in records if begin <= r[0] < end]
    if not inside:
        raise ValueError("no kernel ran during the steps")
    groups, kernels = defaultdict(int), defaultdict(lambda: [0, 0])
    for start, stop, name, group in inside:
        groups[group] += stop - start
        kernels[group, name][0] += 1
        kernels[group, name][1] += stop - start
    ms = lambda nanoseconds: nanoseconds / steps / 1e6
    groups["idle"] = end - begin - busy_nanoseconds([(s, min(e, end), n, g) for s, e, n, g in inside])
    top = sorted(kernels.items(), key=lambda item: -item[1][1])[:TOP]
    return {"steps": steps, "step_ms": ms(end - begin),
            "groups": [[g, ms(t)] for g, t in sorted(groups.items(), key=lambda item: -item[1])],
            "top": [{"group": g, "name": n, "count": c / steps, "ms": ms(t)} for (g, n), (c, t) in top]}


def step_ends_of(path, case, program):
    rows = [json.loads(line) for line in open(path)]
    found = [r for r in rows if r["case"] == case and r["program"] == program and "step_ends" in r]
    return found[-1]["step_ends"] if found else None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace")
    parser.add_argument("--training")
    parser.add_argument("--case", default="")
    parser.add_argument("--program", default="")
    parser.add_argument("--json")
    args = parser.parse_args()
    records = read_trace(open(args.trace, errors="replace"))
    if not records:
        raise SystemExit(f"{args.trace} has no kernels")
    out = summarize(records, step_ends_of(args.training, args.case, args.program) if args.training else None)
    print(f"{args.case} {args.program}: {out['step_ms']:.2f} ms a step, {out['steps']} steps")
    for group, ms in out["groups"]:
        print(f"  {group:14} {ms:9.3f} ms {100 * ms / out['step_ms']:6.1f} %")
    for kernel in out["top"]:
        print(f"  {kernel['ms']:9.3f} ms {kernel['count']:8.1f} x  {kernel['group']:12} {kernel['name']}")
    if args.json:
        with open(args.json, "a") as file:
            file.write(json.dumps({"case": args.case, "program": args.program, **out}) + "\n")


if __name__ == "__main__":
    main()
