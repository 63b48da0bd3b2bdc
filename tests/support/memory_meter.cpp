// A counting allocator under LibTorch's CPU tensors.
#include "support/memory_meter.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>

namespace tessera::testing {

struct MemoryMeter::Book {
  std::mutex mutex;
  int64_t in_use = 0;
  int64_t peak = 0;

  void add(int64_t bytes) {
    const std::lock_guard lock(mutex);
    in_use += bytes;
    peak = std::max(peak, in_use);
  }
};

namespace {

constexpr size_t kAlignment = 64;

thread_local std::shared_ptr<MemoryMeter::Book> current_book;

// In front of each block, so that context and data are one pointer, as raw_allocate() needs.
struct Header {
  int64_t bytes;
  std::shared_ptr<MemoryMeter::Book> book;  // of the thread that asked: credited, whoever frees
};
static_assert(sizeof(Header) <= kAlignment);

void free_block(void* data) {
  if (!data) return;
  void* start = static_cast<std::byte*>(data) - kAlignment;
  auto* header = static_cast<Header*>(start);
  if (header->book) header->book->add(-header->bytes);
  header->~Header();
  std::free(start);
}

class CountingAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    const c10::Device cpu(c10::DeviceType::CPU);
    if (bytes == 0) return {nullptr, cpu};
    void* start = std::aligned_alloc(kAlignment, (bytes + 2 * kAlignment - 1) / kAlignment * kAlignment);
    if (!start) throw std::bad_alloc();
    auto* header = new (start) Header{static_cast<int64_t>(bytes), current_book};
    if (header->book) header->book->add(header->bytes);
    void* data = static_cast<std::byte*>(start) + kAlignment;
    return {data, data, &free_block, cpu};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &free_block; }
  void copy_data(void* to, const void* from, size_t bytes) const override { std::memcpy(to, from, bytes); }
};

void install() {
  static CountingAllocator allocator;
  static std::once_flag once;
  // Above the caching allocator, which leaves a higher one alone.
  std::call_once(once, [] { c10::SetCPUAllocator(&allocator, 255); });
}

}  // namespace

MemoryMeter::MemoryMeter() : book_(std::make_shared<Book>()) {
  install();
  current_book = book_;
}

MemoryMeter::~MemoryMeter() {
  current_book.reset();
}

int64_t MemoryMeter::in_use() const {
  const std::lock_guard lock(book_->mutex);
  return book_->in_use;
}

int64_t MemoryMeter::peak() const {
  const std::lock_guard lock(book_->mutex);
  return book_->peak;
}

void MemoryMeter::restart_peak() {
  const std::lock_guard lock(book_->mutex);
  book_->peak = book_->in_use;
}

}  // namespace tessera::testing
