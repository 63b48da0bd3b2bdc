// The caching CPU allocator: per-thread free lists by size class over mmap.
#include "kernels/cpu/caching_allocator.h"

#include <c10/core/CPUAllocator.h>
#include <c10/util/Exception.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstdlib>
#include <limits>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

namespace tessera::kernels {
namespace {

constexpr size_t kSmall = 64 << 10;  // below: malloc, which keeps such sizes itself
constexpr size_t kHugePage = 2 << 20;
constexpr size_t kAlign = 64;
constexpr size_t kSteps = 8;  // size classes per doubling: at most an eighth is wasted
constexpr int kSmallBits = 16;
constexpr int kClasses = 8 * (40 - kSmallBits);  // up to 1 TiB; beyond, blocks are not kept
constexpr int kUncached = -1;
constexpr int kMalloced = -2;

/// Lies in the 64 bytes before the data.
struct alignas(kAlign) Header {
  void* base;        ///< what munmap or free takes
  size_t mapped;     ///< bytes at base
  Header* next;      ///< in a free list
  int64_t freed_at;  ///< seconds of the coarse monotonic clock
  int size_class;
  bool fresh;  ///< never in a free list
};
static_assert(sizeof(Header) == kAlign);

void* data_of(Header* h) {
  return h + 1;
}
Header* header_of(void* data) {
  return static_cast<Header*>(data) - 1;
}

struct SizeClass {
  int index;
  size_t bytes;
};

/// Sizes s * 2^e / 8 with s in 8..15, at least kSmall.
SizeClass class_of(size_t n) {
  const int exponent = std::bit_width(n - 1) - 1;  // 2^exponent < n <= 2^(exponent + 1), n > kSmall / 2
  const size_t step = (size_t{1} << exponent) / kSteps;
  const size_t rounded = (n + step - 1) / step * step;
  const auto within = static_cast<int>((rounded - (size_t{1} << exponent)) / step);  // 1 .. 8
  return {static_cast<int>(kSteps) * (exponent - kSmallBits + 1) + within - 1, rounded};
}

int64_t now_seconds() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
  return t.tv_sec;
}

struct Pool;

/// One thread's free lists. The mutex is contended only when another thread steals or trims.
struct ThreadCache {
  std::mutex mutex;
  std::array<Header*, kClasses> lists{};
};

/// Everything the caches share. Made once and never destroyed: tensors may outlive static destructors.
struct Pool {
  std::mutex mutex;  // guards `caches`; taken before any cache's own mutex
  std::vector<ThreadCache*> caches;
  ThreadCache orphans;  // blocks of ended threads
  std::atomic<int64_t> in_use{0}, cached{0}, mapped_blocks{0}, max_cached{0}, idle_seconds{10}, next_trim{0};
  std::atomic<unsigned> color{0};
};

Pool& pool() {
  static Pool* const p = [] {
    auto* made = new Pool;
    made->caches.push_back(&made->orphans);
    return made;
  }();
  return *p;
}

void unmap(Header* h) {
  pool().cached -= static_cast<int64_t>(h->mapped);
  ::munmap(h->base, h->mapped);
}

/// Moves a cache's blocks that were freed before `deadline` to `out`.
void take_older(ThreadCache& cache, int64_t deadline, std::vector<Header*>& out) {
  const std::lock_guard lock(cache.mutex);
  for (Header*& list : cache.lists) {
    Header** link = &list;
    while (*link) {
      if ((*link)->freed_at <= deadline) {
        out.push_back(*link);
        *link = (*link)->next;
      } else {
        link = &(*link)->next;
      }
    }
  }
}

void release_older(int64_t deadline) {
  std::vector<Header*> old;
  {
    const std::lock_guard lock(pool().mutex);
    for (ThreadCache* cache : pool().caches) take_older(*cache, deadline, old);
  }
  for (Header* h : old) unmap(h);
}

/// Once a second at most, by whoever comes by.
void trim_idle() {
  Pool& p = pool();
  const int64_t now = now_seconds();
  int64_t next = p.next_trim.load(std::memory_order_relaxed);
  if (now < next || !p.next_trim.compare_exchange_strong(next, now + 1)) return;
  release_older(now - p.idle_seconds);
}

/// Registers the calling thread's cache and hands its blocks to the orphans when the thread ends.
struct CacheOwner {
  std::unique_ptr<ThreadCache> cache = std::make_unique<ThreadCache>();
  CacheOwner() {
    const std::lock_guard lock(pool().mutex);
    pool().caches.push_back(cache.get());
  }
  ~CacheOwner();
};

// Trivial thread locals stay readable while other thread locals, which may hold tensors, are destroyed.
thread_local ThreadCache* own_cache = nullptr;
thread_local bool thread_ends = false;

CacheOwner::~CacheOwner() {
  thread_ends = true;
  own_cache = nullptr;
  Pool& p = pool();
  const std::lock_guard lock(p.mutex);
  std::erase(p.caches, cache.get());
  const std::lock_guard orphans(p.orphans.mutex);
  for (int i = 0; i < kClasses; ++i) {
    while (Header* h = cache->lists[i]) {
      cache->lists[i] = h->next;
      h->next = p.orphans.lists[i];
      p.orphans.lists[i] = h;
    }
  }
}

ThreadCache& my_cache() {
  if (own_cache) return *own_cache;
  if (thread_ends) return pool().orphans;
  thread_local CacheOwner owner;
  own_cache = owner.cache.get();
  return *own_cache;
}

Header* pop(ThreadCache& cache, int size_class) {
  const std::lock_guard lock(cache.mutex);
  Header* h = cache.lists[size_class];
  if (h) cache.lists[size_class] = h->next;
  return h;
}

Header* take_cached(int size_class) {
  if (Header* h = pop(my_cache(), size_class)) return h;
  Pool& p = pool();
  const std::lock_guard lock(p.mutex);
  for (ThreadCache* cache : p.caches) {
    if (Header* h = pop(*cache, size_class)) return h;
  }
  return nullptr;
}

void* map_memory(size_t bytes) {
  for (int attempt = 0; attempt < 2; ++attempt) {
    void* p = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p != MAP_FAILED) return p;
    if (attempt == 0) release_older(std::numeric_limits<int64_t>::max());
  }
  return nullptr;
}

