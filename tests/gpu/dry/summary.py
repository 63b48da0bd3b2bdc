"""What a log of the dry CUDA runtime says: calls, waits of the host, copies and floating-point operations.

    python tests/gpu/dry/summary.py LOG             everything in it
    python tests/gpu/dry/summary.py LONG SHORT N    a step: what LONG has more than SHORT, a run with N steps less

`stops` are waits of the host with kernels or products queued since the wait before: those that a device would feel.
"""
import collections
import re
import sys


def read(path):
    """Counts of a log by name; names with a slash are kinds of what stands before it."""
    counts = collections.Counter()
    peaks, errors, queued = {}, [], collections.Counter()
    for line in open(path, errors="replace"):
        fields = line.split()
        if len(fields) < 4:
            continue
        thread, call = fields[1], fields[3]
        values = dict(f.split("=", 1) for f in fields[4:] if "=" in f)
        if call == "error":
            errors.append(" ".join(fields[4:]))
        elif call == "peak":
            peaks[int(values["device"])] = int(values["bytes"])
        counts[call] += 1
        if call == "launch":
            counts["launch/" + kernel(fields[4])] += 1
        elif call == "gemm":
            counts["flops"] += int(float(values["flops"]))
            counts["gemm/" + " ".join(fields[5:-1])] += 1
        elif call == "graph":
            counts["replayed"] += int(values["launches"])
        elif call == "nccl":
            counts["nccl/" + fields[4]] += 1
        elif call == "copy":
            counts[f"copy/{values['from']} to {values['to']}"] += 1
        if call in ("launch", "gemm", "cudnn", "graph", "nccl"):
            queued[thread] += 1
        elif call == "wait" or (call == "copy" and "wait" in fields[4:]):
            counts["waits"] += 1
            counts["stops"] += queued[thread] > 0
            queued[thread] = 0
    return counts, peaks, errors


def kernel(mangled):
    """The last names of a mangled kernel, short enough for a table."""
    names = re.findall(r"[a-z][a-z_0-9]*kernel[a-z_A-Z]*|Flash_\w+?Params|[a-z_]*(?:Functor|functor)", mangled)
    return names[0] if names else mangled[:60]


def main():
    counts, peaks, errors = read(sys.argv[1])
    steps = 1
    if len(sys.argv) > 2:
        counts.subtract(read(sys.argv[2])[0])
        steps = int(sys.argv[3])
    for name, count in sorted(counts.items(), key=lambda item: ("/" in item[0], -item[1])):
        if count and name not in ("peak", "error"):
            print(f"{count / steps:16.6g}  {name}")
    for device, size in peaks.items():
        print(f"peak of device {device}: {size / 2**20:.0f} MiB")
    for error in errors:
        print("error", error)


if __name__ == "__main__":
    main()
