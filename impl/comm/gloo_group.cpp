// The gloo engine's operations: queueing, the comparison of fingerprints, messages and blame.
#include "comm/gloo_group.h"

#include <algorithm>
#include <cstring>

#include "comm/gloo_message.h"
#include "core/error.h"

namespace tessera {
namespace {

/// Tags from here on belong to collectives.
constexpr int kCollectiveTag = 2 * GlooGroup::kPayloadTag;

std::byte* data_of(const at::Tensor& tensor) {
  return static_cast<std::byte*>(tensor.data_ptr());
}

/// Those of `ranks` that have stopped. `states` are theirs, or none where the store does not answer.
std::vector<int> stopped_among(const std::vector<int>& ranks, const std::vector<GlooLink::State>& states) {
  std::vector<int> stopped;
  for (size_t i = 0; i < states.size(); ++i) {
    if (states[i].stopped) stopped.push_back(ranks[i]);
  }
  return stopped;
}

/// The ranks of a world of `size` that are not among `ranks`.
std::vector<int> ranks_outside(const std::vector<int>& ranks, int size) {
  std::vector<int> outside;
  for (int rank = 0; rank < size; ++rank) {
    if (std::find(ranks.begin(), ranks.end(), rank) == ranks.end()) outside.push_back(rank);
  }
  return outside;
}

std::string names_of(const std::vector<int>& ranks) {
  std::string names;
  for (const int rank : ranks) names += cat(names.empty() ? "" : ", ", "rank ", rank);
  return names;
}

}  // namespace

/// A collective, queued or under way on the worker.
struct GlooGroup::Job final : Work {
  std::shared_ptr<GlooGroup> group;
  Fingerprint fingerprint;
  uint64_t sequence = 0;
  std::function<void()> body;
  bool done = false;
  std::optional<Error> error;

  void wait() override {
    std::unique_lock lock(group->mutex_);
    group->changed_.wait(lock, [&] { return done; });
    if (error) throw *error;
  }
};

GlooGroup::GlooGroup(std::string name, std::string key, int rank, std::vector<int> world_ranks,
                     std::shared_ptr<GlooLink> link, std::unique_ptr<GlooTransport> transport)
    : Group(std::move(name), rank, std::move(world_ranks)),
      key_(std::move(key)),
      link_(std::move(link)),
      transport_(std::move(transport)),
      sent_(size(), 0) {
  worker_ = std::thread([this] { run_jobs(); });
}

GlooGroup::~GlooGroup() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  fail(Error(Code::state, cat("group ", name(), " has ended")));
  lanes_.clear();
  // A queued job holds the group, so the last reference may be the worker's own.
  if (worker_.get_id() == std::this_thread::get_id()) {
    *ended_in_worker_ = true;
    worker_.detach();
  } else {
    worker_.join();
  }
}

WorkPtr GlooGroup::all_gather(const std::vector<at::Tensor>& outs, const std::vector<at::Tensor>& ins) {
  return start(check_all_gather(outs, ins, size()), [this, outs, ins] {
    for (size_t i = 0; i < ins.size(); ++i) gather_bytes(data_of(ins[i]), data_of(outs[i]), ins[i].nbytes());
  });
}

WorkPtr GlooGroup::reduce_scatter(const std::vector<at::Tensor>& outs, const std::vector<at::Tensor>& ins,
                                  ReduceOp op) {
  return start(check_reduce_scatter(outs, ins, op, size()), [this, outs, ins, op] {
    for (size_t i = 0; i < ins.size(); ++i) scatter_reduced(outs[i], ins[i], op);
  });
}

WorkPtr GlooGroup::all_reduce(const std::vector<at::Tensor>& tensors, ReduceOp op) {
  return start(check_all_reduce(tensors, op), [this, tensors, op] {
    for (const at::Tensor& tensor : tensors) reduce_all(tensor, op);
  });
}

WorkPtr GlooGroup::all_to_all(const at::Tensor& out, const at::Tensor& in,
                              const std::vector<int64_t>& out_splits, const std::vector<int64_t>& in_splits) {
  const AllToAllPlan plan = check_all_to_all(out, in, out_splits, in_splits, size());
  return start(plan.fingerprint, [this, out, in, plan] { exchange_rows(out, in, plan); });
}

WorkPtr GlooGroup::broadcast(const std::vector<at::Tensor>& tensors, int root) {
  return start(check_broadcast(tensors, root, size()), [this, tensors, root] {
    for (const at::Tensor& tensor : tensors) {
      const Part whole{data_of(tensor), tensor.nbytes()};
      std::vector<Part> sends(size()), receives(size());
      if (rank() == root) {
        sends.assign(size(), whole);
      } else {
        receives[root] = whole;
      }
      exchange(sends, receives);
    }
  });
}

void GlooGroup::barrier() {
  start({.kind = OpKind::barrier}, [this] {
    if (link_->options().check_collectives) return;  // the comparison was one
    std::byte own{};
    std::vector<std::byte> others(size());
    gather_bytes(&own, others.data(), 1);
  })->wait();
}

