// Device memory: addresses in a window that the host may not touch, and behind each live one, at a constant
// distance, memory of the host that costs nothing until it is written. Also pinned memory, copies, and the
// driver's own mapping of physical memory into reserved addresses (LibTorch's expandable segments).
#include <cuda.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "trace.h"

namespace dry {
namespace {

constexpr size_t kWindow = size_t{16} << 40;
constexpr size_t kGranule = size_t{2} << 20;
/// What a context and loaded kernels take, as seen on real devices.
constexpr size_t kContext = size_t{512} << 20;

/// Memory of a device, counted while it lives: a mapping keeps what cuMemCreate made after its release.
struct Physical {
  size_t size;
  int device;
  Physical(size_t bytes, int of) : size(bytes), device(of) {}
  ~Physical();
};
using PhysicalPtr = std::shared_ptr<Physical>;

struct Block {
  size_t size = 0;
  int device = 0;
  PhysicalPtr physical;
};

struct Memory {
  char* window = nullptr;
  char* backing = nullptr;
  size_t next = 0;                          // of the window, in bytes
  std::map<uintptr_t, Block> blocks;        // that hold something
  std::map<uintptr_t, size_t> reserved;     // by cuMemAddressReserve
  std::multimap<size_t, uintptr_t> vacant;  // addresses to be given again
  std::vector<size_t> used, peak;           // bytes a device
  std::map<uintptr_t, size_t> pinned;
  std::map<CUmemGenericAllocationHandle, PhysicalPtr> physical;
  CUmemGenericAllocationHandle next_handle = 1;
};

char* map(void* at, size_t size, int protection, int flags) {
  void* out = mmap(at, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0);
  if (out == MAP_FAILED) {
    std::perror("dry CUDA runtime: mmap");
    std::abort();
  }
  return static_cast<char*>(out);
}

Memory& memory() {
  static Memory* all = [] {
    auto* m = new Memory;
    m->window = map(nullptr, kWindow, PROT_NONE, 0);
    m->backing = map(nullptr, kWindow, PROT_NONE, 0);
    trace("window %zx %zx", reinterpret_cast<size_t>(m->window),
          reinterpret_cast<size_t>(m->window) + kWindow);
    m->used.resize(static_cast<size_t>(std::max(1, device_count())));
    m->peak.resize(m->used.size());
    return m;
  }();
  return *all;
}

size_t rounded(size_t bytes) {
  return (bytes + kGranule - 1) / kGranule * kGranule;
}

uintptr_t take_addresses(size_t size) {
  Memory& m = memory();
  if (const auto at = m.vacant.find(size); at != m.vacant.end()) {
    const uintptr_t out = at->second;
    m.vacant.erase(at);
    return out;
  }
  if (m.next + size > kWindow) return 0;
  const auto out = reinterpret_cast<uintptr_t>(m.window) + m.next;
  m.next += size;
  return out;
}

char* behind(uintptr_t address) {
  return memory().backing + (address - reinterpret_cast<uintptr_t>(memory().window));
}

Physical::~Physical() {
  memory().used[static_cast<size_t>(device)] -= size;
}

/// Null when the device has no more.
PhysicalPtr take(size_t size, int device) {
  Memory& m = memory();
  const auto d = static_cast<size_t>(device);
  if (m.used[d] + size > properties().totalGlobalMem - kContext) return nullptr;
  m.used[d] += size;
  m.peak[d] = std::max(m.peak[d], m.used[d]);
  return std::make_shared<Physical>(size, device);
}

void fill(uintptr_t address, const PhysicalPtr& physical) {
  map(behind(address), physical->size, PROT_READ | PROT_WRITE, MAP_FIXED);
  memory().blocks[address] = {physical->size, physical->device, physical};
}

void empty(uintptr_t address) {
  const auto at = memory().blocks.find(address);
  trace("gone %zx %zx", address, at->second.size);
  map(behind(address), at->second.size, PROT_NONE, MAP_FIXED);
  memory().blocks.erase(at);
}

std::map<uintptr_t, Block>::iterator block_of(uintptr_t address) {
  auto& blocks = memory().blocks;
  auto at = blocks.upper_bound(address);
  if (at == blocks.begin()) return blocks.end();
  --at;
  return address < at->first + at->second.size ? at : blocks.end();
}

}  // namespace

bool is_pinned(const void* pointer) {
  const auto& pinned = memory().pinned;
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  auto at = pinned.upper_bound(address);
  if (at == pinned.begin()) return false;
  --at;
  return address < at->first + at->second;
}

namespace {

/// More than this is only said to be copied: kernels compute nothing, so large contents mean nothing either.
size_t copy_limit() {
  static const size_t limit = [] {
    const char* text = std::getenv("TESSERA_DRY_COPY_LIMIT");
    return text != nullptr ? static_cast<size_t>(std::strtoull(text, nullptr, 10)) : SIZE_MAX;
  }();
  return limit;
}

const char* place(const void* pointer) {
  return is_device(pointer) ? "device" : is_pinned(pointer) ? "pinned" : "pageable";
}

cudaError_t copy(const char* call, void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                 cudaStream_t stream, bool waits) {
  listen();
  Lock lock(guard());
  if (bytes == 0) return cudaSuccess;
  char* out = static_cast<char*>(reach(to, bytes));
  const char* in = static_cast<const char*>(reach(from, bytes));
  if (out == nullptr || in == nullptr) {
    return fail(cudaErrorInvalidValue, "%s: %zu bytes to %p from %p leave an allocation", call, bytes, to,
                from);
  }
  const bool to_device = is_device(to), from_device = is_device(from);
  const bool fits = kind == cudaMemcpyDefault ||
                    (to_device == (kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice) &&
                     from_device == (kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice));
  if (!fits)
    return fail(cudaErrorInvalidValue, "%s: kind %d, to %s from %s", call, kind, place(to), place(from));
  const bool pageable = (!to_device && !is_pinned(to)) || (!from_device && !is_pinned(from));
  // The host waits where its memory is pageable and written to; what is read from there is staged first.
  const bool blocks = waits || (pageable && !to_device);
  log("copy bytes=%zu to=%s from=%s%s%s", bytes, place(to), place(from), blocks ? " wait" : "",
      waits ? " whole" : "");
  if (waits) {
    if (const auto error = allowed_in_capture(call)) return error;
  }
  Stream* s = find(stream);
  if (s == nullptr) return fail(cudaErrorInvalidResourceHandle, "%s: no such stream", call);
  if (s->capture && pageable) {
    // What CUDA says of pageable memory in a capture.
    return fail(cudaErrorStreamCaptureUnsupported, "%s: pageable memory", call);
  }
  std::function<void()> run = [] {};
  if (from_device && !to_device && (bytes == 8 * s->answer.size() || bytes + 16 == 8 * s->answer.size())) {
    run = [out, bytes, answer = std::move(s->answer)] { std::memcpy(out, answer.data(), bytes); };
    s->answer.clear();
  } else if (from_device && !to_device && bytes <= sizeof(double)) {
    // A result that the host reads: what lies there is whatever the memory held before.
    run = [out, bytes] { std::memset(out, 0, bytes); };
  } else if (bytes <= copy_limit()) {
    if (pageable && to_device && !from_device && !s->queue.empty()) {
      auto staged = std::make_shared<std::vector<char>>(in, in + bytes);
      run = [out, staged, bytes] { std::memcpy(out, staged->data(), bytes); };
    } else {
      run = [out, in, bytes] { std::memmove(out, in, bytes); };
    }
  }
  if (const auto error = enqueue(stream, call, std::move(run))) return error;
  trace_work(*s, call, {{to, bytes, true}, {from, bytes, false}});
  if (blocks) {
    trace("await", *s);
    auto mark = std::make_shared<Mark>();
    if (const auto error = enqueue(stream, call, [mark] { mark->done = true; })) return error;
    progressed().wait(lock, [&] { return mark->done; });
  }
  return cudaSuccess;
}

cudaError_t set(const char* call, void* to, int value, size_t bytes, cudaStream_t stream) {
  listen();
  const Lock lock(guard());
  if (bytes == 0) return cudaSuccess;
  char* out = static_cast<char*>(reach(to, bytes));
  if (out == nullptr)
    return fail(cudaErrorInvalidValue, "%s: %zu bytes at %p leave an allocation", call, bytes, to);
  log("set bytes=%zu", bytes);
  if (const Stream* s = find(stream)) trace_work(*s, call, {{to, bytes, true}});
  return enqueue(stream, call, [out, value, bytes] {
    constexpr size_t kPage = 4096;
    const auto begin = (reinterpret_cast<uintptr_t>(out) + kPage - 1) / kPage * kPage;
    const auto end = (reinterpret_cast<uintptr_t>(out) + bytes) / kPage * kPage;
    if (value == 0 && end > begin + (1 << 20)) {
      // Whole pages are forgotten, which reads as zeros.
      std::memset(out, 0, begin - reinterpret_cast<uintptr_t>(out));
      madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
      std::memset(reinterpret_cast<void*>(end), 0, reinterpret_cast<uintptr_t>(out) + bytes - end);
    } else if (bytes <= copy_limit()) {
      std::memset(out, value, bytes);
    }
  });
}

__attribute__((destructor)) void report() {
  if (!logging()) return;
  for (size_t d = 0; d < memory().peak.size(); ++d) log("peak device=%zu bytes=%zu", d, memory().peak[d]);
}

}  // namespace

bool is_device(const void* pointer) {
  const char* p = static_cast<const char*>(pointer);
  return p >= memory().window && p < memory().window + kWindow;
}

void* reach(const void* pointer, size_t bytes) {
  if (!is_device(pointer)) return const_cast<void*>(pointer);
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  auto at = block_of(address);
  const uintptr_t end = address + bytes;
  const auto& blocks = memory().blocks;
  while (at != blocks.end() && at->first + at->second.size < end) {  // mapped pieces may lie side by side
    const uintptr_t next = at->first + at->second.size;
    ++at;
    if (at != blocks.end() && at->first != next) at = memory().blocks.end();
  }
  return at == blocks.end() ? nullptr : behind(address);
}

size_t bytes_at(const void* pointer) {
  const auto at = memory().blocks.find(reinterpret_cast<uintptr_t>(pointer));
  return at == memory().blocks.end() ? 0 : at->second.size;
}

int device_of(const void* pointer) {
  const auto at = block_of(reinterpret_cast<uintptr_t>(pointer));
  return at == memory().blocks.end() ? -1 : at->second.device;
}

void* allocate(size_t bytes, int device) {
  const Lock lock(guard());
  const size_t size = rounded(bytes);
  const PhysicalPtr physical = take(size, device);
  const uintptr_t address = physical != nullptr ? take_addresses(size) : 0;
  if (address == 0) return nullptr;
  fill(address, physical);
  return reinterpret_cast<void*>(address);
}

}  // namespace dry

