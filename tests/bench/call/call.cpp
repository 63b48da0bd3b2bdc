// One call from C++ through tessera.hpp.
#include <chrono>
#include <cstdio>
#include <tessera/tessera.hpp>

template <class Call>
double nanoseconds_of(Call call) {
  const long rounds = 5000000;
  const auto start = std::chrono::steady_clock::now();
  for (long i = 0; i < rounds; ++i) call();
  return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start).count() / rounds;
}

int main() {
  std::vector<tessera::World> worlds = tessera::World::threads(1);
  volatile int sum = 0;
  const double empty = nanoseconds_of([&] { sum = sum + tessera_abi_version(); });
  const double call = nanoseconds_of([&] { sum = sum + worlds[0].rank(); });
  std::printf("cpp %.1f %.1f\n", empty, call);
}