WorkPtr GlooGroup::send(const at::Tensor& tensor, int destination, int tag) {
  auto message = std::make_shared<Message>();
  message->fingerprint = check_peer_call(OpKind::send, tensor, destination, tag, rank(), size());
  TESSERA_CHECK(tag < kPayloadTag, argument, "send: tag=", tag, " must be below ", kPayloadTag);
  check_usable();
  message->group = shared_from_this();
  message->tensor = tensor;
  message->sends = true;
  {
    const std::lock_guard lock(mutex_);
    message->header = {.fingerprint = message->fingerprint, .number = sent_[destination]++};
  }
  try {
    message->header_message = track(transport_->send(reinterpret_cast<const std::byte*>(&message->header),
                                                     sizeof message->header, destination, tag));
    if (tensor.nbytes() > 0) {
      message->payload = track(transport_->send(data_of(tensor), tensor.nbytes(), destination,
                                                Message::payload_tag(message->header.number)));
    }
  } catch (const TransportFailure& failure) {
    blame(failure, destination, describe(message->fingerprint));
  }
  return message;
}

WorkPtr GlooGroup::recv(const at::Tensor& tensor, int source, int tag) {
  auto message = std::make_shared<Message>();
  message->fingerprint = check_peer_call(OpKind::recv, tensor, source, tag, rank(), size());
  TESSERA_CHECK(tag < kPayloadTag, argument, "recv: tag=", tag, " must be below ", kPayloadTag);
  check_usable();
  message->group = shared_from_this();
  message->tensor = tensor;
  try {
    message->header_message = track(transport_->recv(reinterpret_cast<std::byte*>(&message->header),
                                                     sizeof message->header, source, tag));
  } catch (const TransportFailure& failure) {
    blame(failure, source, describe(message->fingerprint));
  }
  if (Lane* lane = lane_of(source, tag)) lane->add(message);
  return message;
}

GlooGroup::Lane* GlooGroup::lane_of(int source, int tag) {
  constexpr size_t kMostLanes = 16;  // messages of further tags are opened when they are waited for
  const std::lock_guard lock(mutex_);
  const auto found = lanes_.find({source, tag});
  if (found != lanes_.end()) return found->second.get();
  if (lanes_.size() == kMostLanes) return nullptr;
  return lanes_.emplace(std::pair(source, tag), std::make_unique<Lane>()).first->second.get();
}

WorkPtr GlooGroup::start(const Fingerprint& fingerprint, std::function<void()> body) {
  check_usable();
  auto job = std::make_shared<Job>();
  job->group = shared_from_this();
  job->fingerprint = fingerprint;
  job->body = std::move(body);
  const std::lock_guard lock(mutex_);
  job->sequence = ++started_;
  jobs_.push_back(job);
  changed_.notify_all();
  return job;
}

/// The worker: jobs in order. After a failure the rest get the same error.
void GlooGroup::run_jobs() {
  bool ended = false;
  ended_in_worker_ = &ended;
  for (;;) {
    std::shared_ptr<Job> job;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return stopping_ || !jobs_.empty(); });
      if (jobs_.empty()) return;
      job = jobs_.front();
    }
    std::optional<Error> error;
    {
      const std::lock_guard lock(mutex_);
      error = failure_;
    }
    if (!error) {
      link_->set_activity(cat(describe(job->fingerprint), " on group ", name()));
      try {
        check_fingerprints(job->fingerprint, job->sequence);
        job->body();
      } catch (const Error& caught) {
        error = caught;
      } catch (const std::exception& caught) {
        error =
            Error(Code::internal, cat(describe(job->fingerprint), " on group ", name(), ": ", caught.what()));
        fail(*error);
      }
      link_->set_activity("");
    }
    std::shared_ptr<GlooGroup> keep = job->group;  // the group may end with the job, but not under the lock
    {
      const std::lock_guard lock(mutex_);
      job->body = nullptr;
      job->error = error;
      job->done = true;
      jobs_.pop_front();
      changed_.notify_all();
    }
    job.reset();
    keep.reset();
    if (ended) return;  // that was the last reference: `this` is gone
  }
}

void GlooGroup::check_fingerprints(const Fingerprint& fingerprint, uint64_t sequence) {
  if (!link_->options().check_collectives || size() == 1) return;
  std::vector<Fingerprint> all(size());
  gather_bytes(reinterpret_cast<const std::byte*>(&fingerprint), reinterpret_cast<std::byte*>(all.data()),
               sizeof fingerprint);
  // All ranks compare with group rank 0 and so report the same pair.
  for (int r = 1; r < size(); ++r) {
    if (all[r] == all[0]) continue;
    std::string first = describe(all[0]);
    const std::string second = describe(all[r]);
    if (first == second) first += " with other sizes in the list";
    const Error error(Code::collective_mismatch,
                      cat("group ", name(), ", operation ", sequence, ": rank ", world_ranks()[0], " calls ",
                          first, ", rank ", world_ranks()[r], " calls ", second),
                      world_ranks()[r]);
    link_->first_cause(key_, error);  // for ranks that call later
    {
      // The connections stay open: peers may still be receiving this rank's fingerprint.
      const std::lock_guard lock(mutex_);
      if (!failure_) failure_ = error;
    }
    throw error;
  }
}