[[noreturn]] void fail(size_t n) {
  TORCH_CHECK_WITH(OutOfMemoryError, false, "cpu allocator: cannot allocate ", n, " bytes");
}

/// A new block. Data starts at a different cache line of the first pages from block to block: buffers that
/// all begin at the same offset of a page would fight for the same sets of the caches.
Header* map_block(size_t n, int size_class) {
  const size_t color = (pool().color.fetch_add(1, std::memory_order_relaxed) % 16) * 256;
  const size_t needed = n + 16 * 256 + sizeof(Header);
  const bool huge = needed >= kHugePage;
  const size_t mapped = huge ? needed + kHugePage : needed;
  char* base = static_cast<char*>(map_memory(mapped));
  if (!base) fail(n);
  char* begin = base;
  if (huge) {
    begin = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(base) + kHugePage - 1) & ~(kHugePage - 1));
    ::madvise(begin, needed, MADV_HUGEPAGE);  // refused where the kernel has no huge pages: nothing lost
  }
  pool().mapped_blocks++;
  return new (begin + color) Header{base, mapped, nullptr, 0, size_class, true};
}

void* allocate_small(size_t n) {
  char* base = static_cast<char*>(std::malloc(n + sizeof(Header) + kAlign));
  if (!base) fail(n);
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(base) + kAlign - 1) & ~(kAlign - 1);
  return data_of(new (reinterpret_cast<void*>(begin)) Header{base, n, nullptr, 0, kMalloced, false});
}

void* allocate_large(size_t n) {
  trim_idle();
  const SizeClass size = class_of(n);
  Header* h = nullptr;
  if (size.index >= kClasses) {
    h = map_block(n, kUncached);
  } else if ((h = take_cached(size.index))) {
    pool().cached -= static_cast<int64_t>(h->mapped);
  } else {
    h = map_block(size.bytes, size.index);
  }
  pool().in_use += static_cast<int64_t>(h->mapped);
  return data_of(h);
}

void release(void* data) {
  if (!data) return;
  Header* h = header_of(data);
  if (h->size_class == kMalloced) {
    std::free(h->base);
    return;
  }
  Pool& p = pool();
  const auto bytes = static_cast<int64_t>(h->mapped);
  p.in_use -= bytes;
  if (p.cached.fetch_add(bytes) + bytes > p.max_cached || h->size_class == kUncached) {
    unmap(h);
    return;
  }
  h->freed_at = now_seconds();
  h->fresh = false;
  {
    ThreadCache& cache = my_cache();
    const std::lock_guard lock(cache.mutex);
    h->next = cache.lists[h->size_class];
    cache.lists[h->size_class] = h;
  }
  trim_idle();
}

class CachingAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t n) override {
    const c10::Device cpu(c10::DeviceType::CPU);
    if (n == 0) return {nullptr, nullptr, &release, cpu};
    TORCH_CHECK_WITH(OutOfMemoryError, n <= std::numeric_limits<size_t>::max() / 4,
                     "cpu allocator: cannot allocate ", n, " bytes");
    void* p = n < kSmall ? allocate_small(n) : allocate_large(n);
    return {p, p, &release, cpu};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* dest, const void* src, size_t count) const override {
    default_copy_data(dest, src, count);
  }
};

CachingAllocator& allocator() {
  static auto* const made = new CachingAllocator;
  return *made;
}

constexpr bool sanitized() {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
  return true;
#endif
#endif
  return false;
}

constexpr uint8_t kPriority = 1;

}  // namespace

bool install_caching_allocator(const CachingAllocatorOptions& options) {
  if (sanitized()) return false;
  static std::mutex installing;
  const std::lock_guard lock(installing);
  const int64_t memory = static_cast<int64_t>(::sysconf(_SC_PHYS_PAGES)) * ::sysconf(_SC_PAGESIZE);
  pool().max_cached = options.max_cached_bytes >= 0 ? options.max_cached_bytes : memory / 4;
  pool().idle_seconds = static_cast<int64_t>(std::clamp(options.idle_seconds, 0.0, 1e9));
  if (c10::GetCPUAllocator() != &allocator()) c10::SetCPUAllocator(&allocator(), kPriority);
  return c10::GetCPUAllocator() == &allocator();
}

void uninstall_caching_allocator() {
  if (c10::GetCPUAllocator() == &allocator()) c10::SetCPUAllocator(c10::GetDefaultCPUAllocator(), kPriority);
  release_cached_memory();
}

void release_cached_memory() {
  release_older(std::numeric_limits<int64_t>::max());
}

bool fresh_memory(const c10::DataPtr& memory) {
  return memory.get() != nullptr && memory.get_deleter() == &release && header_of(memory.get())->fresh;
}

CachingAllocatorStats caching_allocator_stats() {
  const Pool& p = pool();
  return {p.in_use, p.cached, p.mapped_blocks};
}

}  // namespace tessera::kernels
