// Collectives over messages: every rank sends its parts to the others and reduces what it receives in rank
// order, so that the bits are those of the local engine.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "comm/fingerprint.h"
#include "comm/gloo_transport.h"
#include "comm/gloo_world.h"
#include "comm/group.h"

namespace tessera {

/// Operations run one after the other on a thread of the group. Before each, the ranks exchange fingerprints
/// (WorldOptions::check_collectives), so that different calls are an error and not garbage.
class GlooGroup final : public Group, public std::enable_shared_from_this<GlooGroup> {
 public:
  /// Tags below belong to send and recv of the user, tags from here on to payloads and collectives.
  static constexpr int kPayloadTag = 1 << 28;

  GlooGroup(std::string name, std::string key, int rank, std::vector<int> world_ranks,
            std::shared_ptr<GlooLink> link, std::unique_ptr<GlooTransport> transport);
  ~GlooGroup() override;

  WorkPtr all_gather(const std::vector<at::Tensor>& outs, const std::vector<at::Tensor>& ins) override;
  WorkPtr reduce_scatter(const std::vector<at::Tensor>& outs, const std::vector<at::Tensor>& ins,
                         ReduceOp op) override;
  WorkPtr all_reduce(const std::vector<at::Tensor>& tensors, ReduceOp op) override;
  WorkPtr all_to_all(const at::Tensor& out, const at::Tensor& in, const std::vector<int64_t>& out_splits,
                     const std::vector<int64_t>& in_splits) override;
  WorkPtr broadcast(const std::vector<at::Tensor>& tensors, int root) override;
  WorkPtr send(const at::Tensor& tensor, int destination, int tag) override;
  WorkPtr recv(const at::Tensor& tensor, int source, int tag) override;
  void barrier() override;

  /// Ends what is under way; later calls fail with `error`. Any thread.
  void fail(const Error& error);
  /// Waits for the operations that were started.
  void drain();

 private:
  struct Job;
  struct Message;
  class Lane;
  using PendingPtr = std::shared_ptr<GlooTransport::Pending>;
  /// A part of memory to send to, or to receive from, one rank.
  struct Part {
    std::byte* data = nullptr;
    size_t bytes = 0;
  };

  WorkPtr start(const Fingerprint& fingerprint, std::function<void()> body);
  void run_jobs();
  void check_fingerprints(const Fingerprint& fingerprint, uint64_t sequence);
  void exchange(const std::vector<Part>& sends, const std::vector<Part>& receives);
  void gather_bytes(const std::byte* in, std::byte* out, size_t bytes);
  void reduce_all(const at::Tensor& tensor, ReduceOp op);
  void scatter_reduced(const at::Tensor& out, const at::Tensor& in, ReduceOp op);
  void exchange_rows(const at::Tensor& out, const at::Tensor& in, const AllToAllPlan& plan);

  PendingPtr track(PendingPtr pending);
  void finish(const PendingPtr& pending, int peer, const std::string& what,
              std::chrono::milliseconds patience);
  /// Where receives of this tag queue up; null when there are too many tags.
  Lane* lane_of(int source, int tag);
  void check_usable();
  /// The error of an operation for which `peer` has not come in time. Asks the store who lives.
  Error late(const std::string& operation, int peer) const;
  /// Turns a failed message into the group's failure and throws it.
  [[noreturn]] void blame(const TransportFailure& failure, int peer, const std::string& what);
  /// Fails for a cause that the ranks agree on.
  [[noreturn]] void end(const Error& cause);

  const std::string key_;
  const std::shared_ptr<GlooLink> link_;
  const std::unique_ptr<GlooTransport> transport_;
  uint32_t step_ = 0;  ///< of the worker: numbers the exchanges, the same on all ranks

  std::mutex mutex_;  ///< guards the rest
  std::condition_variable changed_;
  std::deque<std::shared_ptr<Job>> jobs_;
  bool stopping_ = false;
  uint64_t started_ = 0;
  std::optional<Error> failure_;
  std::vector<std::weak_ptr<GlooTransport::Pending>> pending_;
  std::vector<uint32_t> sent_;                                  ///< messages to each rank so far
  std::map<std::pair<int, int>, std::unique_ptr<Lane>> lanes_;  ///< by source and tag
  bool* ended_in_worker_ = nullptr;  // on the worker's stack; used by the worker's thread only
  std::thread worker_;
};

}  // namespace tessera
