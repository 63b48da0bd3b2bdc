// Memory, operators and streams of the fake device.
#include "fake_device.h"

#include <ATen/EmptyTensor.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/native/TensorFactories.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/view_native.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <sys/mman.h>
#include <torch/library.h>
#include <unistd.h>

#include <bit>
#include <cstring>
#include <deque>
#include <limits>
#include <map>
#include <mutex>

#include "comm/device_world.h"
#include "core/error.h"

namespace tessera::testing {
namespace {

// ---- Memory: mapped twice, once where it can be read and once, as the device's addresses, where it cannot.

constexpr size_t kBytes = size_t{4} << 30;  // reserved, not used

class Memory {
 public:
  static Memory& instance() {
    static auto* memory = new Memory;  // tensors may outlive statics
    return *memory;
  }

  void* allocate(size_t bytes) {
    const size_t size = std::bit_ceil(std::max<size_t>(bytes, 64));
    const std::lock_guard lock(mutex_);
    if (limit_ > 0 && held_ + size > limit_) {
      TORCH_CHECK_WITH(OutOfMemoryError, false, "Fake device out of memory. Tried to allocate ", size,
                       " bytes of ", limit_);
    }
    peak_ = std::max(peak_, held_ += size);
    auto& free = free_[size];
    size_t offset = used_;
    if (!free.empty()) {
      offset = free.back();
      free.pop_back();
    } else {
      TESSERA_CHECK(used_ + size <= kBytes, out_of_memory, "the fake device is full");
      used_ += size;
    }
    sizes_[offset] = size;
    std::memset(readable_ + offset, 0xff, bytes);  // NaN: nothing relies on fresh memory
    return device_ + offset;
  }

  void release(void* pointer) {
    const std::lock_guard lock(mutex_);
    const size_t offset = static_cast<std::byte*>(pointer) - device_;
    const size_t size = sizes_[offset];
    std::memset(readable_ + offset, 0xff, size);
    free_[size].push_back(offset);
    held_ -= size;
  }

  size_t peak() {
    const std::lock_guard lock(mutex_);
    return peak_;
  }

  size_t take_peak() {
    const std::lock_guard lock(mutex_);
    return std::exchange(peak_, held_);
  }

  void limit(size_t more) {
    const std::lock_guard lock(mutex_);
    limit_ = more > 0 ? held_ + more : 0;
  }

  std::byte* readable(const void* pointer) const {
    const auto* at = static_cast<const std::byte*>(pointer);
    TESSERA_CHECK(at >= device_ && at < device_ + kBytes, internal, "not a pointer to the fake device");
    return readable_ + (at - device_);
  }

