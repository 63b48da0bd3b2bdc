// How processes of one host come to share memory and to form a local world.
#include "comm/process_space.h"

#include <thread>

#include "comm/local_seat.h"
#include "comm/local_world.h"
#include "core/error.h"

namespace tessera {

using std::chrono::steady_clock;

ProcessSpace::ProcessSpace(std::shared_ptr<Rendezvous> rendezvous, int rank, int size,
                           steady_clock::time_point deadline)
    : rendezvous_(std::move(rendezvous)) {
  constexpr size_t kProbeBytes = 4096;
  std::unique_ptr<SharedFile> probe;
  std::string verdict = "named";
  try {
    if (rank == 0) {
      probe = SharedFile::create(kProbeBytes, SharedFile::Kind::anonymous);
      rendezvous_->set("probe", probe->address());
    } else {
      const auto poll = [&] {
        TESSERA_CHECK(steady_clock::now() < deadline, timeout, "rank ", rank, " waited at ",
                      rendezvous_->address(), " for rank 0");
      };
      SharedFile::attach(rendezvous_->wait_for("probe", poll), kProbeBytes);
    }
    verdict = "anonymous";
  } catch (const Error& error) {
    if (error.code() != Code::io && error.code() != Code::out_of_memory) throw;
    if (rank == 0) rendezvous_->set("probe", "none");
  }
  rendezvous_->set(cat("probe/", rank), verdict);
  for (const std::string& answer : rendezvous_->wait_for_all("probe/", size, deadline)) {
    if (answer != "anonymous") kind_ = SharedFile::Kind::named;
  }
}

SharedMemoryPtr ProcessSpace::open(const std::string& key, size_t bytes, bool creator, int users,
                                   const std::function<void()>& poll) {
  const std::string arrived = key + "#arrived";
  const std::string failed = key + "#failed";
  if (!creator) {
    const std::string address = rendezvous_->wait_for(key, poll);
    try {
      SharedMemoryPtr memory = SharedFile::attach(address, bytes);
      rendezvous_->add(arrived, 1);
      return memory;
    } catch (const Error& error) {
      rendezvous_->set(failed, error.what());
      throw;
    }
  }
  const std::unique_ptr<SharedFile> file = SharedFile::create(bytes, kind_);
  rendezvous_->set(key, file->address());
  // The address is good while `file` lives: wait until all have mapped it.
  if (users > 1) {
    rendezvous_->add(arrived, 0);
    for (;;) {
      if (rendezvous_->add(arrived, 0) >= users - 1) break;
      if (const auto text = rendezvous_->try_get(failed)) throw Error(Code::io, cat(key, ": ", *text));
      poll();
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
  return file->memory();
}

WorldPtr connect_local_processes(const WorldOptions& options, std::shared_ptr<Rendezvous> rendezvous) {
  const auto deadline = steady_clock::now() + options.timeout;
  auto space = std::make_shared<ProcessSpace>(std::move(rendezvous), options.rank, options.size, deadline);
  const auto poll = [&] {
    TESSERA_CHECK(steady_clock::now() < deadline, timeout, "rank ", options.rank,
                  " waited for the shared block of the world at ", options.rendezvous);
  };
  SharedMemoryPtr memory =
      space->open("world", WorldBlock::bytes(options.size), options.rank == 0, options.size, poll);
  auto seat = std::make_shared<LocalSeat>(options, space, std::move(memory));
  seat->await_all_present();
  return std::make_shared<LocalWorld>(std::move(seat));
}

}  // namespace tessera
