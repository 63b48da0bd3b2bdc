// Which activations leave the device, and when they come back.
#include "schedule/activation_offload.h"

#include <ATen/ops/empty.h>

#include "core/error.h"
#include "schedule/unit_traits.h"

namespace tessera {
namespace {

/// Smaller ones stay: a copy costs more than their memory.
constexpr size_t kLeastBytes = 512;
/// Computations from a forward to its backward for which it pays to go and come back.
constexpr int64_t kLeastDistance = 4;

bool takes_saved(Op op) {
  return op == Op::backward || op == Op::backward_input || op == Op::recompute;
}

/// All of a tensor's storage, in its dtype.
at::Tensor whole_storage(const at::Tensor& tensor) {
  const auto elements = static_cast<int64_t>(tensor.storage().nbytes() / tensor.element_size());
  return tensor.as_strided({elements}, {1}, 0);
}

}  // namespace

ActivationOffload::ActivationOffload(at::Device device, const Program& program)
    : download_(device), upload_(device) {
  int64_t computed = 0;
  std::map<Key, int64_t> forwards;
  for (const Instruction& now : program.instructions) {
    if (!computes(now.op)) continue;
    ++computed;
    const Key key{now.unit, now.microbatch};
    if (now.op == Op::forward) forwards[key] = computed;
    if (!takes_saved(now.op) || forwards.count(key) == 0 || distance_.count(key) != 0) continue;
    distance_[key] = computed - forwards[key];
    place_[key] = order_.size();
    order_.push_back(key);
  }
}

ActivationOffload::Stash ActivationOffload::collect(std::vector<Saved>& saved) const {
  Stash stash;
  std::map<const void*, size_t> blocks;
  for (size_t m = 0; m < saved.size(); ++m) {
    std::vector<at::Tensor>& tensors = saved[m].tensors();
    for (size_t i = 0; i < tensors.size(); ++i) {
      at::Tensor& tensor = tensors[i];
      if (tensor.is_cpu() || tensor.storage().nbytes() < kLeastBytes) continue;
      const auto [found, fresh] =
          blocks.emplace(tensor.storage().unsafeGetStorageImpl(), stash.blocks.size());
      if (fresh) stash.blocks.push_back({whole_storage(tensor), {}, nullptr, nullptr});
      if (stash.blocks[found->second].device.scalar_type() != tensor.scalar_type()) continue;
      stash.views.push_back(
          {m, i, found->second, tensor.sizes().vec(), tensor.strides().vec(), tensor.storage_offset()});
      tensor.reset();
    }
  }
  return stash;
}

void ActivationOffload::stash(int unit, int microbatch, std::vector<Saved>& saved) {
  const Key key{unit, microbatch};
  const auto distance = distance_.find(key);
  if (distance == distance_.end() || distance->second < kLeastDistance) return;
  Stash stash = collect(saved);
  if (stash.views.empty()) return;
  for (Block& block : stash.blocks) {
    block.host = host_memory_of(download_.device(), block.device.sizes(), block.device.scalar_type());
    block.out = download_.start(block.host, block.device);
    block.device.reset();
    leaving_.add(block.out);
  }
  stashes_.emplace(key, std::move(stash));
}

// Behind its own way out, also where that was so short a time ago that it has not ended.
void ActivationOffload::fetch(const Key& key) {
  const auto found = stashes_.find(key);
  if (found == stashes_.end()) return;
  for (Block& block : found->second.blocks) {
    if (block.back) continue;
    block.out->wait();
    const at::Tensor there =
        at::empty(block.host.sizes(), at::dtype(block.host.scalar_type()).device(upload_.device()));
    block.back = upload_.start(there, block.host);
  }
}

void ActivationOffload::restore(int unit, int microbatch, std::vector<Saved>& saved) {
  const Key key{unit, microbatch};
  const auto place = place_.find(key);
  if (place == place_.end()) return;
  fetch(key);
  if (place->second + 1 < order_.size()) fetch(order_[place->second + 1]);
  const auto found = stashes_.find(key);
  if (found == stashes_.end()) return;
  Stash& stash = found->second;
  for (Block& block : stash.blocks) block.back->wait();
  for (const View& view : stash.views) {
    saved[view.member].tensors()[view.index] =
        stash.blocks[view.block].back->result().as_strided(view.sizes, view.strides, view.offset);
  }
  stashes_.erase(found);
}

}  // namespace tessera
