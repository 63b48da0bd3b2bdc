// A caching allocator for CPU tensors. Eager training frees and allocates the same few hundred buffers each
// step; glibc gives large ones back to the kernel at once, and taking the page faults again costs more than
// most element-wise kernels themselves.
#pragma once

#include <c10/core/Allocator.h>

#include <cstdint>

namespace tessera::kernels {

struct CachingAllocatorOptions {
  /// Freed blocks are kept up to this many bytes over all threads; -1: a quarter of the machine's memory.
  int64_t max_cached_bytes = -1;
  /// A block nobody used for this long goes back to the operating system at the next large allocation or
  /// release.
  double idle_seconds = 10;
};

/// Makes LibTorch's CPU tensors of this process come from the caching allocator, from now on; memory
/// allocated before keeps its own release. Affects every user of LibTorch in the process, so a library that
/// is a guest asks its host: nothing installs it by itself. Returns false, and changes nothing, in sanitizer
/// builds (reused memory would hide bugs) and where somebody has set an allocator of higher priority. Later
/// calls only change the options. Thread-safe, but LibTorch's own switch is not: call it before other threads
/// allocate tensors.
///
/// Blocks of 64 KiB and more are kept in size classes (eight to the doubling), 2 MiB and more on huge pages.
/// A thread first takes what it freed itself, then what other threads hold. Under memory pressure (mmap
/// fails) all caches are emptied before an allocation fails with c10::OutOfMemoryError.
bool install_caching_allocator(const CachingAllocatorOptions& options = {});

/// Gives new tensors LibTorch's default allocator again and empties the caches; living tensors stay valid.
void uninstall_caching_allocator();

/// Gives every cached block of every thread back to the operating system.
void release_cached_memory();

/// Whether this memory has been the allocator's from the operating system to its present owner alone: all
/// zero, if that owner has not written to it.
bool fresh_memory(const c10::DataPtr& memory);

struct CachingAllocatorStats {
  int64_t in_use_bytes = 0;   ///< in living blocks of 64 KiB and more
  int64_t cached_bytes = 0;   ///< freed and kept
  int64_t mapped_blocks = 0;  ///< blocks ever taken from the operating system
};
CachingAllocatorStats caching_allocator_stats();

}  // namespace tessera::kernels
