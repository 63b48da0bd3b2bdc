// Opens c10d stores and turns their exceptions into errors.
#include "comm/rendezvous.h"

#include <torch/csrc/distributed/c10d/FileStore.hpp>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <thread>
#include <type_traits>

#include "comm/rendezvous_handle.h"
#include "core/error.h"

namespace tessera {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// What a call may take beyond the timeout, so that who waits for ranks reports first and names them.
constexpr milliseconds kSlack{2000};

struct Endpoint {
  std::string host;
  uint16_t port = 0;
};

Endpoint parse_tcp(const std::string& address) {
  const std::string rest = address.substr(6);
  const size_t colon = rest.rfind(':');
  TESSERA_CHECK(colon != std::string::npos && colon > 0, argument, "rendezvous=", address,
                " has no port: expected tcp://host:port");
  Endpoint endpoint{.host = rest.substr(0, colon)};
  if (endpoint.host.size() > 2 && endpoint.host.front() == '[' && endpoint.host.back() == ']') {
    endpoint.host = endpoint.host.substr(1, endpoint.host.size() - 2);
  }
  const char* first = rest.data() + colon + 1;
  const char* last = rest.data() + rest.size();
  const auto [end, status] = std::from_chars(first, last, endpoint.port);
  TESSERA_CHECK(status == std::errc() && end == last && endpoint.port != 0, argument, "rendezvous=", address,
                ": the port is not a number between 1 and 65535");
  return endpoint;
}

/// c10d waits five minutes for a file whose folder is not there.
void check_file(const std::string& address, const std::string& path) {
  std::error_code error;
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  TESSERA_CHECK(std::filesystem::is_directory(folder, error), not_found, "rendezvous=", address,
                ": there is no folder ", folder.string());
  TESSERA_CHECK(!std::filesystem::is_directory(path, error), argument, "rendezvous=", address,
                " is a folder: expected a file in it");
}

/// First line of an exception's text: c10d adds stack traces.
std::string first_line(const std::exception& error) {
  const std::string text = error.what();
  return text.substr(0, text.find('\n'));
}

}  // namespace

Rendezvous::~Rendezvous() = default;  // here, where Handle is known

template <class Call>
auto Rendezvous::guarded(const char* what, Call call, int times) {
  using Result = std::invoke_result_t<Call, const Handle&>;
  // The call may outlive this object, so it owns all that it touches.
  const auto result = std::make_shared<std::optional<Result>>();
  const bool served_by_rank = !host_.empty() && !options_.agent_store && options_.rank != 0;
  const int server = served_by_rank ? 0 : -1;
  const char* who = served_by_rank ? " (rank 0 serves it)" : "";
  const milliseconds patience = hurried_.load() ? kSlack : times * options_.timeout + kSlack;
  bool ended = false;
  try {
    ended = calls_.run([result, call, handle = handle_] { *result = call(*handle); }, patience);
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    throw Error(Code::peer_failed,
                cat("rendezvous ", address_, " failed in ", what, who, ": ", first_line(error)), server);
  }
  if (!ended)
    throw Error(Code::timeout, cat("rendezvous ", address_, " does not answer", who, " in ", what), server);
  return std::move(**result);
}

void Rendezvous::hurry() {
  hurried_.store(true);
}

void Rendezvous::with_store(const char* what, const std::function<void(const Handle&)>& speak, int times) {
  guarded(
      what,
      [speak](const Handle& handle) {
        speak(handle);
        return true;
      },
      times);
}

std::shared_ptr<Rendezvous> Rendezvous::open(const WorldOptions& options) {
  std::shared_ptr<Rendezvous> result(new Rendezvous);
  result->options_ = options;
  result->address_ = options.rendezvous;
  const std::string& address = options.rendezvous;
  TESSERA_CHECK(!address.empty(), argument, "rendezvous is empty, but size=", options.size,
                " ranks of several processes must meet: expected tcp://host:port or file:///path");
  try {
    c10::intrusive_ptr<c10d::Store> store;
    if (address.rfind("tcp://", 0) == 0) {
      const Endpoint endpoint = parse_tcp(address);
      result->host_ = endpoint.host;
      c10d::TCPStoreOptions tcp;
      tcp.port = endpoint.port;
      tcp.isServer = options.rank == 0 && !options.agent_store;
      tcp.numWorkers = options.size;
      tcp.waitWorkers = false;  // who is missing is found out, and named, later
      tcp.timeout = options.timeout;
      store = c10::make_intrusive<c10d::TCPStore>(endpoint.host, tcp);
    } else if (address.rfind("file:///", 0) == 0) {
      check_file(address, address.substr(7));
      store = c10::make_intrusive<c10d::FileStore>(address.substr(7), options.size);
      store->setTimeout(options.timeout);
    } else {
      throw Error(Code::argument,
                  cat("rendezvous=", address, " is unknown: expected tcp://host:port or file:///path"));
    }
    const std::string job = options.job.empty() ? "tessera" : cat("tessera/", options.job);
    result->handle_ = std::make_shared<Handle>(Handle{c10::make_intrusive<c10d::PrefixStore>(job, store)});
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    throw Error(Code::timeout, cat("rank ", options.rank, " cannot reach rendezvous=", address, " within ",
                                   options.timeout.count(), " ms: ", first_line(error)));
  }
  return result;
}

std::shared_ptr<Rendezvous> Rendezvous::clone() {
  std::shared_ptr<Rendezvous> result(new Rendezvous);
  result->options_ = options_;
  result->address_ = address_;
  result->host_ = host_;
  result->handle_ = guarded(
      "clone", [](const Handle& handle) { return std::make_shared<Handle>(Handle{handle.store->clone()}); });
  return result;
}

void Rendezvous::set(const std::string& key, const std::string& value) {
  guarded("set", [key, bytes = std::vector<uint8_t>(value.begin(), value.end())](const Handle& handle) {
    handle.store->set(key, bytes);
    return true;
  });
}

std::optional<std::string> Rendezvous::try_get(const std::string& key) {
  return guarded("get", [key](const Handle& handle) -> std::optional<std::string> {
    if (!handle.store->check({key})) return std::nullopt;
    const std::vector<uint8_t> value = handle.store->get(key);
    return std::string(value.begin(), value.end());
  });
}

int64_t Rendezvous::add(const std::string& key, int64_t amount) {
  return guarded("add", [key, amount](const Handle& handle) { return handle.store->add(key, amount); });
}

std::string Rendezvous::wait_for(const std::string& key, const std::function<void()>& poll) {
  for (milliseconds pause{1};; pause = std::min(pause * 2, milliseconds(20))) {
    if (auto value = try_get(key)) return *value;
    poll();
    std::this_thread::sleep_for(pause);
  }
}

std::vector<std::string> Rendezvous::wait_for_all(const std::string& prefix, int size,
                                                  steady_clock::time_point deadline) {
  std::vector<std::string> values(size);
  for (int r = 0; r < size; ++r) {
    values[r] = wait_for(cat(prefix, r), [&] {
      if (steady_clock::now() < deadline) return;
      std::string missing;
      for (int q = r; q < size; ++q) {
        if (!try_get(cat(prefix, q))) missing += cat(missing.empty() ? "rank " : ", rank ", q);
      }
      throw Error(Code::timeout,
                  cat("rank ", options_.rank, " waited ", options_.timeout.count(), " ms at ", address_,
                      " for ", missing.empty() ? cat("rank ", r) : missing),
                  r);
    });
  }
  return values;
}

}  // namespace tessera
