// World::from_environment: what torchrun, Open MPI, PMI launchers and Slurm say about this rank.
#include <charconv>
#include <cstdlib>
#include <initializer_list>
#include <optional>
#include <string>

#include "comm/world.h"
#include "core/error.h"

namespace tessera {
namespace {

std::optional<std::string> variable(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return std::string(value);
}

std::optional<int> number(const char* name) {
  const auto text = variable(name);
  if (!text) return std::nullopt;
  int value = 0;
  const auto [end, status] = std::from_chars(text->data(), text->data() + text->size(), value);
  TESSERA_CHECK(status == std::errc() && end == text->data() + text->size(), argument, name, "=", *text,
                " is not a number");
  return value;
}

int required(const char* name, const char* because) {
  const auto value = number(name);
  TESSERA_CHECK(value.has_value(), argument, name, " is not set, although ", because, " is");
  return *value;
}

/// "node[03-05,9],x" -> "node03"; "a,b" -> "a".
std::string first_host(const std::string& list) {
  const size_t end = list.find_first_of(",[");
  if (end == std::string::npos || list[end] == ',') return list.substr(0, end);
  const size_t number_end = list.find_first_of(",-]", end + 1);
  TESSERA_CHECK(number_end != std::string::npos, argument, "SLURM_JOB_NODELIST=", list, " is malformed");
  return list.substr(0, end) + list.substr(end + 1, number_end - end - 1);
}

/// "4(x2),3" on node 2 -> 3.
int tasks_on_node(const std::string& counts, int node) {
  const char* next = counts.data();
  const char* end = next + counts.size();
  while (next < end) {
    int tasks = 0;
    int repeat = 1;
    auto [rest, status] = std::from_chars(next, end, tasks);
    TESSERA_CHECK(status == std::errc(), argument, "SLURM_TASKS_PER_NODE=", counts, " is malformed");
    if (rest + 2 < end && rest[0] == '(' && rest[1] == 'x') {
      const auto repeated = std::from_chars(rest + 2, end, repeat);
      TESSERA_CHECK(repeated.ec == std::errc(), argument, "SLURM_TASKS_PER_NODE=", counts, " is malformed");
      rest = repeated.ptr + 1;
    }
    if (node < repeat) return tasks;
    node -= repeat;
    next = rest + 1;
  }
  throw Error(Code::argument, cat("SLURM_TASKS_PER_NODE=", counts, " has too few nodes"));
}

void read_torchrun(WorldOptions& options) {
  options.rank = required("RANK", "WORLD_SIZE");
  options.size = required("WORLD_SIZE", "RANK");
  options.local_rank = number("LOCAL_RANK").value_or(options.rank);
  options.local_size = number("LOCAL_WORLD_SIZE").value_or(options.size);
  options.agent_store = variable("TORCHELASTIC_USE_AGENT_STORE") == "True";
  if (options.job.empty()) {
    // The agent's store outlives a restarted attempt: the keys of each attempt are apart.
    options.job = cat(variable("TORCHELASTIC_RUN_ID").value_or("torchrun"), ".",
                      variable("TORCHELASTIC_RESTART_COUNT").value_or("0"));
  }
}

void read_slurm(WorldOptions& options) {
  options.rank = required("SLURM_PROCID", "SLURM_NTASKS");
  options.size = required("SLURM_NTASKS", "SLURM_PROCID");
  options.local_rank = number("SLURM_LOCALID").value_or(options.rank);
  const auto counts =
      variable("SLURM_STEP_TASKS_PER_NODE").value_or(variable("SLURM_TASKS_PER_NODE").value_or(""));
  options.local_size =
      counts.empty() ? options.size : tasks_on_node(counts, number("SLURM_NODEID").value_or(0));
  if (options.job.empty()) {
    options.job =
        cat("slurm.", variable("SLURM_JOB_ID").value_or("0"), ".", variable("SLURM_STEP_ID").value_or("0"));
  }
}

/// MASTER_ADDR and MASTER_PORT, as all of PyTorch's launchers understand them.
void read_master(WorldOptions& options, int default_port) {
  if (!options.rendezvous.empty() || options.size == 1) return;
  std::optional<std::string> host = variable("MASTER_ADDR");
  if (!host) {
    const auto nodes = variable("SLURM_STEP_NODELIST").value_or(variable("SLURM_JOB_NODELIST").value_or(""));
    if (!nodes.empty() && number("SLURM_PROCID")) host = first_host(nodes);
  }
  if (!host && options.local_size == options.size) host = "127.0.0.1";
  TESSERA_CHECK(host.has_value(), argument,
                "MASTER_ADDR is not set: ranks on several hosts need the address of rank 0's host");
  const int port = number("MASTER_PORT").value_or(default_port);
  const bool is_ipv6 = host->find(':') != std::string::npos;
  options.rendezvous = is_ipv6 ? cat("tcp://[", *host, "]:", port) : cat("tcp://", *host, ":", port);
}

/// A port that two jobs on one host rarely share.
int port_from(const std::string& job) {
  uint32_t hash = 2166136261U;
  for (char c : job) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619U;
  return 20000 + static_cast<int>(hash % 10000);
}

}  // namespace

std::shared_ptr<World> World::from_environment(const WorldOptions& defaults) {
  WorldOptions options = defaults;
  int port = 29500;
  if (variable("RANK") || variable("WORLD_SIZE")) {
    read_torchrun(options);
  } else if (variable("OMPI_COMM_WORLD_RANK")) {
    options.rank = required("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE");
    options.size = required("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK");
    options.local_rank = number("OMPI_COMM_WORLD_LOCAL_RANK").value_or(options.rank);
    options.local_size = number("OMPI_COMM_WORLD_LOCAL_SIZE").value_or(options.size);
    port = port_from(variable("OMPI_MCA_ess_base_jobid").value_or(""));
  } else if (variable("PMI_RANK")) {
    options.rank = required("PMI_RANK", "PMI_SIZE");
    options.size = required("PMI_SIZE", "PMI_RANK");
    options.local_rank = number("MPI_LOCALRANKID").value_or(options.rank);
    options.local_size = number("MPI_LOCALNRANKS").value_or(options.size);
  } else if (variable("SLURM_PROCID")) {
    read_slurm(options);
    port = port_from(options.job);
  } else {
    options.rank = options.local_rank = 0;
    options.size = options.local_size = 1;
    return connect(options);
  }
  if (options.network_interface.empty())
    options.network_interface = variable("GLOO_SOCKET_IFNAME").value_or("");
  read_master(options, port);
  return connect(options);
}

}  // namespace tessera