 private:
  Memory() {
    void* readable =
        mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    void* device = mmap(nullptr, kBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    TESSERA_CHECK(readable != MAP_FAILED && device != MAP_FAILED, out_of_memory, "no address space");
    readable_ = static_cast<std::byte*>(readable);
    device_ = static_cast<std::byte*>(device);
  }

  std::byte* readable_ = nullptr;
  std::byte* device_ = nullptr;
  std::mutex mutex_;
  size_t used_ = 0;
  size_t held_ = 0;
  size_t peak_ = 0;
  size_t limit_ = 0;
  std::map<size_t, std::vector<size_t>> free_;  // by size
  std::map<size_t, size_t> sizes_;              // by offset
};

thread_local c10::DeviceIndex current_device = 0;

void release_memory(void* pointer) {
  if (pointer != nullptr) Memory::instance().release(pointer);
}

class FakeAllocator final : public c10::DeviceAllocator {
 public:
  bool initialized() override { return true; }
  void emptyCache(c10::MempoolId_t) override {}
  void recordStream(const c10::DataPtr&, c10::Stream) override {}
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex) override {
    c10::CachingDeviceAllocator::DeviceStats stats;
    stats.allocated_bytes[0].peak = static_cast<int64_t>(Memory::instance().peak());
    return stats;
  }
  void resetAccumulatedStats(c10::DeviceIndex) override {}
  void resetPeakStats(c10::DeviceIndex) override {}
  c10::DataPtr allocate(size_t bytes) override {
    void* data = bytes == 0 ? nullptr : Memory::instance().allocate(bytes);
    return {data, data, &release_memory, c10::Device(c10::kPrivateUse1, current_device)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release_memory; }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    std::memcpy(host_address(to), host_address(from), bytes);
  }
};

FakeAllocator allocator;
REGISTER_ALLOCATOR(c10::DeviceType::PrivateUse1, &allocator)

// ---- Streams: 0 is the eager one, on which operators have run when they return; the others are late.

struct LateStream {
  /// Only copies: it waits for nobody but this rank, so a stream that is told to wait for it can have that
  /// done at once. NCCL's inputs are read when it is called.
  bool copies = false;
  std::mutex mutex;
  std::deque<std::function<void()>> work;
  uint64_t queued = 0;
  uint64_t done = 0;
  uint64_t follows = 0;  ///< how many of its thread's eager operators it has been made to wait for
};
using LateStreamPtr = std::shared_ptr<LateStream>;

std::mutex streams_mutex;
std::map<int64_t, LateStreamPtr> streams;
int64_t next_stream = 1;

LateStreamPtr find_stream(int64_t id) {
  const std::lock_guard lock(streams_mutex);
  const auto found = streams.find(id);
  return found == streams.end() ? nullptr : found->second;
}

bool has_reached(LateStream& stream, uint64_t position) {
  const std::lock_guard lock(stream.mutex);
  return stream.done >= position;
}

/// Only the rank's own thread does the work of its streams.
void run_until(LateStream& stream, uint64_t position) {
  for (;;) {
    std::function<void()> work;
    {
      const std::lock_guard lock(stream.mutex);
      if (stream.done >= position || stream.work.empty()) return;
      work = std::move(stream.work.front());
      stream.work.pop_front();
    }
    work();
    const std::lock_guard lock(stream.mutex);
    ++stream.done;
  }
}

struct FakeEvent {
  LateStreamPtr stream;  // null: on the eager stream, and so reached
  uint64_t position = 0;
  uint64_t follows = 0;
};

/// Operators that this thread has run on the eager stream. They have run when they return, but on a GPU they
/// would not have.
thread_local uint64_t eager_operators = 0;

thread_local std::map<c10::DeviceIndex, int64_t> current_streams;

class FakeGuard final : public c10::impl::DeviceGuardImplInterface {
 public:
  c10::DeviceType type() const override { return c10::kPrivateUse1; }
  c10::Device exchangeDevice(c10::Device device) const override {
    const c10::DeviceIndex previous = current_device;
    current_device = device.index();
    return {c10::kPrivateUse1, previous};
  }
  c10::Device getDevice() const override { return {c10::kPrivateUse1, current_device}; }
  void setDevice(c10::Device device) const override { current_device = device.index(); }
  void uncheckedSetDevice(c10::Device device) const noexcept override { current_device = device.index(); }
  c10::DeviceIndex deviceCount() const noexcept override { return 64; }

  c10::Stream getStreamFromGlobalPool(c10::Device device, bool) const override {
    const int64_t id = new_late_stream();
    find_stream(id)->copies = true;
    return c10::Stream(c10::Stream::UNSAFE, device, id);
  }
  c10::Stream getStream(c10::Device device) const override {
    return c10::Stream(c10::Stream::UNSAFE, device, current_streams[device.index()]);
  }
  c10::Stream exchangeStream(c10::Stream stream) const override {
    int64_t& current = current_streams[stream.device_index()];
    const c10::Stream previous(c10::Stream::UNSAFE, stream.device(), current);
    current = stream.id();
    return previous;
  }

