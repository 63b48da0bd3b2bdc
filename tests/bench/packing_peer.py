"""The packers of Axolotl and NeMo AutoModel, taken out of their wheels, on a file of lengths: "name packs seconds" a line.

packing_peer.py WHEELS LENGTHS CAPACITY. Only the packing functions are run, so that neither package nor its
dependencies need to be installed (numba and numpy apart). Axolotl's is timed after numba has compiled it.
"""

import ast
import glob
import heapq
import logging
import sys
import time
import zipfile

import numba
import numpy as np


def functions(wheel, path, names, scope):
    """Defines the named functions of a wheel's file in `scope`, as they are shipped."""
    (archive,) = glob.glob(wheel)
    tree = ast.parse(zipfile.ZipFile(archive).read(path))
    tree.body = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in names]
    assert len(tree.body) == len(names), f"{path} has changed"
    exec(compile(tree, path, "exec"), scope)
    return [scope[name] for name in names]


def timed(name, pack, runs=3):
    best = float("inf")
    for _ in range(runs):
        start = time.perf_counter()
        bins = pack()
        best = min(best, time.perf_counter() - start)
    print(name, len(bins), f"{best:.6f}", flush=True)


def main():
    wheels, lengths_file, capacity = sys.argv[1], sys.argv[2], int(sys.argv[3])
    lengths = np.loadtxt(lengths_file, dtype=np.int64)
    (pack_group,) = functions(f"{wheels}/axolotl-*.whl", "axolotl/utils/samplers/multipack.py", ["pack_group"],
                              {"numba": numba, "np": np})
    (knapsack,) = functions(f"{wheels}/nemo_automodel-*.whl",
                            "nemo_automodel/components/datasets/llm/neat_packing.py", ["greedy_knapsack"],
                            {"heapq": heapq, "time": time, "logger": logging.getLogger("neat")})
    group = 100_000  # sample_packing_group_size; bins of up to 200 samples (sample_packing_bin_size)
    pack_group(lengths[:10], 0, capacity, 10, 200, True)

    def axolotl():
        bins = []
        for begin in range(0, len(lengths), group):
            part = lengths[begin : begin + group]
            bins.extend(pack_group(part, begin, capacity, len(part), 200, True))
        return bins

    timed("axolotl", axolotl)
    as_list = lengths.tolist()
    timed("nemo", lambda: knapsack(as_list, capacity))


main()