using namespace dry;

DRY_API cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  const Lock lock(guard());
  if (const auto error = allowed_in_capture("cudaMalloc")) return error;
  *pointer = nullptr;
  if (bytes == 0) return cudaSuccess;
  *pointer = allocate(bytes, current_device());
  log("malloc bytes=%zu at=%p", bytes, *pointer);
  return *pointer != nullptr ? cudaSuccess : fail(cudaErrorMemoryAllocation, "cudaMalloc: %zu bytes", bytes);
}

DRY_API cudaError_t cudaFree(void* pointer) {
  const Lock lock(guard());
  if (pointer == nullptr) return cudaSuccess;
  if (const auto error = allowed_in_capture("cudaFree")) return error;
  const auto at = memory().blocks.find(reinterpret_cast<uintptr_t>(pointer));
  if (at == memory().blocks.end()) return fail(cudaErrorInvalidValue, "cudaFree: %p", pointer);
  log("free bytes=%zu at=%p", at->second.size, pointer);
  memory().vacant.emplace(at->second.size, at->first);
  empty(at->first);
  return cudaSuccess;
}

DRY_API cudaError_t cudaMemGetInfo(size_t* available, size_t* total) {
  const Lock lock(guard());
  *total = properties().totalGlobalMem;
  *available = *total - kContext - memory().used[static_cast<size_t>(current_device())];
  return cudaSuccess;
}

