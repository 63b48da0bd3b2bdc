// Runs a fuzz target without libFuzzer: on every seed, every prefix of small seeds, and fixed pseudo-random
// mutations. Usage: <name>_replay <corpus directory> [mutations per seed]. Whatever crashes here crashes
// again: nothing is random.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

void run(const std::string& input) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size());
}

std::string mutated(std::string text, const std::vector<std::string>& seeds, std::mt19937& random) {
  const auto below = [&](size_t n) { return n == 0 ? 0 : random() % n; };
  for (size_t changes = 1 + below(4); changes > 0; --changes) {
    const size_t at = below(text.size());
    switch (below(6)) {
      case 0:
        if (!text.empty()) text[at] = static_cast<char>(text[at] ^ (1u << below(8)));
        break;
      case 1:
        text.insert(at, 1, "{}[]\":,0919-.eE\\u\0\xff\n "[below(21)]);
        break;
      case 2:
        text.erase(at, 1 + below(8));
        break;
      case 3:
        text.insert(at, text.substr(below(text.size()), 1 + below(40)));
        break;
      case 4: {
        const std::string& other = seeds[below(seeds.size())];
        text.insert(at, other.substr(below(other.size()), 1 + below(40)));
        break;
      }
      default:
        text.insert(at, std::to_string((uint64_t{random()} << 32 | random()) >> below(64)));
    }
  }
  return text;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s <corpus directory> [mutations per seed]\n", argv[0]);
    return 2;
  }
  const long mutations = argc > 2 ? std::atol(argv[2]) : 2000;
  std::vector<std::filesystem::path> paths;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1], error)) paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  std::vector<std::string> seeds;
  for (const auto& path : paths) {
    std::ostringstream bytes;
    bytes << std::ifstream(path, std::ios::binary).rdbuf();
    seeds.push_back(bytes.str());
  }
  if (seeds.empty()) {
    std::fprintf(stderr, "no seeds in %s\n", argv[1]);
    return 2;
  }
  size_t runs = 0;
  std::mt19937 random(1);
  for (const std::string& seed : seeds) {
    run(seed);
    ++runs;
    for (size_t bytes = 0; seed.size() <= 4096 && bytes < seed.size(); ++bytes, ++runs)
      run(seed.substr(0, bytes));
    for (long i = 0; i < mutations; ++i, ++runs) run(mutated(seed, seeds, random));
  }
  std::printf("%zu seeds, %zu runs\n", seeds.size(), runs);
  return 0;
}
