// What the NCCL groups of one rank share: communicators that can be ended at any time, the operations under
// way on the device, and the watchdog that ends them when a peer fails or nobody comes.
//
// Nothing here can end the process. A collective whose peers do not come would otherwise spin on the device
// for ever, and with it every call of CUDA that waits for the device; so a thread of the rank looks at what
// is under way, and aborts all communicators when something is wrong. Then the device is free again, and the
// rank's next call throws the cause.
#pragma once

#include <c10/core/Event.h>
#include <c10/core/Stream.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "comm/cuda_communication.h"
#include "comm/host_world.h"
#include "comm/nccl_board.h"
#include "core/error.h"

namespace tessera {

class NcclComm;
class NcclLink;

/// An operation on the device. Its tensors live until it has ended or the caller has waited for it; waiting
/// makes the calling thread's current stream wait, not the thread.
class NcclOperation final : public Work {
 public:
  NcclOperation(std::shared_ptr<NcclLink> link, std::vector<at::Tensor> tensors);

  void wait() override;
  /// The only tensor of a message.
  const at::Tensor& tensor() const { return tensors_[0]; }

  std::string what;  ///< "all_gather of .. on group tp (operation 3)"
  std::string group;
  std::vector<int> ranks;  ///< world ranks that have to come
  uint64_t sequence = 0;   ///< of its group; 0 for send and recv
  Fingerprint fingerprint;
  std::shared_ptr<NcclBoard> board;
  /// Of a message: takes it one step further without ever blocking, and returns whether it is on the stream.
  /// Called under the link's lock.
  std::function<bool()> launch;

 private:
  friend class NcclLink;
  const std::shared_ptr<NcclLink> link_;
  std::mutex mutex_;  ///< guards tensors_
  std::vector<at::Tensor> tensors_;
  c10::Event done_;
  std::atomic<bool> launched_{false};
  std::chrono::steady_clock::time_point started_;
  std::chrono::steady_clock::time_point looked_;  ///< watchdog only: when it last asked who is missing
};
using NcclOperationPtr = std::shared_ptr<NcclOperation>;

class NcclLink : public std::enable_shared_from_this<NcclLink> {
 public:
  /// `control` connects the same ranks for host memory; `cuda` and `nccl` outlive the link. `hosts` names the
  /// host of each rank; empty: all are on one.
  NcclLink(HostWorldPtr control, const CudaCommunication& cuda, const NcclApi& nccl, at::Device device,
           const WorldOptions& options, std::vector<std::string> hosts);
  ~NcclLink();

  const NcclApi& nccl() const { return nccl_; }
  const CudaCommunication& cuda() const { return cuda_; }
  at::Device device() const { return device_; }
  HostWorld& control() { return *control_; }
  std::chrono::milliseconds timeout() const { return timeout_; }
  /// Whether this rank would register the memory of a group of these ranks (comm/nccl_memory.h).
  bool registers(const std::vector<int>& world_ranks) const;
  /// Bytes of the device that NCCL was asked for, and that LibTorch's allocator so does not count.
  std::atomic<int64_t>& own_bytes() { return own_bytes_; }
  /// The stream on which the calling thread computes.
  c10::Stream current_stream() const;

  /// True on the thread that must never wait for the device: it is the one that frees it.
  bool on_watchdog() const { return std::this_thread::get_id() == watchdog_id_; }

  std::optional<Error> failure() const;
  /// Throws the failure, if any.
  void check();
  /// Keeps the first failure and aborts all communicators. Any thread.
  void fail(const Error& error) noexcept;
  /// An Error for a result of NCCL.
  Error nccl_error(int result, void* comm, const std::string& what) const;

  /// The watchdog looks at `operation` from here on: NCCL connects ranks when they first call, and so may
  /// wait for a rank that is gone before anything is on the device.
  void begun(const NcclOperationPtr& operation);
  /// Notes that `operation` has been queued on `stream`; or that it never will be.
  void launched(const NcclOperationPtr& operation, const c10::Stream& stream);
  void dropped(const NcclOperationPtr& operation);
  /// Queued once a peer is ready; in order.
  void postpone(const NcclOperationPtr& operation);
  /// Launches what can be. Any thread: the watchdog does it too, since the rank's own may be waiting for what
  /// its peers send only after they have what is postponed here.
  void progress();
  /// Held while NCCL is given work: communicators of one device are not driven by several threads at once.
  std::mutex& launching() { return launching_; }
  /// Blocks until `ready` (called now and then) returns true; throws failures, those of the world's `ranks`
  /// among them, and timeout with `what`. `watched`: the watchdog knows of what is awaited, and says better
  /// who is missing.
  void await(const std::function<bool()>& ready, const std::string& what, const std::vector<int>& ranks = {},
             bool watched = false);
  /// Blocks until everything queued on the current stream has ended. Throws failures.
  void synchronize();

