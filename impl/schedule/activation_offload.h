// Activations that wait for their backward in host memory: copied away when a unit's forward has run, and
// back while the unit before theirs in the backward computes (vDNN: Rhu et al., 2016).
#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "kernels/device_copy.h"
#include "nn/unit.h"
#include "schedule/program.h"

namespace tessera {

/// Of one execution. What the members of a unit have saved for a micro-batch goes and comes together. Tensors
/// that share a storage share one again when they are back. Tensors in host memory and small ones stay.
class ActivationOffload {
 public:
  /// `program` says when saved tensors are needed.
  ActivationOffload(at::Device device, const Program& program);

  /// After a forward: its saved tensors start on their way to host memory and are forgotten, unless their
  /// backward is so near that nothing else could use the memory.
  void stash(int unit, int microbatch, std::vector<Saved>& saved);
  /// Before what takes the saved tensors: what is taken next starts on its way back, then the current stream
  /// waits for these, which are in `saved` again.
  void restore(int unit, int microbatch, std::vector<Saved>& saved);

 private:
  using Key = std::pair<int, int>;  // unit, micro-batch
  struct Block {
    at::Tensor device;  // the storage, until it is on its way out
    at::Tensor host;
    PendingCopyPtr out;
    PendingCopyPtr back;
  };
  struct View {
    size_t member, index;  // saved[member].tensors()[index]
    size_t block;
    std::vector<int64_t> sizes, strides;
    int64_t offset;
  };
  struct Stash {
    std::vector<Block> blocks;
    std::vector<View> views;
  };

  Stash collect(std::vector<Saved>& saved) const;
  void fetch(const Key& key);

  std::vector<Key> order_;           // in which saved tensors are taken
  std::map<Key, size_t> place_;      // in it
  std::map<Key, int64_t> distance_;  // computations from the forward to where they are taken
  std::map<Key, Stash> stashes_;
  CopyStream download_, upload_;
  CopyWindow leaving_{8};
};

}  // namespace tessera
