/* One call from C: an empty one, and one that checks a handle and reads a number through it. */
#include <stdio.h>
#include <tessera/tessera.h>
#include <time.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

int main(void) {
    const long rounds = 5000000;
    tessera_world world;
    tessera_error err;
    int32_t rank, sum = 0;
    double start, empty, call;
    long i;
    if (tessera_world_create_threads(1, NULL, &world, &err) != TESSERA_OK) return 1;
    start = now();
    for (i = 0; i < rounds; ++i) sum += tessera_abi_version();
    empty = (now() - start) / (double)rounds;
    start = now();
    for (i = 0; i < rounds; ++i) sum += tessera_world_get_rank(world, &rank, &err);
    call = (now() - start) / (double)rounds;
    tessera_world_destroy(world);
    printf("c %.1f %.1f\n", empty, call);
    return sum != (int32_t)rounds * TESSERA_ABI_VERSION;
}