DRY_API cudaError_t cudaHostAlloc(void** pointer, size_t bytes, unsigned) {
  const Lock lock(guard());
  if (const auto error = allowed_in_capture("cudaHostAlloc")) return error;
  if (bytes == 0) return fail(cudaErrorInvalidValue, "cudaHostAlloc: 0 bytes");
  *pointer = map(nullptr, bytes, PROT_READ | PROT_WRITE, 0);
  memory().pinned[reinterpret_cast<uintptr_t>(*pointer)] = bytes;
  log("pin bytes=%zu", bytes);
  return cudaSuccess;
}

DRY_API cudaError_t cudaFreeHost(void* pointer) {
  const Lock lock(guard());
  if (pointer == nullptr) return cudaSuccess;
  const auto at = memory().pinned.find(reinterpret_cast<uintptr_t>(pointer));
  if (at == memory().pinned.end()) return fail(cudaErrorInvalidValue, "cudaFreeHost: %p", pointer);
  log("unpin bytes=%zu", at->second);
  trace("gone %zx %zx", at->first, at->second);
  munmap(pointer, at->second);
  memory().pinned.erase(at);
  return cudaSuccess;
}

DRY_API cudaError_t cudaHostRegister(void* pointer, size_t bytes, unsigned) {
  const Lock lock(guard());
  if (!memory().pinned.emplace(reinterpret_cast<uintptr_t>(pointer), bytes).second) {
    return fail(cudaErrorInvalidValue, "cudaHostRegister: %p is registered", pointer);
  }
  log("pin bytes=%zu registered", bytes);
  return cudaSuccess;
}

