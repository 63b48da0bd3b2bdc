// The table of known clusters, and clusters that users describe.
#include "simulate/cluster.h"

#include <nlohmann/json.hpp>

#include "core/config.h"
#include "core/error.h"

namespace tessera {
namespace {

constexpr double kGiga = 1e9;
constexpr double kTera = 1e12;
constexpr double kMicro = 1e-6;

// Peaks are those of the makers' data sheets (dense, without sparsity; links in one direction). The shares
// are what published measurements reach: large bf16 products 0.7 to 0.8 of the peak on H100, nccl-tests
// 0.75 to 0.85 of the links, stream kernels 0.85 to 0.9 of the memory.
Cluster a100() {
  Cluster c;
  c.name = "a100-8x-ib";
  c.bf16_flops = 312 * kTera;
  c.fp32_flops = 19.5 * kTera;
  c.gemm_share = 0.85;
  c.attention_share = 0.62;
  c.attention_backward_share = 0.5;
  c.launch_seconds = 3 * kMicro;
  c.memory_bytes = 80 * kGiga;
  c.memory_bandwidth = 2039 * kGiga;
  c.intra_bandwidth = 300 * kGiga;
  c.intra_latency = 3 * kMicro;
  c.inter_bandwidth = 25 * kGiga;
  c.inter_latency = 8 * kMicro;
  c.source =
      "NVIDIA A100 80GB SXM data sheet (312 TFLOP/s bf16, 2039 GB/s, NVLink 600 GB/s both ways); DGX A100: "
      "8 HDR cards of 200 Gbit/s";
  return c;
}

Cluster h100() {
  Cluster c = a100();
  c.name = "h100-8x-ib";
  c.bf16_flops = 989.4 * kTera;
  c.fp32_flops = 67 * kTera;
  c.gemm_share = 0.7;
  c.attention_share = 0.48;
  c.attention_backward_share = 0.36;
  c.memory_bandwidth = 3350 * kGiga;
  c.intra_bandwidth = 450 * kGiga;
  c.inter_bandwidth = 50 * kGiga;
  c.source =
      "NVIDIA H100 SXM5 data sheet (989.4 TFLOP/s bf16, 3.35 TB/s, NVLink 900 GB/s both ways); DGX H100: 8 "
      "NDR cards of 400 Gbit/s";
  return c;
}

Cluster h200() {
  Cluster c = h100();
  c.name = "h200-8x-ib";
  c.memory_bytes = 141 * kGiga;
  c.memory_bandwidth = 4800 * kGiga;
  c.source = "NVIDIA H200 SXM data sheet (as H100, 141 GB at 4.8 TB/s); 8 NDR cards of 400 Gbit/s";
  return c;
}

Cluster b200() {
  Cluster c = h100();
  c.name = "b200-8x-ib";
  c.bf16_flops = 2250 * kTera;
  c.fp32_flops = 75 * kTera;
  c.gemm_half = 192;
  c.memory_bytes = 180 * kGiga;
  c.memory_bandwidth = 7700 * kGiga;
  c.intra_bandwidth = 900 * kGiga;
  c.source =
      "NVIDIA HGX B200 data sheet (2.25 PFLOP/s bf16, 180 GB at 7.7 TB/s, NVLink 1.8 TB/s both ways); 8 NDR "
      "cards of 400 Gbit/s";
  return c;
}

// Rank threads of one desktop or server processor: a core of a recent x86 machine. Calibrate instead
// (cluster=here) when the machine is at hand.
Cluster cpu_local() {
  Cluster c;
  c.name = "cpu-local";
  c.bf16_flops = 400 * kGiga;
  c.fp32_flops = 270 * kGiga;
  c.gemm_share = 0.9;
  c.gemm_half = 12;
  c.attention_share = 0.25;
  c.attention_backward_share = 0.25;
  c.launch_seconds = 2 * kMicro;
  c.memory_bytes = 8 * kGiga;
  c.memory_bandwidth = 10 * kGiga;
  c.memory_share = 1;
  c.update_share = 1;
  c.reserved_fraction = 0;
  c.node_devices = 1 << 20;
  c.intra_bandwidth = 5 * kGiga;
  c.intra_latency = 5 * kMicro;
  c.inter_bandwidth = 1.25 * kGiga;
  c.inter_latency = 30 * kMicro;
  c.link_share = 1;
  c.shares_memory = true;
  c.source = "one core of a Zen 5 processor, measured; a device is a core";
  return c;
}

const std::vector<Cluster>& known() {
  static const auto* clusters = new std::vector<Cluster>{a100(), h100(), h200(), b200(), cpu_local()};
  return *clusters;
}

// The members that a description may set, each with its bounds.
struct Field {
  const char* name;
  double Cluster::* member;
  double min;
  double max;
  const char* doc;
};

constexpr Field kFields[] = {
    {"bf16_flops", &Cluster::bf16_flops, 1e6, 1e18, "Dense bf16 matrix products, operations a second."},
    {"fp32_flops", &Cluster::fp32_flops, 1e6, 1e18, "The same in fp32."},
    {"gemm_share", &Cluster::gemm_share, 1e-3, 1, "Share of the peak that large matrix products reach."},
    {"gemm_half", &Cluster::gemm_half, 0, 1e5, "Side at which half of that is left."},
    {"attention_share", &Cluster::attention_share, 1e-4, 1, "Share of the peak, attention forward."},
    {"attention_backward_share", &Cluster::attention_backward_share, 1e-4, 1, "The same, backward."},
    {"launch_seconds", &Cluster::launch_seconds, 0, 1, "Start of a kernel."},
    {"memory_bytes", &Cluster::memory_bytes, 1e6, 1e15, "Memory of a device."},
    {"memory_bandwidth", &Cluster::memory_bandwidth, 1e6, 1e15, "Bytes a second."},
    {"memory_share", &Cluster::memory_share, 1e-3, 100, "What element-wise kernels reach of it."},
    {"update_share", &Cluster::update_share, 1e-3, 100, "What optimizers reach of it."},
    {"reserved_fraction", &Cluster::reserved_fraction, 0, 0.9, "Of the memory, for others."},
    {"intra_bandwidth", &Cluster::intra_bandwidth, 1e3, 1e15, "A device to its node, one direction."},
    {"intra_latency", &Cluster::intra_latency, 0, 1, "Seconds a hop."},
    {"inter_bandwidth", &Cluster::inter_bandwidth, 1e3, 1e15, "A device's share of the network, one way."},
    {"inter_latency", &Cluster::inter_latency, 0, 1, "Seconds a hop."},
    {"link_share", &Cluster::link_share, 1e-3, 1, "What collectives reach of the links."},
};

const KeyTable& cluster_keys() {
  static const auto* table = [] {
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    std::vector<ConfigKey> keys;
    keys.push_back({"base", KeyType::text, "", -kInfinity, kInfinity, {}, "Known cluster to change."});
    keys.push_back({"name", KeyType::text, "", -kInfinity, kInfinity, {}, "For reports."});
    keys.push_back({"source", KeyType::text, "", -kInfinity, kInfinity, {}, "Where figures come from."});
    for (const Field& f : kFields) keys.push_back({f.name, KeyType::real, "", f.min, f.max, {}, f.doc});
    keys.push_back({"node_devices", KeyType::integer, "", 1, 1 << 20, {}, "Devices of a node."});
    keys.push_back(
        {"shares_memory", KeyType::boolean, "", 0, 1, {}, "Ranks of a node are threads of its cores."});
    return new KeyTable(std::move(keys));
  }();
  return *table;
}

const Cluster* find_known(const std::string& name) {
  for (const Cluster& cluster : known()) {
    if (cluster.name == name) return &cluster;
  }
  return nullptr;
}

Cluster known_or_throw(const std::string& name) {
  if (const Cluster* found = find_known(name)) return *found;
  std::string names;
  for (const std::string& other : cluster_names()) names += (names.empty() ? "" : ", ") + other;
  throw Error(Code::not_found, cat("no cluster \"", name, "\": known are ", names,
                                   ", here, or a YAML or JSON map of figures"));
}

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() > end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

}  // namespace

std::vector<std::string> cluster_names() {
  std::vector<std::string> names;
  for (const Cluster& cluster : known()) names.push_back(cluster.name);
  return names;
}

Cluster find_cluster(const std::string& text) {
  if (const Cluster* found = find_known(text)) return *found;
  const bool is_file = ends_with(text, ".yaml") || ends_with(text, ".yml") || ends_with(text, ".json");
  if (!is_file && text.find(':') == std::string::npos) return known_or_throw(text);
  Config values(cluster_keys());
  if (is_file) {
    values.load_file(text);
  } else {
    values.load_yaml(text, "cluster");
  }
  Cluster cluster;
  if (values.has("base")) cluster = known_or_throw(values.text("base"));
  cluster.source = values.has("source") ? values.text("source") : "given by the user";
  if (values.has("name")) {
    cluster.name = values.text("name");
  } else {
    cluster.name = values.has("base") ? cluster.name + " (changed)" : "given";
  }
  for (const Field& field : kFields) {
    if (values.is_set(field.name)) cluster.*field.member = values.real(field.name);
  }
  if (values.is_set("node_devices")) cluster.node_devices = values.integer("node_devices");
  if (values.is_set("shares_memory")) cluster.shares_memory = values.flag("shares_memory");
  check_cluster(cluster);
  return cluster;
}

void check_cluster(const Cluster& cluster) {
  for (const Field& field : kFields) {
    const double value = cluster.*field.member;
    TESSERA_CHECK(value >= field.min && value <= field.max, argument, "cluster ", cluster.name, ": ",
                  field.name, "=", value, " is not between ", field.min, " and ", field.max);
  }
  TESSERA_CHECK(cluster.node_devices >= 1, argument, "cluster ", cluster.name,
                ": node_devices=", cluster.node_devices, " is not positive");
}

std::string to_json(const Cluster& cluster) {
  nlohmann::ordered_json json;
  json["name"] = cluster.name;
  json["source"] = cluster.source;
  for (const Field& field : kFields) json[field.name] = cluster.*field.member;
  json["node_devices"] = cluster.node_devices;
  json["shares_memory"] = cluster.shares_memory;
  return json.dump(2);
}

}  // namespace tessera
