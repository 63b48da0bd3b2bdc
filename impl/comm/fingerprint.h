// What a rank is about to do, in a few comparable words: ranks whose fingerprints differ at the same place in
// their order of operations have called different collectives.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "comm/group.h"

namespace tessera {

enum class OpKind : uint8_t {
  all_gather,
  reduce_scatter,
  all_reduce,
  all_to_all,
  broadcast,
  barrier,
  allocate_shared,
  allocate_symmetric,
  send,
  recv,
};

/// Plain data: it lies in shared memory and travels over sockets.
struct Fingerprint {
  OpKind kind = OpKind::barrier;
  uint8_t reduce = 0;     ///< ReduceOp, for reductions
  uint8_t dtype = 0;      ///< c10::ScalarType of the first tensor
  uint8_t out_dtype = 0;  ///< of the first output
  int32_t root = -1;      ///< broadcast: source; send and recv: the other rank
  int32_t tensors = 0;
  int32_t tag = 0;  ///< send and recv
  int64_t elements =
      0;  ///< of all tensors that this rank contributes (all_to_all: of one row; allocate: bytes)
  uint64_t shape_hash = 0;  ///< over dtype and count of every tensor in the list

  bool operator==(const Fingerprint&) const = default;
};
static_assert(sizeof(Fingerprint) == 32);

/// "reduce_scatter(sum) of 2 bfloat16 tensors, 4096 elements".
std::string describe(const Fingerprint& fingerprint);
std::string_view dtype_name(c10::ScalarType dtype);

/// These check the arguments of a collective (contiguous tensors on `device`, matching dtypes and counts) for
/// a group of `size` ranks and say what it is. Errors have code argument and name tensor and sizes.
Fingerprint check_all_gather(const std::vector<at::Tensor>& outs, const std::vector<at::Tensor>& ins,
                             int size, at::Device device = at::kCPU);
Fingerprint check_reduce_scatter(const std::vector<at::Tensor>& outs, const std::vector<at::Tensor>& ins,
                                 ReduceOp op, int size, at::Device device = at::kCPU);
Fingerprint check_all_reduce(const std::vector<at::Tensor>& tensors, ReduceOp op,
                             at::Device device = at::kCPU);
Fingerprint check_broadcast(const std::vector<at::Tensor>& tensors, int root, int size,
                            at::Device device = at::kCPU);
Fingerprint check_peer_call(OpKind kind, const at::Tensor& tensor, int peer, int tag, int rank, int size,
                            at::Device device = at::kCPU);

/// An all_to_all with its splits in elements, in full (equal parts written out).
struct AllToAllPlan {
  Fingerprint fingerprint;
  int64_t row_elements = 1;
  std::vector<int64_t> out_counts;  ///< elements from each rank
  std::vector<int64_t> in_counts;   ///< elements to each rank
};
AllToAllPlan check_all_to_all(const at::Tensor& out, const at::Tensor& in,
                              const std::vector<int64_t>& out_splits, const std::vector<int64_t>& in_splits,
                              int size, at::Device device = at::kCPU);

}  // namespace tessera
