// Groups, abort and orderly end of a rank whose world is one host.
#include "comm/local_world.h"

#include <algorithm>

#include "core/error.h"

namespace tessera {

int check_group_ranks(const std::string& name, const std::vector<int>& world_ranks, int rank,
                      int world_size) {
  TESSERA_CHECK(!world_ranks.empty(), argument, "group ", name, ": no ranks");
  for (size_t i = 0; i < world_ranks.size(); ++i) {
    TESSERA_CHECK(world_ranks[i] >= 0 && world_ranks[i] < world_size, argument, "group ", name, ": rank ",
                  world_ranks[i], " is not in a world of ", world_size);
    TESSERA_CHECK(i == 0 || world_ranks[i] > world_ranks[i - 1], argument, "group ", name, ": rank ",
                  world_ranks[i], " after ", world_ranks[i - 1], " is not in ascending order");
  }
  const auto own = std::find(world_ranks.begin(), world_ranks.end(), rank);
  TESSERA_CHECK(own != world_ranks.end(), argument, "group ", name, ": rank ", rank,
                " is not one of its ranks");
  return static_cast<int>(own - world_ranks.begin());
}

LocalWorld::~LocalWorld() {
  if (!seat_->departed()) seat_->depart(Presence::left, seat_->first_failure());
  for (const auto& group : seat_->groups()) group->leave();
}

GroupPtr LocalWorld::group(const std::string& name, const std::vector<int>& world_ranks) {
  const int index = check_group_ranks(name, world_ranks, rank(), size());
  TESSERA_CHECK(!seat_->departed(), state, "group ", name, ": the world of rank ", rank(), " has ended");
  const std::lock_guard lock(mutex_);
  const auto found = groups_.find(name);
  if (found != groups_.end()) {
    TESSERA_CHECK(found->second.first == world_ranks, argument, "group ", name,
                  ": already made with other ranks");
    return found->second.second;
  }
  std::string key = cat("group/", name);
  for (int r : world_ranks) key += cat("/", r);
  const auto poll = [&, deadline = seat_->deadline()] {
    seat_->poll(world_ranks, deadline, cat("making group ", name));
  };
  SharedMemoryPtr memory =
      seat_->space().open(key, local::Layout::bytes(static_cast<int>(world_ranks.size())), index == 0,
                          static_cast<int>(world_ranks.size()), poll);
  auto group = std::make_shared<LocalGroup>(name, key, index, world_ranks, seat_, std::move(memory));
  seat_->add_group(group);
  groups_.emplace(name, std::pair(world_ranks, group));
  return group;
}

void LocalWorld::abort(const std::string& reason) {
  seat_->remember_failure(reason);
  seat_->depart(Presence::aborted, reason);
}

std::optional<Error> LocalWorld::failure_of(const std::vector<int>& world_ranks) const {
  seat_->check_processes();
  if (!seat_->anyone_departed()) return std::nullopt;
  const auto failure = seat_->failure_for(world_ranks);
  if (!failure) return std::nullopt;
  return Error(Code::peer_failed, failure->text, failure->rank);
}

void LocalWorld::close() {
  if (seat_->departed()) return;
  for (const auto& group : seat_->groups()) group->drain();
  everyone()->barrier();
  seat_->depart(Presence::closed, "");
}

}  // namespace tessera