/// Sends and receives one part per rank; the own part is copied by the caller.
void GlooGroup::exchange(const std::vector<Part>& sends, const std::vector<Part>& receives) {
  const int tag = kCollectiveTag + static_cast<int>(step_++ % kCollectiveTag);
  std::vector<std::pair<int, PendingPtr>> under_way;
  const std::string what = "exchange";
  int peer = 0;
  try {
    for (int step = 1; step < size(); ++step) {
      peer = (rank() + size() - step) % size();
      if (receives[peer].bytes > 0) {
        under_way.emplace_back(peer,
                               track(transport_->recv(receives[peer].data, receives[peer].bytes, peer, tag)));
      }
    }
    for (int step = 1; step < size(); ++step) {
      peer = (rank() + step) % size();
      if (sends[peer].bytes > 0) {
        under_way.emplace_back(peer, track(transport_->send(sends[peer].data, sends[peer].bytes, peer, tag)));
      }
    }
  } catch (const TransportFailure& failure) {
    blame(failure, peer, what);
  }
  for (const auto& [from, pending] : under_way) finish(pending, from, what, link_->options().timeout);
}

GlooGroup::PendingPtr GlooGroup::track(PendingPtr pending) {
  const std::lock_guard lock(mutex_);
  std::erase_if(pending_, [](const auto& weak) { return weak.expired(); });
  pending_.push_back(pending);
  if (failure_) pending->abort();
  return pending;
}

void GlooGroup::finish(const PendingPtr& pending, int peer, const std::string& what,
                       std::chrono::milliseconds patience) {
  try {
    pending->wait(patience);
  } catch (const TransportFailure& failure) {
    blame(failure, peer, what);
  }
}

void GlooGroup::blame(const TransportFailure& failure, int peer, const std::string& what) {
  {
    const std::lock_guard lock(mutex_);
    if (failure_) throw *failure_;
  }
  if (const auto known = link_->failure()) throw *known;
  const int world_rank = world_ranks()[peer];
  std::string operation = what;
  if (what == "exchange") {
    const std::lock_guard lock(mutex_);
    if (!jobs_.empty()) operation = describe(jobs_.front()->fingerprint);
  }
  Error own(Code::internal, "");
  if (failure.timed_out) {
    own = late(operation, peer);
  } else {
    // Gloo ends all connections of a rank whose wait was too long: such a rank lives, and is finding out who
    // is missing.
    if (const auto cause = link_->cause_from(world_rank, key_)) end(*cause);
    own = Error(Code::peer_failed,
                cat(operation, " on group ", name(), ": rank ", world_rank, " is gone: ", failure.text),
                world_rank);
  }
  end(link_->first_cause(key_, own));
}

void GlooGroup::end(const Error& cause) {
  link_->remember(cause);
  fail(cause);
  throw cause;
}

Error GlooGroup::late(const std::string& operation, int peer) const {
  int culprit = world_ranks()[peer];
  std::string missing;
  const auto states = link_->states_of(world_ranks());
  if (states.empty()) {
    missing =
        cat("rank ", culprit, ", and the rendezvous ", link_->rendezvous().address(), " does not answer");
  } else if (const auto stopped = stopped_among(world_ranks(), states); !stopped.empty()) {
    // Who is alive may itself wait for one who is not.
    culprit = stopped.front();
    missing = cat(names_of(stopped), " (stopped or out of reach)");
  } else {
    missing = cat("rank ", culprit, " (", states[peer].text, ")");
    // It may wait in another group, for a rank that this group does not have.
    const std::vector<int> others = ranks_outside(world_ranks(), link_->options().size);
    const auto lost = others.empty() ? others : stopped_among(others, link_->states_of(others));
    if (!lost.empty()) {
      culprit = lost.front();
      missing += cat("; missing from the world: ", names_of(lost), " (stopped or out of reach)");
    }
  }
  return {Code::timeout,
          cat(operation, " on group ", name(), " timed out after ", link_->options().timeout.count(),
              " ms: missing ", missing),
          culprit};
}

void GlooGroup::check_usable() {
  {
    const std::lock_guard lock(mutex_);
    if (failure_) throw *failure_;
  }
  if (const auto failure = link_->failure()) throw *failure;
}

void GlooGroup::fail(const Error& error) {
  std::vector<PendingPtr> pending;
  {
    const std::lock_guard lock(mutex_);
    if (!failure_) failure_ = error;
    for (const auto& weak : pending_) {
      if (PendingPtr alive = weak.lock()) pending.push_back(std::move(alive));
    }
    pending_.clear();
  }
  for (const PendingPtr& each : pending) each->abort();
  transport_->close();
}

void GlooGroup::drain() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return jobs_.empty(); });
  if (failure_) throw *failure_;
}

}  // namespace tessera
