"""The results of tests/gpu.sh as markdown for docs/benchmarks.md.

    python tests/gpu/report.py FOLDER > results.md

FOLDER has tests.json (GoogleTest), kernels.jsonl, training.jsonl and machine.txt; what is missing is said to be.
"""
import json
import os
import sys


def lines(folder, name):
    path = os.path.join(folder, name)
    return [json.loads(line) for line in open(path)] if os.path.exists(path) else []


def table(head, rows):
    out = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(out + ["| " + " | ".join(map(str, row)) + " |" for row in rows])


def tests(folder):
    path = os.path.join(folder, "tests.json")
    if not os.path.exists(path):
        return "No test has run."
    cases = [t for suite in json.load(open(path))["testsuites"] for t in suite["testsuite"]]
    failed = [t["name"] for t in cases if t.get("failures")]
    skipped = sum(t.get("result") == "SKIPPED" for t in cases)
    return (f"{len(cases)} tests, {skipped} skipped, {len(failed)} failed" + (": " + ", ".join(failed) if failed else "") + ".")


def training(folder):
    best = {}
    for row in lines(folder, "training.jsonl"):
        best.setdefault(row["case"], {})[row["program"]] = row
    rows = []
    for case, programs in best.items():
        peers = [r["tokens_per_s"] for name, r in programs.items() if name != "tessera"]
        for name, r in programs.items():
            ratio = f"{r['tokens_per_s'] / max(peers):.2f}" if name == "tessera" and peers else ""
            rows.append([case, name, f"{r['tokens_per_s']:,.0f}", f"{r['mfu']:.1f}", f"{r['peak_mib']:,}",
                         f"{r['step_seconds'][0]:.2f}", ratio])
    if not rows:
        return "No training was measured."
    return table(["Case", "Program", "tokens/s", "MFU %", "peak MiB", "first step s", "tessera : best peer"], rows)


def kernels(folder):
    rows = lines(folder, "kernels.jsonl")
    if not rows:
        return "No kernel was measured."
    head = list(rows[0])
    show = lambda value: f"{value:.4g}" if isinstance(value, float) else value
    return table(head, [[show(row.get(key, "")) for key in head] for row in rows])


def main():
    folder = sys.argv[1]
    machine = os.path.join(folder, "machine.txt")
    print("Machine:", open(machine).read().strip() if os.path.exists(machine) else "unknown")
    for title, part in (("Tests", tests), ("Training", training), ("Kernels", kernels)):
        print(f"\n### {title}\n\n{part(folder)}")


if __name__ == "__main__":
    main()
