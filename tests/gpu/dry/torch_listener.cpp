// Listens to LibTorch from inside: which memory its operators read and write, by their schemas, and which
// blocks its allocator gives and takes. Loaded by the dry runtime (trace.cpp) once LibTorch is there.
#include <ATen/core/Tensor.h>
#include <ATen/core/function_schema.h>
#include <ATen/record_function.h>
#include <c10/cuda/CUDACachingAllocator.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <numeric>

#include "trace.h"

namespace {

using dry::Access;

/// Pieces of a tensor whose memory has gaps; of more than so many, the first and last are taken.
constexpr int64_t kPieces = 16;

/// The memory of a tensor on a GPU.
void add_tensor(const at::Tensor& tensor, bool writes, std::vector<Access>& out) {
  if (!tensor.defined() || !tensor.is_cuda() || tensor.layout() != at::kStrided || tensor.numel() == 0)
    return;
  const auto* at = static_cast<const char*>(tensor.const_data_ptr());
  const auto element = static_cast<int64_t>(tensor.element_size());
  std::vector<int64_t> dims;
  for (int64_t d = 0; d < tensor.dim(); ++d) {
    if (tensor.size(d) > 1 && tensor.stride(d) > 0) dims.push_back(d);
  }
  std::sort(dims.begin(), dims.end(),
            [&](int64_t a, int64_t b) { return tensor.stride(a) < tensor.stride(b); });
  int64_t run = 1;
  size_t dense = 0;
  for (; dense < dims.size() && tensor.stride(dims[dense]) == run; ++dense) run *= tensor.size(dims[dense]);
  std::vector<int64_t> starts{0};
  for (size_t i = dense; i < dims.size(); ++i) {
    const int64_t size = tensor.size(dims[i]), stride = tensor.stride(dims[i]);
    const bool all = static_cast<int64_t>(starts.size()) * size <= kPieces;
    std::vector<int64_t> next;
    for (const int64_t start : starts) {
      for (int64_t k = 0; k < size; k += all ? 1 : std::max<int64_t>(1, size - 1))
        next.push_back(start + k * stride);
    }
    starts = std::move(next);
    if (static_cast<int64_t>(starts.size()) > kPieces) starts = {starts.front(), starts.back()};
  }
  for (const int64_t start : starts)
    out.push_back({at + start * element, static_cast<size_t>(run * element), writes});
}

void add_value(const c10::IValue& value, bool writes, std::vector<Access>& out) {
  if (value.isTensor()) {
    add_tensor(value.toTensor(), writes, out);
  } else if (value.isTensorList()) {
    for (const at::Tensor& tensor : value.toTensorVector()) add_tensor(tensor, writes, out);
  } else if (value.isList()) {
    for (const c10::IValue& element : value.toListRef()) add_value(element, writes, out);
  }
}

/// Which arguments an operator writes, and which results are memory of its own.
struct Roles {
  std::string name;
  std::vector<bool> written, made;
};

const Roles& roles_of(const at::RecordFunction& function) {
  static std::mutex mutex;
  static auto* all = new std::map<std::string, Roles>;
  std::string name = std::string(function.name()) + "." + function.overload_name();
  const std::lock_guard lock(mutex);
  const auto [at, fresh] = all->try_emplace(name);
  Roles& roles = at->second;
  if (!fresh) return roles;
  roles.name = std::move(name);
  if (const auto schema = function.operator_schema()) {
    for (const c10::Argument& argument : schema->arguments())
      roles.written.push_back(argument.alias_info() != nullptr && argument.alias_info()->isWrite());
    for (const c10::Argument& result : schema->returns())
      roles.made.push_back(result.alias_info() == nullptr);
  }
  return roles;
}

struct Call : at::ObserverContext {
  const Roles* roles = nullptr;
  std::vector<Access> given;
};

std::unique_ptr<at::ObserverContext> begins(const at::RecordFunction& function) {
  auto call = std::make_unique<Call>();
  call->roles = &roles_of(function);
  const auto inputs = function.inputs();
  const std::vector<bool>& written = call->roles->written;
  for (size_t i = 0; i < inputs.size(); ++i)
    add_value(inputs[i], i < written.size() && written[i], call->given);
  dry_operator_begins(call->roles->name.c_str(), call->given.data(), call->given.size());
  return call;
}

void ends(const at::RecordFunction& function, at::ObserverContext* context) {
  const std::vector<bool>& made = static_cast<Call*>(context)->roles->made;
  const auto& outputs = function.outputs();
  std::vector<Access> accesses;
  for (size_t i = 0; i < outputs.size() && i < made.size(); ++i) {
    if (made[i]) add_value(outputs[i], true, accesses);
  }
  dry_operator_ends(accesses.data(), accesses.size());
}

void block_changes(const c10::CachingDeviceAllocator::TraceEntry& entry) {
  using Entry = c10::CachingDeviceAllocator::TraceEntry;
  const char* verb = entry.action_ == Entry::ALLOC            ? "given"
                     : entry.action_ == Entry::FREE_COMPLETED ? "taken"
                                                              : nullptr;
  if (verb != nullptr) dry_block(verb, entry.device_, entry.addr_, entry.size_, entry.stream_);
}

}  // namespace

extern "C" __attribute__((visibility("default"))) void dry_start_listening() {
  c10::cuda::CUDACachingAllocator::attachAllocatorTraceTracker(block_changes);
  at::addGlobalCallback(at::RecordFunctionCallback(begins, ends)
                            .needsInputs(true)
                            .needsOutputs(true)
                            .scopes({at::RecordScope::FUNCTION}));
}
