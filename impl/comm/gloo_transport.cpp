// GlooTransport on c10d::ProcessGroupGloo, whose send and recv can be aborted from another thread.
#include "comm/gloo_transport.h"

#define USE_C10D_GLOO 1
#include <ATen/ops/from_blob.h>
#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include "comm/rendezvous_handle.h"
#include "core/error.h"

namespace tessera {
namespace {

using std::chrono::milliseconds;

TransportFailure failure_from(const std::exception& error) {
  const std::string text = error.what();
  const bool timed_out =
      text.find("imed out") != std::string::npos || text.find("imeout") != std::string::npos;
  return {timed_out, text.substr(0, text.find('\n'))};
}

/// The process group, opened up far enough to close its connections.
class Connections final : public c10d::ProcessGroupGloo {
 public:
  using ProcessGroupGloo::ProcessGroupGloo;
  void close() {
    for (const auto& context : contexts_) context->closeConnections();
  }
};

class PendingWork final : public GlooTransport::Pending {
 public:
  explicit PendingWork(c10::intrusive_ptr<c10d::Work> work) : work_(std::move(work)) {}
  void wait(milliseconds timeout) override {
    bool done = false;
    try {
      done = work_->wait(timeout);
    } catch (const std::exception& error) {
      throw failure_from(error);
    }
    if (!done) throw TransportFailure{false, "given up"};
  }
  void abort() override { work_->abort(); }

 private:
  c10::intrusive_ptr<c10d::Work> work_;
};

class Transport final : public GlooTransport {
 public:
  explicit Transport(c10::intrusive_ptr<Connections> connections) : connections_(std::move(connections)) {}

  std::shared_ptr<Pending> send(const std::byte* data, size_t bytes, int peer, int tag) override {
    std::vector<at::Tensor> tensors = {view(const_cast<std::byte*>(data), bytes)};
    return start([&] { return connections_->send(tensors, peer, tag); });
  }
  std::shared_ptr<Pending> recv(std::byte* data, size_t bytes, int peer, int tag) override {
    std::vector<at::Tensor> tensors = {view(data, bytes)};
    return start([&] { return connections_->recv(tensors, peer, tag); });
  }
  void close() override {
    try {
      connections_->close();
    } catch (const std::exception&) {  // a connection that is broken already is closed enough
    }
  }

 private:
  static at::Tensor view(std::byte* data, size_t bytes) {
    return at::from_blob(data, {static_cast<int64_t>(bytes)}, at::TensorOptions(at::kByte));
  }
  template <class Start>
  static std::shared_ptr<Pending> start(Start start) {
    try {
      return std::make_shared<PendingWork>(start());
    } catch (const std::exception& error) {
      throw failure_from(error);
    }
  }

  c10::intrusive_ptr<Connections> connections_;
};

/// The address of this host that faces `host`: connecting a datagram socket picks the route and sends
/// nothing.
std::string address_towards(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), "9", &hints, &found) != 0) return "";
  std::string result;
  for (const addrinfo* entry = found; entry != nullptr && result.empty(); entry = entry->ai_next) {
    const int fd = socket(entry->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_storage local{};
    socklen_t length = sizeof local;
    char text[NI_MAXHOST] = {};
    if (fd >= 0 && connect(fd, entry->ai_addr, entry->ai_addrlen) == 0 &&
        getsockname(fd, reinterpret_cast<sockaddr*>(&local), &length) == 0 &&
        getnameinfo(reinterpret_cast<sockaddr*>(&local), length, text, sizeof text, nullptr, 0,
                    NI_NUMERICHOST) == 0) {
      result = text;
    }
    if (fd >= 0) ::close(fd);
  }
  freeaddrinfo(found);
  return result;
}

std::shared_ptr<gloo::transport::Device> device_for(const Rendezvous& rendezvous,
                                                    const WorldOptions& options) {
  using c10d::ProcessGroupGloo;
  if (!options.network_interface.empty()) {
    return ProcessGroupGloo::createDeviceForInterface(options.network_interface);
  }
  const std::string own = rendezvous.host().empty() ? "" : address_towards(rendezvous.host());
  if (!own.empty()) return ProcessGroupGloo::createDeviceForHostname(own);
  if (options.local_size == options.size) return ProcessGroupGloo::createDeviceForHostname("127.0.0.1");
  return ProcessGroupGloo::createDefaultDevice();
}

}  // namespace

std::unique_ptr<GlooTransport> GlooTransport::connect(Rendezvous& rendezvous, const std::string& prefix,
                                                      int rank, int size, const WorldOptions& options) {
  const auto made = std::make_shared<c10::intrusive_ptr<Connections>>();
  try {
    auto settings = c10d::ProcessGroupGloo::Options::create(options.timeout);
    settings->devices.push_back(device_for(rendezvous, options));
    settings->threads = 1;
    // Once for the addresses of the others, once for the connections to them.
    constexpr int kPhases = 2;
    rendezvous.with_store(
        "connect",
        [made, prefix, rank, size, settings](const Rendezvous::Handle& handle) {
          auto store = c10::make_intrusive<c10d::PrefixStore>(prefix, handle.store);
          try {
            *made = c10::make_intrusive<Connections>(store, rank, size, settings);
          } catch (const std::exception& error) {
            const TransportFailure failure = failure_from(error);
            throw Error(failure.timed_out ? Code::timeout : Code::peer_failed,
                        cat("connecting ", size, " ranks over gloo failed: ", failure.text));
          }
        },
        kPhases);
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    throw Error(Code::peer_failed,
                cat("connecting ", size, " ranks over gloo failed: ", failure_from(error).text));
  }
  return std::make_unique<Transport>(std::move(*made));
}

}  // namespace tessera