  void add(const std::shared_ptr<NcclComm>& comm);
  /// Waits for what is under way on the communicators' streams, then ends them in order.
  void close();
  /// Ends everything with `error`; the link's owner calls this (or close) before it lets go.
  void end(const Error& error);

 private:
  void watch();
  bool has_postponed();
  void look_at(NcclOperation& operation);
  void compare(NcclOperation& operation);
  Error missing(NcclOperation& operation);
  std::vector<std::shared_ptr<NcclComm>> comms();
  void stop();

  const HostWorldPtr control_;
  const CudaCommunication& cuda_;
  const NcclApi& nccl_;
  const at::Device device_;
  const std::chrono::milliseconds timeout_;
  const std::string register_buffers_;  ///< WorldOptions::register_buffers
  const std::vector<std::string> hosts_;
  std::atomic<int64_t> own_bytes_{0};
  std::mutex launching_;
  std::mutex postponing_;  ///< guards postponed_; held while they are launched
  std::list<NcclOperationPtr> postponed_;

  mutable std::mutex mutex_;  ///< guards the rest
  std::condition_variable changed_;
  bool stopping_ = false;
  std::optional<Error> failure_;
  std::list<NcclOperationPtr> under_way_;
  std::vector<std::weak_ptr<NcclComm>> comms_;
  std::thread watchdog_;
  std::thread::id watchdog_id_;  // of the thread, also after it was joined
};

/// A communicator with a stream of its own. Calls of NCCL take a lock that `abort` takes too, so that nobody
/// uses a communicator that is gone; none of them blocks.
class NcclComm {
 public:
  /// Starts connecting ranks that pass the same id.
  static std::shared_ptr<NcclComm> connect(const std::shared_ptr<NcclLink>& link, std::string name,
                                           std::vector<int> world_ranks, const NcclBoard::Id& id, int rank);
  /// Collective over the ranks of `parent`; null for color -1. Blocks until NCCL has done it.
  static std::shared_ptr<NcclComm> split(const std::shared_ptr<NcclLink>& link, std::string name,
                                         NcclComm& parent, int color, int key, std::vector<int> world_ranks);
  ~NcclComm();

  /// Whether all ranks have connected. Throws when that failed.
  bool ready();
  void await_ready();
  /// Throws what NCCL has noticed by itself since the last call. Any thread.
  void look();
  const c10::Stream& stream() const { return stream_; }

  using Calls = std::function<int(const NcclApi& nccl, void* comm, void* stream)>;
  /// Calls NCCL between group_start and group_end. What was called is on the stream once ready() says so;
  /// nothing else may be called before.
  void start(const std::string& what, const Calls& calls);
  /// Likewise, and waits. For an operation that the watchdog knows of.
  void call(const std::string& what, const Calls& calls);

  /// Memory that collectives use in place from here on; what detach() takes. Null when NCCL makes no use of
  /// it. Throws an error of NCCL, after which the communicator works on. The rank's thread, nothing under
  /// way.
  void* attach(void* memory, size_t bytes);
  /// Nothing happens after the communicator has ended, which takes its registrations along.
  void detach(void* handle) noexcept;

  void abort() noexcept;
  /// Orderly end, after all operations. First of all communicators, so that destroy(), which may wait for the
  /// peers of this one, finds that they have come as far.
  void finish();
  void destroy();

 private:
  NcclComm(const std::shared_ptr<NcclLink>& link, std::string name, std::vector<int> world_ranks);
  /// Runs `call` under the lock; throws errors of NCCL after the link has failed with them.
  bool settled(const std::string& what);
  void check_result(int result, const std::string& what);

  const std::weak_ptr<NcclLink> link_;
  const NcclApi& nccl_;
  const CudaCommunication& cuda_;
  const at::Device device_;
  const std::string name_;
  const std::vector<int> world_ranks_;
  std::shared_ptr<NcclLink> link() const;

  std::mutex mutex_;  ///< guards comm_ and attached_
  void* comm_ = nullptr;
  std::vector<void*> attached_;
  bool connected_ = false;  // rank's thread
  void* native_stream_ = nullptr;
  c10::Stream stream_;
};

}  // namespace tessera
