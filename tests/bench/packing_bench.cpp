// Packs the lengths of a file (one a line) with each packer: "name packs seconds" a line, the best of three runs.
//   packing_bench LENGTHS CAPACITY [THREADS]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <vector>

#include "data/packing.h"

int main(int argc, char** argv) try {
  if (argc < 3) {
    std::fprintf(stderr, "usage: packing_bench LENGTHS CAPACITY [THREADS]\n");
    return 2;
  }
  std::ifstream file(argv[1]);
  std::vector<int64_t> lengths;
  for (int64_t length = 0; file >> length;) lengths.push_back(length);
  const int64_t capacity = std::atoll(argv[2]);
  std::printf("bound %lld 0\n", static_cast<long long>(tessera::pack_lower_bound(lengths, capacity)));
  for (const std::string& name : tessera::packer_names()) {
    tessera::PackOptions options;
    options.packer = tessera::parse_packer(name);
    options.capacity = capacity;
    options.threads = argc > 3 ? std::atoll(argv[3]) : 1;
    double best = 1e9;
    int64_t packs = 0;
    for (int run = 0; run < 3; ++run) {
      const auto start = std::chrono::steady_clock::now();
      packs = tessera::pack(lengths, options).packs();
      best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    std::printf("%s %lld %.6f\n", name.c_str(), static_cast<long long>(packs), best);
  }
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "packing_bench: %s\n", error.what());
  return 1;
}
