// A world whose ranks talk over TCP, on one host or many, through Gloo.
#pragma once

#include <atomic>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "comm/host_world.h"
#include "comm/rendezvous.h"
#include "core/error.h"

namespace tessera {

class GlooGroup;

/// What the groups of a rank share: the store, the heartbeat through it, and the first failure of the world.
/// Every beat tells the others that this rank lives and what it waits in, and looks whether one has aborted.
class GlooLink : public std::enable_shared_from_this<GlooLink> {
 public:
  GlooLink(WorldOptions options, std::shared_ptr<Rendezvous> rendezvous);
  ~GlooLink();

  const WorldOptions& options() const { return options_; }
  Rendezvous& rendezvous() { return *rendezvous_; }

  /// The failure of the whole world, if any.
  std::optional<Error> failure() const;
  /// Keeps the first failure and ends what the groups are waiting for.
  void fail(const Error& error);
  /// Tells the other ranks that this one is gone, then fails.
  void depart(const std::string& what, const std::string& reason);
  /// departs with the cause that a group of this rank has failed for, if one has. The host of the store waits
  /// a moment for the others to leave as well.
  void leave();
  /// The first cause for which a group of this rank fails.
  void remember(const Error& cause);
  /// From here on a vanishing store is the orderly end.
  void expect_end() { ending_.store(true); }
  void stop();

  /// All ranks of a group that fail ask here for the cause: the first to do so decides. `key` names the
  /// group.
  Error first_cause(const std::string& key, const Error& own);
  /// The cause that a rank without connections gives for the failure of a group, once it has found it. None
  /// when its heart does not beat, or it says nothing.
  std::optional<Error> cause_from(int rank, const std::string& key);
  /// What another rank is seen to do.
  struct State {
    bool stopped = false;  ///< its heart does not beat: it hangs, or its host is out of reach
    std::string text;      ///< "it waits in barrier on group tp"
  };
  /// For each of `ranks`; empty when the store does not answer. Takes half a second.
  std::vector<State> states_of(const std::vector<int>& ranks);
  void set_activity(const std::string& text);

  void add_group(const std::shared_ptr<GlooGroup>& group);

 private:
  void depart(const Error& error);
  void beat();
  void check_abort();

  const WorldOptions options_;
  const std::shared_ptr<Rendezvous> rendezvous_;
  const std::shared_ptr<Rendezvous> heart_store_;
  mutable std::mutex mutex_;
  std::condition_variable stopped_;
  bool stopping_ = false;
  bool heart_ended_ = false;
  std::atomic<bool> ending_{false};
  std::optional<Error> failure_;
  std::optional<Error> cause_;
  std::string activity_;
  std::vector<std::weak_ptr<GlooGroup>> groups_;
  std::thread heart_;
};

class GlooWorld final : public HostWorld {
 public:
  explicit GlooWorld(std::shared_ptr<GlooLink> link) : link_(std::move(link)) {}
  ~GlooWorld() override;

  int rank() const override { return link_->options().rank; }
  int size() const override { return link_->options().size; }
  const WorldOptions& options() const override { return link_->options(); }
  GroupPtr group(const std::string& name, const std::vector<int>& world_ranks) override;
  void abort(const std::string& reason) override;
  void close() override;
  std::optional<Error> failure_of(const std::vector<int>& /*ranks*/) const override {
    return link_->failure();
  }
  Rendezvous* rendezvous() override { return &link_->rendezvous(); }

 private:
  const std::shared_ptr<GlooLink> link_;
  std::mutex mutex_;  ///< guards the rest
  bool ended_ = false;
  std::map<std::string, std::pair<std::vector<int>, std::shared_ptr<GlooGroup>>> groups_;
};

/// Joins the ranks. Blocks until all have arrived.
WorldPtr connect_gloo(const WorldOptions& options, std::shared_ptr<Rendezvous> rendezvous);

}  // namespace tessera
