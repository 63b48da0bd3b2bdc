// One NCCL communicator: connecting, calling and ending it without ever blocking inside NCCL.
//
// NCCL leaves another device current behind some of its functions: the last rank of a process to end a
// communicator cleans up those of the other ranks, each on its own device. So calls stand behind a guard.
#include <algorithm>

#include "comm/current_device.h"
#include "comm/nccl_link.h"

namespace tessera {

NcclComm::NcclComm(const std::shared_ptr<NcclLink>& link, std::string name, std::vector<int> world_ranks)
    : link_(link),
      nccl_(link->nccl()),
      cuda_(link->cuda()),
      device_(link->device()),
      name_(std::move(name)),
      world_ranks_(std::move(world_ranks)),
      stream_(c10::Stream::DEFAULT, link->device()) {
  int64_t id = 0;
  const int status = cuda_.new_stream(device_.index(), &id, &native_stream_);
  TESSERA_CHECK(status == 0, device, "group ", name_, ": no stream on ", device_.str(), " (cuda error ",
                status, ")");
  stream_ = c10::Stream(c10::Stream::UNSAFE, device_, id);
}

std::shared_ptr<NcclLink> NcclComm::link() const {
  auto link = link_.lock();
  TESSERA_CHECK(link != nullptr, state, "group ", name_, ": its world has ended");
  return link;
}

std::shared_ptr<NcclComm> NcclComm::connect(const std::shared_ptr<NcclLink>& link, std::string name,
                                            std::vector<int> world_ranks, const NcclBoard::Id& id, int rank) {
  TESSERA_CHECK(id.size() == kNcclIdBytes, internal, "group ", name, ": an id of ", id.size(), " bytes");
  const int ranks = static_cast<int>(world_ranks.size());
  std::shared_ptr<NcclComm> comm(new NcclComm(link, std::move(name), std::move(world_ranks)));
  int result = 0;
  {
    const CurrentDevice on_device(link->device());
    const std::lock_guard lock(comm->mutex_);
    result = comm->nccl_.init(&comm->comm_, ranks, id.data(), rank, comm->name_.c_str());
  }
  comm->check_result(result, cat("making group ", comm->name_));
  link->add(comm);
  return comm;
}

std::shared_ptr<NcclComm> NcclComm::split(const std::shared_ptr<NcclLink>& link, std::string name,
                                          NcclComm& parent, int color, int key,
                                          std::vector<int> world_ranks) {
  const std::string what = cat("making group ", name);
  std::shared_ptr<NcclComm> comm;
  if (color >= 0)
    comm = std::shared_ptr<NcclComm>(new NcclComm(link, std::move(name), std::move(world_ranks)));
  // A thread of NCCL writes here, perhaps after this function was left by an error: then the place is not
  // freed.
  auto place = std::make_unique<void*>(nullptr);
  int result = 0;
  try {
    {
      const CurrentDevice on_device(link->device());
      const std::lock_guard lock(parent.mutex_);
      if (parent.comm_ != nullptr) {
        result = parent.nccl_.split(parent.comm_, color, key, comm ? comm->name_.c_str() : "", place.get());
      }
    }
    parent.check_result(result, what);
    link->await([&] { return parent.settled(what); }, what, parent.world_ranks_);
  } catch (...) {
    static_cast<void>(place.release());
    throw;
  }
  if (!comm) return nullptr;
  comm->comm_ = *place;
  link->add(comm);
  comm->await_ready();
  return comm;
}

NcclComm::~NcclComm() {
  this->abort();
  if (native_stream_ != nullptr) cuda_.free_stream(device_.index(), native_stream_);
}

void NcclComm::check_result(int result, const std::string& what) {
  if (result == kNcclSuccess || result == kNcclInProgress) return;
  Error error(Code::internal, what);
  {
    const std::lock_guard lock(mutex_);
    error = link()->nccl_error(result, comm_, what);
  }
  const auto link = this->link();
  // NCCL sees that a connection has broken; who broke it, the other side of the world knows.
  link->fail(error);
  link->check();
}

/// Whether NCCL has ended what it was asked for last.
bool NcclComm::settled(const std::string& what) {
  int state = kNcclSuccess;
  int result = kNcclSuccess;
  {
    const std::lock_guard lock(mutex_);
    if (comm_ == nullptr) {
      link()->check();
      throw Error(Code::state, cat("group ", name_, " has ended"));
    }
    result = nccl_.state(comm_, &state);
  }
  check_result(result, what);
  check_result(state, what);
  return state != kNcclInProgress;
}

bool NcclComm::ready() {
  return settled(cat("group ", name_));
}

void NcclComm::look() {
  int state = kNcclSuccess;
  int result = kNcclSuccess;
  {
    const std::lock_guard lock(mutex_);
    if (comm_ == nullptr) return;
    result = nccl_.state(comm_, &state);
  }
  const std::string what = cat("group ", name_);
  check_result(result, what);
  check_result(state, what);
}

void NcclComm::await_ready() {
  if (connected_) return;
  const std::string what = cat("making group ", name_);
  link()->await([&] { return settled(what); }, what, world_ranks_);
  connected_ = true;
}

void NcclComm::start(const std::string& what, const Calls& calls) {
  const auto link = this->link();
  int result = kNcclSuccess;
  {
    const CurrentDevice on_device(device_);
    const std::lock_guard alone(link->launching());
    const std::lock_guard lock(mutex_);
    if (comm_ == nullptr) {
      link->check();
      throw Error(Code::state, cat("group ", name_, " has ended"));
    }
    result = nccl_.group_start();
    if (result == kNcclSuccess) {
      result = calls(nccl_, comm_, native_stream_);
      const int end = nccl_.group_end();  // also after an error: it is open otherwise
      if (result == kNcclSuccess || result == kNcclInProgress) result = end;
    }
  }
  check_result(result, what);
}

void NcclComm::call(const std::string& what, const Calls& calls) {
  await_ready();
  start(what, calls);
  link()->await([&] { return settled(what); }, what, {}, /*watched=*/true);
}

void* NcclComm::attach(void* memory, size_t bytes) {
  await_ready();
  const CurrentDevice on_device(device_);
  const std::lock_guard lock(mutex_);
  if (comm_ == nullptr) throw Error(Code::state, cat("group ", name_, " has ended"));
  void* handle = nullptr;
  const int result = nccl_.register_memory(comm_, memory, bytes, &handle);
  if (result != kNcclSuccess)
    throw link()->nccl_error(result, comm_, cat("group ", name_, ": registering ", bytes, " bytes"));
  if (handle != nullptr) attached_.push_back(handle);
  return handle;
}

void NcclComm::detach(void* handle) noexcept {
  if (handle == nullptr) return;
  const CurrentDevice on_device(device_);
  const std::lock_guard lock(mutex_);
  const auto found = std::find(attached_.begin(), attached_.end(), handle);
  if (comm_ == nullptr || found == attached_.end()) return;
  attached_.erase(found);
  nccl_.deregister_memory(comm_, handle);
}

// Registrations stay until NCCL itself drops them: kernels that wait for a peer read that memory until they
// have seen the abort.
void NcclComm::abort() noexcept {
  const CurrentDevice on_device(device_);
  const std::lock_guard lock(mutex_);
  if (comm_ == nullptr) return;
  nccl_.abort(comm_);
  comm_ = nullptr;
  attached_.clear();
}

void NcclComm::finish() {
  await_ready();
  const std::string what = cat("closing group ", name_);
  int result = kNcclSuccess;
  {
    const CurrentDevice on_device(device_);
    const std::lock_guard lock(mutex_);
    if (comm_ == nullptr) return;
    for (void* handle : attached_) nccl_.deregister_memory(comm_, handle);
    attached_.clear();
    result = nccl_.finalize(comm_);
  }
  check_result(result, what);
  link()->await([&] { return settled(what); }, what, world_ranks_);
}

void NcclComm::destroy() {
  const CurrentDevice on_device(device_);
  const std::lock_guard lock(mutex_);
  if (comm_ == nullptr) return;
  nccl_.destroy(comm_);
  comm_ = nullptr;
}

}  // namespace tessera
