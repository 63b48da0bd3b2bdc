// Devices of ranks, and which engine connects them.
#include "comm/device_world.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <mutex>
#include <set>
#include <utility>

#include "comm/device_group.h"
#include "comm/nccl_group.h"
#include "comm/nccl_link.h"
#include "comm/solo_group.h"
#include "comm/staged_group.h"
#include "core/cuda_plugin.h"
#include "core/error.h"
#include "core/log.h"

namespace tessera {
namespace {

class DeviceWorld final : public World {
 public:
  DeviceWorld(WorldPtr control, WorldOptions options, at::Device device, const DeviceSupport& support)
      : control_(std::move(control)), options_(std::move(options)), device_(device) {
    if (control_->size() > 1 && support.nccl != nullptr) {
      auto host = std::dynamic_pointer_cast<HostWorld>(control_);
      TESSERA_CHECK(host != nullptr, internal, "a device world over a device world");
      link_ = std::make_shared<NcclLink>(std::move(host), *support.cuda, *support.nccl, device, options_,
                                         support.hosts);
    }
  }

  ~DeviceWorld() override {
    if (link_) link_->end(Error(Code::state, cat("the world of rank ", rank(), " has ended"), rank()));
  }

  int rank() const override { return control_->rank(); }
  int size() const override { return control_->size(); }
  const WorldOptions& options() const override { return options_; }
  at::Device device() const { return device_; }

  GroupPtr group(const std::string& name, const std::vector<int>& ranks) override {
    return find_or_make(name, ranks,
                        [&](const GroupPtr& host) { return NcclGroup::make(link_, host, nullptr); });
  }

  GroupPtr split(const std::string& name, const std::vector<int>& ranks) {
    if (!link_) return group(name, ranks);
    const auto all = std::static_pointer_cast<NcclGroup>(everyone());
    {
      const std::lock_guard lock(mutex_);
      if (ranks.size() == 1 && !groups_.contains(name)) NcclComm::split(link_, name, all->comm(), -1, 0, {});
    }
    return find_or_make(name, ranks, [&](const GroupPtr& host) {
      return NcclGroup::make(link_, host,
                             NcclComm::split(link_, name, all->comm(), ranks[0], host->rank(), ranks));
    });
  }

  void abort(const std::string& reason) override {
    control_->abort(reason);
    if (link_) link_->fail(Error(Code::peer_failed, cat("rank ", rank(), " aborted: ", reason), rank()));
  }

  void close() override {
    if (std::exchange(closed_, true)) return;
    synchronize();
    // All have ended what they do together before communicators go.
    if (link_) {
      control_->everyone()->barrier();
      link_->close();
    }
    control_->close();
  }

  int64_t own_bytes() const { return link_ ? link_->own_bytes().load() : 0; }

  void synchronize() {
    if (link_) return link_->synchronize();
    const c10::impl::VirtualGuardImpl guard(device_.type());
    guard.synchronizeStream(guard.getStream(device_));
  }

 private:
  template <class Make>
  GroupPtr find_or_make(const std::string& name, const std::vector<int>& ranks, Make make) {
    const std::lock_guard lock(mutex_);
    const GroupPtr host = control_->group(name, ranks);  // also checks the ranks
    const auto found = groups_.find(name);
    if (found != groups_.end()) return found->second;
    GroupPtr made;
    if (host->size() == 1) {
      made = std::make_shared<SoloGroup>(host, device_);
    } else if (link_) {
      made = make(host);
    } else {
      made = std::make_shared<StagedGroup>(host, device_);
    }
    groups_.emplace(name, made);
    return made;
  }