DRY_API cudaError_t cudaHostUnregister(void* pointer) {
  const Lock lock(guard());
  return memory().pinned.erase(reinterpret_cast<uintptr_t>(pointer)) > 0
             ? cudaSuccess
             : fail(cudaErrorInvalidValue, "cudaHostUnregister: %p", pointer);
}

DRY_API cudaError_t cudaHostGetDevicePointer(void** out, void* host, unsigned) {
  *out = host;
  return cudaSuccess;
}

DRY_API cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* out, const void* pointer) {
  const Lock lock(guard());
  *out = {};
  void* address = const_cast<void*>(pointer);
  if (const int device = device_of(pointer); device >= 0) {
    out->type = cudaMemoryTypeDevice;
    out->device = device;
    out->devicePointer = address;
  } else if (is_pinned(pointer)) {
    out->type = cudaMemoryTypeHost;
    out->device = current_device();
    out->devicePointer = out->hostPointer = address;
  } else {
    out->type = cudaMemoryTypeUnregistered;
    out->device = -2;
    out->hostPointer = address;
  }
  return cudaSuccess;
}

DRY_API cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  return copy("cudaMemcpy", to, from, bytes, kind, nullptr, true);
}

DRY_API cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                                    cudaStream_t stream) {
  return copy("cudaMemcpyAsync", to, from, bytes, kind, stream, false);
}

DRY_API cudaError_t cudaMemcpyPeerAsync(void* to, int, const void* from, int, size_t bytes,
                                        cudaStream_t stream) {
  return copy("cudaMemcpyPeerAsync", to, from, bytes, cudaMemcpyDeviceToDevice, stream, false);
}

