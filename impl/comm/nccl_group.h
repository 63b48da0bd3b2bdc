// Collectives on GPUs through NCCL: queued on a stream of the group's own, behind what the caller has queued
// so far, so that they run beside what the caller computes until it waits.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "comm/device_group.h"
#include "comm/nccl_link.h"
#include "comm/nccl_memory.h"

namespace tessera {

/// Tensors of the link's device go through NCCL, tensors in host memory through `control`. Three things
/// differ from the engines for host memory: wait() makes the current stream wait and not the calling thread,
/// so failures surface at a later call or at synchronize(); messages of one rank to another match in
/// the order of the calls, whatever their tags; and calls that differ between ranks may have moved wrong data
/// before they are reported.
class NcclGroup final : public DeviceGroup, public std::enable_shared_from_this<NcclGroup> {
 public:
  /// Collective over the group's ranks. `comm` may be null: the group then connects itself.
  static std::shared_ptr<NcclGroup> make(std::shared_ptr<NcclLink> link, GroupPtr control,
                                         std::shared_ptr<NcclComm> comm);

  WorkPtr all_gather(const std::vector<at::Tensor>& outs, const std::vector<at::Tensor>& ins) override;
  WorkPtr reduce_scatter(const std::vector<at::Tensor>& outs, const std::vector<at::Tensor>& ins,
                         ReduceOp op) override;
  WorkPtr all_reduce(const std::vector<at::Tensor>& tensors, ReduceOp op) override;
  WorkPtr all_to_all(const at::Tensor& out, const at::Tensor& in, const std::vector<int64_t>& out_splits,
                     const std::vector<int64_t>& in_splits) override;
  WorkPtr broadcast(const std::vector<at::Tensor>& tensors, int root) override;
  WorkPtr send(const at::Tensor& tensor, int destination, int tag) override;
  WorkPtr recv(const at::Tensor& tensor, int source, int tag) override;
  /// Also waits until the device has come so far.
  void barrier() override;
  /// Memory that NCCL uses in place, where this group registers (comm/nccl_memory.h).
  at::Tensor allocate(int64_t bytes) override;

  NcclComm& comm() { return *comm_; }

 private:
  using Calls = NcclComm::Calls;
  /// Messages from one rank to another: a communicator of two, so that neither direction nor any other pair
  /// has to wait for these.
  struct Edge {
    std::shared_ptr<NcclComm> comm;
    std::list<NcclOperationPtr> waiting;  ///< for the other side, in order
    bool started = false;                 ///< NCCL is taking the first of them over
  };

  NcclGroup(std::shared_ptr<NcclLink> link, GroupPtr control, std::unique_ptr<NcclBoard> board);
  /// `tensors` are kept until the operation has ended. `prepare` runs with the communication stream as the
  /// current one, before `calls`, and returns more of them.
  WorkPtr launch(const Fingerprint& fingerprint, std::vector<at::Tensor> tensors, const Calls& calls,
                 const std::function<std::vector<at::Tensor>()>& prepare = {});
  WorkPtr transfer(const Fingerprint& fingerprint, const at::Tensor& tensor, int from, int to);
  bool connect(Edge& edge, int from, int to);
  bool advance(const NcclOperationPtr& operation, c10::Event& ready, int from, int to);
  std::vector<at::Tensor> staged(const std::vector<at::Tensor>& ins, const std::vector<at::Tensor>& outs);
  void make_staging(int64_t bytes);

  const std::shared_ptr<NcclLink> link_;
  const std::shared_ptr<NcclBoard> board_;
  std::shared_ptr<NcclComm> comm_;
  uint64_t started_ = 0;
  std::shared_ptr<NcclMemory> memory_;  ///< null: nothing is registered
  at::Tensor staging_;                  ///< what travels wider than it lies, one operation at a time
  std::mutex edges_mutex_;  ///< guards the map and the lists in it; messages are queued by two threads
  std::map<std::pair<int, int>, Edge> edges_;
};

}  // namespace tessera
