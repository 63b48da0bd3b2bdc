"""One call from Python through the ctypes layer."""
import time

import tessera
from tessera._library import library

ROUNDS = 200000


def nanoseconds_of(call):
    start = time.perf_counter_ns()
    for _ in range(ROUNDS):
        call()
    return (time.perf_counter_ns() - start) / ROUNDS


world = tessera.World.threads(1)[0]
print(f"python {nanoseconds_of(library.tessera_abi_version):.1f} {nanoseconds_of(lambda: world.rank):.1f}")