  const WorldPtr control_;
  const WorldOptions options_;
  const at::Device device_;
  std::shared_ptr<NcclLink> link_;  ///< null: one rank, or host memory between ranks
  bool closed_ = false;
  std::mutex mutex_;  ///< guards groups_
  std::map<std::string, GroupPtr> groups_;
};

/// What tells this rank's GPU from all others, zero-terminated texts.
struct GpuName {
  char host[512];
  char bus[64];
};

/// As NCCL does it: the name that NCCL_HOSTID gives to the process's host, or that of the running system.
std::string host_name() {
  const char* given = std::getenv("NCCL_HOSTID");
  if (given != nullptr && *given != '\0') return given;
  char name[256] = "";
  gethostname(name, sizeof name - 1);
  std::string boot;
  std::getline(std::ifstream("/proc/sys/kernel/random/boot_id"), boot);
  return cat(name, " ", boot);
}

GpuName gpu_name(const CudaCommunication& cuda, int32_t device) {
  GpuName name{};
  TESSERA_CHECK(cuda.bus_id(device, name.bus, sizeof name.bus - 1), device, "device=cuda: GPU ", device,
                " cannot be used");
  const std::string host = host_name();
  std::memcpy(name.host, host.data(), std::min(host.size(), sizeof name.host - 1));
  return name;
}

const CudaCommunication& support() {
  const CudaCommunication* cuda = cuda_communication();
  TESSERA_CHECK(cuda != nullptr, device,
                "device=cuda: libtessera_cuda.so is of another build than libtessera.so");
  return *cuda;
}

int device_count() {
  char reason[256] = "";
  const CudaPlugin* plugin = cuda_plugin();
  const int count = plugin ? plugin->device_count(reason, sizeof reason) : 0;
  TESSERA_CHECK(count > 0, device, "device=cuda: ", cuda_unavailable_reason());
  return count;
}

/// LibTorch still runs on GPUs for which the plugin has no kernels: said here, not by the first launch.
void check_capability(int device) {
  const int capability = cuda_capability(device);
  TESSERA_CHECK(capability >= kOldestCudaCapability, device, "device=cuda: GPU ", device,
                " has compute capability ", capability / 10, ".", capability % 10, ", at least ",
                kOldestCudaCapability / 10, ".", kOldestCudaCapability % 10, " is needed");
}

/// Before the first tensor on a device.
void set_up_allocator(const WorldOptions& options) {
  if (options.expandable_segments == "off") return;
  const bool asked = options.expandable_segments == "on";
  char reason[512] = "";
  if (cuda_plugin()->use_expandable_segments(asked, reason, sizeof reason)) return;
  log_at(asked ? LogLevel::warning : LogLevel::info,
         cat("memory of GPUs comes without expandable segments: ", reason));
}

/// NCCL, host memory, or an error, by what was asked for and whether ranks share GPUs.
const NcclApi* choose_engine(const CudaCommunication& cuda, const WorldOptions& options, int ranks,
                             int gpus) {
  if (ranks == 1 || options.backend == "local" || options.backend == "gloo") return nullptr;
  if (gpus < ranks) {
    TESSERA_CHECK(options.backend != "nccl", argument, "backend=nccl needs a GPU for each of the ", ranks,
                  " ranks, which have ", gpus);
    log_at(LogLevel::warning, cat(ranks, " ranks share ", gpus, gpus == 1 ? " GPU" : " GPUs",
                                  ": their collectives go through host memory, which is slow"));
    return nullptr;
  }
  char reason[256] = "";
  const NcclApi* nccl = cuda.nccl(reason, sizeof reason);
  TESSERA_CHECK(nccl != nullptr, device, "device=cuda: ", reason,
                "; backend=gloo works without NCCL, through host memory");
  return nccl;
}

}  // namespace

at::Device device_of(const World& world) {
  const auto* on_device = dynamic_cast<const DeviceWorld*>(&world);
  return on_device ? on_device->device() : at::Device(at::kCPU);
}

at::Device device_of(const Group& group) {
  const auto* on_device = dynamic_cast<const DeviceGroup*>(&group);
  return on_device ? on_device->device() : at::Device(at::kCPU);
}

void synchronize(World& world) {
  if (auto* on_device = dynamic_cast<DeviceWorld*>(&world)) on_device->synchronize();
}

int64_t bytes_beside_allocator(const World& world) {
  const auto* on_device = dynamic_cast<const DeviceWorld*>(&world);
  return on_device ? on_device->own_bytes() : 0;
}

at::Tensor collective_memory(Group& group, int64_t bytes) {
  if (auto* on_device = dynamic_cast<DeviceGroup*>(&group)) return on_device->allocate(bytes);
  return at::empty({bytes}, at::dtype(at::kByte));
}

GroupPtr split_world(World& world, const std::string& name, const std::vector<int>& world_ranks) {
  auto* on_device = dynamic_cast<DeviceWorld*>(&world);
  return on_device ? on_device->split(name, world_ranks) : world.group(name, world_ranks);
}

void enter_device(const World& world) {
  const at::Device device = device_of(world);
  if (!device.is_cpu()) c10::impl::VirtualGuardImpl(device.type()).setDevice(device);
}

WorldPtr make_device_world(WorldPtr control, const WorldOptions& options, at::Device device,
                           const DeviceSupport& support) {
  return std::make_shared<DeviceWorld>(std::move(control), options, device, support);
}

void check_cuda_options(const WorldOptions& options) {
  const std::string reason = cuda_unavailable_reason();
  TESSERA_CHECK(reason.empty(), device, "device=", options.device, ": ", reason);
}

WorldPtr with_cuda(WorldPtr control, const WorldOptions& options) {
  const CudaCommunication& cuda = support();
  const int32_t index = options.local_rank % device_count();
  check_capability(index);
  set_up_allocator(options);
  const GpuName mine = gpu_name(cuda, index);
  const auto bytes = static_cast<int64_t>(sizeof mine);
  const at::Tensor own = at::empty({bytes}, at::dtype(at::kByte));
  const at::Tensor all = at::empty({bytes * control->size()}, at::dtype(at::kByte));
  std::memcpy(own.data_ptr(), &mine, sizeof mine);
  control->everyone()->all_gather({all}, {own})->wait();
  std::vector<std::string> hosts;
  std::set<std::pair<std::string, std::string>> gpus;
  for (int r = 0; r < control->size(); ++r) {
    GpuName theirs;
    std::memcpy(&theirs, static_cast<const char*>(all.const_data_ptr()) + r * bytes, sizeof theirs);
    hosts.emplace_back(theirs.host);
    gpus.emplace(theirs.host, theirs.bus);
  }
  const NcclApi* nccl = choose_engine(cuda, options, control->size(), static_cast<int>(gpus.size()));
  return make_device_world(std::move(control), options,
                           at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(index)),
                           {&cuda, nccl, std::move(hosts)});
}

std::vector<WorldPtr> with_cuda(const std::vector<WorldPtr>& controls, const WorldOptions& options) {
  const CudaCommunication& cuda = support();
  const int count = device_count();
  set_up_allocator(options);
  const auto ranks = static_cast<int>(controls.size());
  for (int device = 0; device < std::min(count, ranks); ++device) check_capability(device);
  const NcclApi* nccl = choose_engine(cuda, options, ranks, std::min(count, ranks));
  std::vector<WorldPtr> worlds;
  for (int r = 0; r < ranks; ++r) {
    WorldOptions own = options;
    own.size = own.local_size = ranks;
    own.rank = own.local_rank = r;
    worlds.push_back(make_device_world(controls[r], own,
                                       at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(r % count)),
                                       {&cuda, nccl, {}}));
  }
  return worlds;
}

}  // namespace tessera
