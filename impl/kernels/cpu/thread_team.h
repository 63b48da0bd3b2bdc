// The threads that share a rank's kernels: chunks handed out as threads come for them.
//
// LibTorch's own at::parallel_for gives each thread of an OpenMP team one equal part and waits for all of
// them, and libgomp's threads spin some 3 ms before they sleep. On cores that other programs use too, each
// call then waits for whichever thread the scheduler has put off, and the spinning threads use up the share
// of time that the waited-for one needs: one rank of 4 threads beside 4 busy programs fell to 289 tokens/s
// of 1703. Here a thread that comes late finds its chunks done by others, nobody waits for a thread that has
// not begun, and a thread without work sleeps after microseconds.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdint>

namespace tessera::kernels {

/// Threads that the next parallel_for of this thread may use: the intra-op setting of LibTorch, or 1 inside
/// another one.
int64_t team_threads();

/// For as long as it lives, LibTorch, oneDNN and MKL use one thread for what this thread calls.
class OneThread {
 public:
  OneThread();
  ~OneThread();
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int omp_ = 1;
  int mkl_ = 0;
};

namespace detail {
using Chunk = void (*)(const void* context, int64_t chunk);
void run_chunks(int64_t chunks, Chunk run, const void* context);
}  // namespace detail

/// f(chunk) for each of [0, chunks), in any order, on the calling thread and its team; what f calls runs on
/// one thread then. The first exception of f is thrown here once all has ended.
template <class F>
void for_chunks(int64_t chunks, const F& f) {
  if (chunks <= 1 || team_threads() == 1) {
    for (int64_t chunk = 0; chunk < chunks; ++chunk) f(chunk);
    return;
  }
  detail::run_chunks(
      chunks, [](const void* context, int64_t chunk) { (*static_cast<const F*>(context))(chunk); }, &f);
}

/// f(b, e) for parts of [begin, end) that cover it, each of `grain` at least where there are several, as
/// for_chunks does. Results must not depend on where the parts end.
template <class F>
void parallel_for(int64_t begin, int64_t end, int64_t grain, const F& f) {
  constexpr int64_t kChunksPerThread = 4;
  if (begin >= end) return;
  const int64_t n = end - begin, threads = team_threads();
  const int64_t chunks =
      threads == 1 ? 1 : std::clamp<int64_t>(n / std::max<int64_t>(1, grain), 1, threads * kChunksPerThread);
  for_chunks(chunks, [&](int64_t chunk) { f(begin + n * chunk / chunks, begin + n * (chunk + 1) / chunks); });
}

}  // namespace tessera::kernels
