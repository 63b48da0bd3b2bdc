// The fibers behind tests/gpu/emulator.h.
#include "emulator.h"

#include <ucontext.h>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <vector>

thread_local dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace tessera::cuda {
namespace {

constexpr size_t kStackBytes = 128 * 1024;
constexpr int kInvalidConfiguration = 9;
constexpr int kLanes = 32;

enum class Waits { nothing, block, warp };

struct Fiber {
  ucontext_t context;
  std::unique_ptr<char[]> stack;
  dim3 index;
  Waits waits = Waits::nothing;
  bool done = false;
  int shuffles = 0;
};

struct Block {
  ucontext_t scheduler;
  std::vector<Fiber> fibers;
  size_t current = 0;
  std::vector<uint64_t> slots;  // [warp][parity][lane]
  const std::function<void()>* thread = nullptr;
};

thread_local Block block_state;
thread_local int last_error = 0;

void fiber_main() {
  (*block_state.thread)();
  block_state.fibers[block_state.current].done = true;
  swapcontext(&block_state.fibers[block_state.current].context, &block_state.scheduler);
}

void wait_for(Waits what) {
  Fiber& self = block_state.fibers[block_state.current];
  self.waits = what;
  swapcontext(&self.context, &block_state.scheduler);
  threadIdx = self.index;
}

void start(Fiber& fiber, dim3 index) {
  if (!fiber.stack) fiber.stack = std::make_unique<char[]>(kStackBytes);
#if defined(__SANITIZE_ADDRESS__)
  // The last thread on this stack never returned from its frames.
  __asan_unpoison_memory_region(fiber.stack.get(), kStackBytes);
#endif
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack.get();
  fiber.context.uc_stack.ss_size = kStackBytes;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, fiber_main, 0);
  fiber.index = index;
  fiber.waits = Waits::nothing;
  fiber.done = false;
  fiber.shuffles = 0;
}

/// Frees the threads of [begin, end) when all that are left of them wait for `what`.
bool release(Waits what, size_t begin, size_t end) {
  size_t waiting = 0, done = 0;
  for (size_t i = begin; i < end; ++i) {
    waiting += block_state.fibers[i].waits == what;
    done += block_state.fibers[i].done;
  }
  if (waiting == 0 || waiting + done != end - begin) return false;
  if (what == Waits::warp && done > 0) throw std::logic_error("a lane has left before a warp operation");
  for (size_t i = begin; i < end; ++i) block_state.fibers[i].waits = Waits::nothing;
  return true;
}

/// Runs a warp as far as it gets without the others. True when it moved.
bool run_warp(size_t begin, size_t end) {
  bool moved = false;
  do {
    for (size_t i = begin; i < end; ++i) {
      Fiber& fiber = block_state.fibers[i];
      if (fiber.done || fiber.waits != Waits::nothing) continue;
      block_state.current = i;
      threadIdx = fiber.index;
      swapcontext(&block_state.scheduler, &fiber.context);
      moved = true;
    }
  } while (release(Waits::warp, begin, end));
  return moved;
}

/// Each warp runs ahead of all others as far as barriers let it, the first first or the last first: where a
/// barrier is missing, one of the two orders reads what is not there yet or no longer.
void run_block(size_t threads, bool last_first) {
  const size_t warps = (threads + kLanes - 1) / kLanes;
  const auto all_done = [&] {
    return std::all_of(block_state.fibers.begin(), block_state.fibers.begin() + static_cast<int64_t>(threads),
                       [](const Fiber& f) { return f.done; });
  };
  while (!all_done()) {
    bool moved = false;
    for (size_t w = 0; w < warps; ++w) {
      const size_t begin = (last_first ? warps - 1 - w : w) * kLanes;
      moved |= run_warp(begin, std::min(threads, begin + kLanes));
    }
    moved |= release(Waits::block, 0, threads);
    if (!moved) throw std::logic_error("the threads of a block wait at different barriers");
  }
}

}  // namespace

void emulate(dim3 grid, dim3 block, const std::function<void()>& thread) {
  const size_t threads = size_t{block.x} * block.y * block.z;
  const bool valid = threads > 0 && threads <= 1024 && block.z == 1 && grid.x > 0 && grid.x <= 0x7fffffffu &&
                     grid.y > 0 && grid.y <= 65535 && grid.z == 1;
  if (!valid) {
    last_error = kInvalidConfiguration;
    return;
  }
  static thread_local unsigned launches = 0;
  ++launches;
  block_state.thread = &thread;
  if (block_state.fibers.size() < threads) block_state.fibers.resize(threads);
  block_state.slots.assign((threads + kLanes - 1) / kLanes * 2 * kLanes, 0);
  gridDim = grid;
  blockDim = block;
  for (unsigned y = 0; y < grid.y; ++y) {
    for (unsigned x = 0; x < grid.x; ++x) {
      blockIdx = dim3(x, y);
      for (size_t i = 0; i < threads; ++i) {
        start(block_state.fibers[i],
              dim3(static_cast<unsigned>(i % block.x), static_cast<unsigned>(i / block.x)));
      }
      run_block(threads, (launches + x + y) % 2 == 1);
    }
  }
}

void emulated_block_barrier() {
  wait_for(Waits::block);
}
void emulated_warp_barrier() {
  wait_for(Waits::warp);
}

uint64_t* emulated_warp_slots() {
  Fiber& self = block_state.fibers[block_state.current];
  const size_t parity = static_cast<size_t>(self.shuffles++ % 2);
  return &block_state.slots[(block_state.current / kLanes * 2 + parity) * kLanes];
}
int emulated_lane() {
  return static_cast<int>(block_state.current % kLanes);
}

}  // namespace tessera::cuda

int cudaGetLastError() {
  const int error = tessera::cuda::last_error;
  tessera::cuda::last_error = 0;
  return error;
}
