// A world whose ranks all run on one host and talk through shared memory.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "comm/host_world.h"
#include "comm/local_group.h"
#include "comm/local_seat.h"

namespace tessera {

class LocalWorld final : public HostWorld {
 public:
  explicit LocalWorld(std::shared_ptr<LocalSeat> seat) : seat_(std::move(seat)) {}
  ~LocalWorld() override;

  int rank() const override { return seat_->rank(); }
  int size() const override { return seat_->size(); }
  const WorldOptions& options() const override { return seat_->options(); }
  GroupPtr group(const std::string& name, const std::vector<int>& world_ranks) override;
  void abort(const std::string& reason) override;
  void close() override;
  std::optional<Error> failure_of(const std::vector<int>& world_ranks) const override;

 private:
  const std::shared_ptr<LocalSeat> seat_;
  std::mutex mutex_;  ///< guards groups_
  std::map<std::string, std::pair<std::vector<int>, std::shared_ptr<LocalGroup>>> groups_;
};

/// Throws argument unless `world_ranks` are ascending ranks of the world that contain `rank`. Returns the
/// index of `rank`.
int check_group_ranks(const std::string& name, const std::vector<int>& world_ranks, int rank, int world_size);

}  // namespace tessera
