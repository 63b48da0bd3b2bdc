// Shared memory among the processes of one host, exchanged through a rendezvous store.
#pragma once

#include <memory>

#include "comm/rendezvous.h"
#include "comm/shared_file.h"
#include "comm/shared_memory.h"

namespace tessera {

class ProcessSpace final : public SharedSpace {
 public:
  /// Collective over the ranks of the job: finds out whether all can reach each other's anonymous files, else
  /// uses named ones.
  ProcessSpace(std::shared_ptr<Rendezvous> rendezvous, int rank, int size,
               std::chrono::steady_clock::time_point deadline);

  SharedMemoryPtr open(const std::string& key, size_t bytes, bool creator, int users,
                       const std::function<void()>& poll) override;
  bool same_address_space() const override { return false; }
  SharedFile::Kind kind() const override { return kind_; }

 private:
  std::shared_ptr<Rendezvous> rendezvous_;
  SharedFile::Kind kind_ = SharedFile::Kind::anonymous;
};

/// Joins the ranks of one host. Blocks until all have arrived.
WorldPtr connect_local_processes(const WorldOptions& options, std::shared_ptr<Rendezvous> rendezvous);

}  // namespace tessera
