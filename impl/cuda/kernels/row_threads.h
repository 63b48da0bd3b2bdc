// How rows are given to warps and blocks by kernels that keep a row in registers while they go over it twice.
#pragma once

#include "device.h"

namespace tessera::cuda {

/// Threads of a row, and the packs each of them holds. Rows of several warps have a block of their own.
struct RowThreads {
  int threads;  ///< a multiple of a warp
  int rows;     ///< rows a block takes at once: more than 1 only for rows of one warp
  int packs;    ///< per thread; 0: the row does not fit registers, or not into packs
};

inline constexpr int kMostPacks = 4;

inline RowThreads row_threads(int64_t h, int pack, bool aligned_packs, int most_threads) {
  const int64_t packs = ceil_div(h, pack);
  if (!aligned_packs || packs > int64_t{kMostPacks} * most_threads) {
    return {h <= kWarp * 8 ? kWarp : 256, h <= kWarp * 8 ? 4 : 1, 0};
  }
  if (packs <= kWarp * kMostPacks) return {kWarp, 4, static_cast<int>(ceil_div(packs, kWarp))};
  const int64_t two_each = ceil_div(ceil_div(packs, 2), kWarp) * kWarp;
  const int threads = static_cast<int>(two_each < most_threads ? two_each : most_threads);
  return {threads, 1, static_cast<int>(ceil_div(packs, threads))};
}

}  // namespace tessera::cuda