DRY_API cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch,
                                      size_t width, size_t height, cudaMemcpyKind kind, cudaStream_t stream) {
  for (size_t row = 0; row < height; ++row) {
    if (const auto error =
            copy("cudaMemcpy2DAsync", static_cast<char*>(to) + row * to_pitch,
                 static_cast<const char*>(from) + row * from_pitch, width, kind, stream, false)) {
      return error;
    }
  }
  return cudaSuccess;
}

DRY_API cudaError_t cudaMemset(void* to, int value, size_t bytes) {
  return set("cudaMemset", to, value, bytes, nullptr);
}

DRY_API cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  return set("cudaMemsetAsync", to, value, bytes, stream);
}

// ---- The driver's mapping of memory ----

DRY_API CUresult cuMemGetAllocationGranularity(size_t* granularity, const CUmemAllocationProp*,
                                               CUmemAllocationGranularity_flags) {
  *granularity = kGranule;
  return CUDA_SUCCESS;
}

DRY_API CUresult cuMemAddressReserve(CUdeviceptr* pointer, size_t size, size_t, CUdeviceptr,
                                     unsigned long long) {
  const Lock lock(guard());
  const uintptr_t address = size % kGranule == 0 ? take_addresses(size) : 0;
  if (address == 0) return CUDA_ERROR_INVALID_VALUE;
  memory().reserved[address] = size;
  log("reserve bytes=%zu at=%p", size, reinterpret_cast<void*>(address));
  *pointer = address;
  return CUDA_SUCCESS;
}

DRY_API CUresult cuMemAddressFree(CUdeviceptr pointer, size_t size) {
  const Lock lock(guard());
  const auto at = memory().reserved.find(pointer);
  if (at == memory().reserved.end() || at->second != size) return CUDA_ERROR_INVALID_VALUE;
  memory().vacant.emplace(size, at->first);
  memory().reserved.erase(at);
  return CUDA_SUCCESS;
}

DRY_API CUresult cuMemCreate(CUmemGenericAllocationHandle* handle, size_t size,
                             const CUmemAllocationProp* properties, unsigned long long) {
  const Lock lock(guard());
  if (allowed_in_capture("cuMemCreate") != cudaSuccess) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  const int device = properties->location.id;
  if (size % kGranule != 0 || device < 0 || device >= device_count()) return CUDA_ERROR_INVALID_VALUE;
  log("malloc bytes=%zu mapped", size);
  PhysicalPtr physical = take(size, device);
  if (physical == nullptr) return CUDA_ERROR_OUT_OF_MEMORY;
  *handle = memory().next_handle++;
  memory().physical[*handle] = std::move(physical);
  return CUDA_SUCCESS;
}

DRY_API CUresult cuMemRelease(CUmemGenericAllocationHandle handle) {
  const Lock lock(guard());
  return memory().physical.erase(handle) > 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

DRY_API CUresult cuMemMap(CUdeviceptr pointer, size_t size, size_t, CUmemGenericAllocationHandle handle,
                          unsigned long long) {
  const Lock lock(guard());
  const auto at = memory().physical.find(handle);
  if (at == memory().physical.end() || at->second->size != size ||
      device_of(reinterpret_cast<void*>(pointer)) >= 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  fill(pointer, at->second);
  return CUDA_SUCCESS;
}

DRY_API CUresult cuMemSetAccess(CUdeviceptr pointer, size_t size, const CUmemAccessDesc*, size_t) {
  const Lock lock(guard());
  return reach(reinterpret_cast<void*>(pointer), size) != nullptr ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

DRY_API CUresult cuMemUnmap(CUdeviceptr pointer, size_t size) {
  const Lock lock(guard());
  for (uintptr_t at = pointer; at < pointer + size;) {
    const auto block = memory().blocks.find(at);
    if (block == memory().blocks.end()) return CUDA_ERROR_INVALID_VALUE;
    at += block->second.size;
    log("free bytes=%zu mapped", block->second.size);
    trace("unmapped %zx %zx", block->first, block->second.size);
    empty(block->first);
  }
  return CUDA_SUCCESS;
}