  void record(void** event, const c10::Stream& stream, c10::DeviceIndex, c10::EventFlag) const override {
    if (*event == nullptr) *event = new FakeEvent;
    auto* fake = static_cast<FakeEvent*>(*event);
    fake->stream = find_stream(stream.id());
    fake->follows = eager_operators;
    if (!fake->stream) return;
    const std::lock_guard lock(fake->stream->mutex);
    fake->follows = fake->stream->follows;
    fake->position = fake->stream->queued;
  }
  void block(void* event, const c10::Stream& stream) const override {
    auto* fake = static_cast<FakeEvent*>(event);
    if (const LateStreamPtr waits = find_stream(stream.id()); waits && fake != nullptr) {
      const std::lock_guard lock(waits->mutex);
      waits->follows = std::max(waits->follows, fake->follows);
    }
    if (fake == nullptr || !fake->stream || has_reached(*fake->stream, fake->position)) return;
    const auto wait = [of = fake->stream, position = fake->position] { run_until(*of, position); };
    if (find_stream(stream.id()) && !fake->stream->copies) {
      queue_on_stream(stream.id(), wait);
    } else {
      wait();
    }
  }
  bool queryEvent(void* event) const override {
    auto* fake = static_cast<FakeEvent*>(event);
    return fake == nullptr || !fake->stream || has_reached(*fake->stream, fake->position);
  }
  void synchronizeEvent(void* event) const override {
    auto* fake = static_cast<FakeEvent*>(event);
    if (fake != nullptr && fake->stream) run_until(*fake->stream, fake->position);
  }
  void destroyEvent(void* event, c10::DeviceIndex) const noexcept override {
    delete static_cast<FakeEvent*>(event);
  }
  bool queryStream(const c10::Stream& stream) const override {
    const LateStreamPtr late = find_stream(stream.id());
    return !late || has_reached(*late, late->queued);
  }
  void synchronizeStream(const c10::Stream& stream) const override {
    if (const LateStreamPtr late = find_stream(stream.id())) run_until(*late, late->queued);
  }
};

C10_REGISTER_GUARD_IMPL(PrivateUse1, FakeGuard)

// ---- Operators: views are views; all others run on copies in host memory.

at::Tensor empty(c10::SymIntArrayRef size, std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
                 std::optional<at::Device> device, std::optional<bool>,
                 std::optional<at::MemoryFormat> format) {
  const c10::DeviceGuard guard(device.value_or(at::Device(c10::kPrivateUse1, current_device)));
  return at::detail::empty_generic(C10_AS_INTARRAYREF_SLOW(size), &allocator,
                                   c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                   dtype.value_or(at::kFloat), format);
}

at::Tensor empty_strided(c10::SymIntArrayRef size, c10::SymIntArrayRef stride,
                         std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
                         std::optional<at::Device> device, std::optional<bool>) {
  const c10::DeviceGuard guard(device.value_or(at::Device(c10::kPrivateUse1, current_device)));
  return at::detail::empty_strided_generic(C10_AS_INTARRAYREF_SLOW(size), C10_AS_INTARRAYREF_SLOW(stride),
                                           &allocator, c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                           dtype.value_or(at::kFloat));
}

at::Tensor as_strided(const at::Tensor& self, c10::SymIntArrayRef size, c10::SymIntArrayRef stride,
                      std::optional<c10::SymInt> offset) {
  std::optional<int64_t> plain;
  if (offset) plain = offset->expect_int();
  return at::native::as_strided_tensorimpl(self, C10_AS_INTARRAYREF_SLOW(size),
                                           C10_AS_INTARRAYREF_SLOW(stride), plain);
}

at::Tensor reshape_alias(const at::Tensor& self, c10::SymIntArrayRef size, c10::SymIntArrayRef stride) {
  return as_strided(self, size, stride, std::nullopt);
}

at::Tensor view(const at::Tensor& self, c10::SymIntArrayRef size) {
  return at::native::view(self, C10_AS_INTARRAYREF_SLOW(size));
}

/// The same elements as a host tensor.
at::Tensor on_host(const at::Tensor& tensor) {
  if (tensor.device().is_cpu() || tensor.numel() == 0) {
    return tensor.device().is_cpu()
               ? tensor
               : at::empty_strided(tensor.sizes(), tensor.strides(), tensor.options().device(at::kCPU));
  }
  return at::from_blob(host_address(tensor.const_data_ptr()), tensor.sizes(), tensor.strides(),
                       tensor.options().device(at::kCPU));
}

// On a late stream the copy runs as late as it may; memory of the device is not kept for it, that of the host
// is.
at::Tensor& copy_(at::Tensor& self, const at::Tensor& from, bool non_blocking) {
  if (self.numel() == 0) return self;
  const int64_t stream = current_streams[(self.is_cpu() ? from : self).get_device()];
  const LateStreamPtr late = find_stream(stream);
  if (!late) ++eager_operators;
  if (late && non_blocking) {
    if (self.is_floating_point()) {
      on_host(self).fill_(std::numeric_limits<double>::quiet_NaN());
    } else {
      on_host(self).zero_();
    }
    queue_on_stream(stream, [to = on_host(self), of = on_host(from)] { to.copy_(of); });
    return self;
  }
  if (late) run_until(*late, late->queued);
  on_host(self).copy_(on_host(from));
  return self;
}

/// How results of operators that write into given tensors come back.
at::Tensor copy_back(const at::Tensor& from, const at::Tensor& to) {
  if (from.sizes() != to.sizes()) {
    TORCH_CHECK(to.numel() == 0, "an output has ", to.sizes(), ", its value ", from.sizes());
    const at::Tensor fresh = at::empty(from.sizes(), to.options());
    to.unsafeGetTensorImpl()->set_storage_keep_dtype(fresh.storage());
    to.unsafeGetTensorImpl()->set_sizes_contiguous(from.sizes());
  }
  on_host(to).copy_(on_host(from));
  return to;
}

at::Scalar local_scalar(const at::Tensor& self) {
  return on_host(self).item();
}

void run_on_host(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  bool device = false;
  bool host = false;
  const auto look = [&](const at::Tensor& tensor) {
    if (!tensor.defined() || tensor.dim() == 0) return;
    (tensor.device().is_cpu() ? host : device) = true;
  };
  for (const c10::IValue& value : torch::jit::last(*stack, op.schema().arguments().size())) {
    if (value.isTensor()) look(value.toTensor());
    if (value.isTensorList()) {
      for (const at::Tensor& tensor : value.toTensorVector()) look(tensor);
    }
  }
  TORCH_CHECK(!(device && host), op.schema().name(),
              " mixes tensors of a device with tensors in host memory");
  if (!find_stream(current_streams[current_device])) ++eager_operators;
  at::native::cpu_fallback(op, stack);
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("empty.memory_format", TORCH_FN(empty));
  m.impl("empty_strided", TORCH_FN(empty_strided));
  m.impl("as_strided", TORCH_FN(as_strided));
  m.impl("view", TORCH_FN(view));
  m.impl("_reshape_alias", TORCH_FN(reshape_alias));
  m.impl("copy_", TORCH_FN(copy_));
  m.impl("_copy_from_and_resize", TORCH_FN(copy_back));
  m.impl("_local_scalar_dense", TORCH_FN(local_scalar));
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, m) {
  m.fallback(torch::CppFunction::makeFromBoxedFunction<&run_on_host>());
}

// ---- What the plugin would offer.

std::mutex violations_mutex;
std::vector<std::string> violations;

int new_stream(int32_t /*device*/, int64_t* id, void** native) {
  *id = new_late_stream();
  *native = reinterpret_cast<void*>(*id);
  return 0;
}

void free_stream(int32_t /*device*/, void* native) {
  const std::lock_guard lock(streams_mutex);
  streams.erase(reinterpret_cast<int64_t>(native));
}

/// What runs on late streams runs on the rank's thread, when it waits; nothing runs elsewhere.
int await_device(int32_t /*device*/) {
  return 0;
}

const CudaCommunication kFakeCuda{kCudaCommunicationAbi, nullptr,     nullptr, new_stream,
                                  free_stream,           await_device};

std::vector<std::string> next_hosts;

}  // namespace

std::byte* host_address(const void* device_pointer) {
  return Memory::instance().readable(device_pointer);
}

void limit_memory(size_t more) {
  Memory::instance().limit(more);
}

void* allocate_device(size_t bytes) {
  return Memory::instance().allocate(bytes);
}

void release_device(void* pointer) {
  Memory::instance().release(pointer);
}

void place_on_hosts(std::vector<std::string> hosts) {
  next_hosts = std::move(hosts);
}

size_t take_peak_bytes() {
  return Memory::instance().take_peak();
}

int64_t new_late_stream() {
  const std::lock_guard lock(streams_mutex);
  streams[next_stream] = std::make_shared<LateStream>();
  return next_stream++;
}

bool follows_all_computed(int64_t stream) {
  const LateStreamPtr late = find_stream(stream);
  const std::lock_guard lock(late->mutex);
  return late->follows >= eager_operators;
}

void queue_on_stream(int64_t stream, std::function<void()> work) {
  const LateStreamPtr late = find_stream(stream);
  TESSERA_CHECK(late != nullptr, internal, "no stream ", stream);
  const std::lock_guard lock(late->mutex);
  late->work.push_back(std::move(work));
  ++late->queued;
}

void note_violation(const std::string& text) {
  const std::lock_guard lock(violations_mutex);
  violations.push_back(text);
}

std::vector<std::string> take_violations() {
  const std::lock_guard lock(violations_mutex);
  return std::exchange(violations, {});
}

std::vector<WorldPtr> fake_device_worlds(int ranks, bool nccl, WorldOptions options) {
  break_connections(-1);
  forget_registrations();
  const std::vector<std::string> hosts = std::exchange(next_hosts, {});
  options.device = "cpu";
  options.backend = "auto";
  options.intra_op_threads = 1;
  const std::vector<WorldPtr> controls = World::threads(ranks, options);
  std::vector<WorldPtr> worlds;
  for (int r = 0; r < ranks; ++r) {
    WorldOptions own = controls[r]->options();
    own.device = "cuda";
    worlds.push_back(make_device_world(controls[r], own,
                                       at::Device(c10::kPrivateUse1, static_cast<c10::DeviceIndex>(r)),
                                       {&kFakeCuda, nccl ? &fake_nccl() : nullptr, hosts}));
  }
  return worlds;
}

}  // namespace tessera::testing
