// Known clusters, and those that users describe.
#include <gtest/gtest.h>

#include <set>

#include "core/error.h"
#include "simulate/cluster.h"

namespace tessera {
namespace {

std::string error_of(const std::string& text) {
  try {
    find_cluster(text);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(SimulateCluster, KnownOnesAreWholeAndSayWhereTheirFiguresComeFrom) {
  const std::vector<std::string> names = cluster_names();
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), names.size());
  for (const std::string& name : names) {
    const Cluster cluster = find_cluster(name);
    EXPECT_EQ(cluster.name, name);
    EXPECT_FALSE(cluster.source.empty()) << name;
    EXPECT_NO_THROW(check_cluster(cluster)) << name;
    EXPECT_GE(cluster.intra_bandwidth, cluster.inter_bandwidth) << name;
  }
}

TEST(SimulateCluster, AMapChangesAKnownOne) {
  const Cluster cluster = find_cluster("{base: h100-8x-ib, inter_bandwidth: 25e9, node_devices: 4}");
  EXPECT_EQ(cluster.inter_bandwidth, 25e9);
  EXPECT_EQ(cluster.node_devices, 4);
  EXPECT_EQ(cluster.bf16_flops, find_cluster("h100-8x-ib").bf16_flops);
  EXPECT_EQ(cluster.name, "h100-8x-ib (changed)");
}

TEST(SimulateCluster, JsonReadsBackToTheSame) {
  for (const std::string& name : cluster_names()) {
    const Cluster cluster = find_cluster(name);
    const Cluster again = find_cluster(to_json(cluster));
    EXPECT_EQ(to_json(again), to_json(cluster));
  }
}

TEST(SimulateCluster, ErrorsNameKeyAndValue) {
  EXPECT_EQ(error_of("h101"),
            "no cluster \"h101\": known are a100-8x-ib, h100-8x-ib, h200-8x-ib, b200-8x-ib, cpu-local, here, "
            "or a YAML or JSON map of figures");
  EXPECT_NE(error_of("{base: h101, gemm_share: 0.5}").find("no cluster \"h101\""), std::string::npos);
  EXPECT_NE(error_of("{base: h100-8x-ib, gemm_share: 2}").find("gemm_share"), std::string::npos);
  EXPECT_NE(error_of("{base: h100-8x-ib, bandwidth: 2}").find("bandwidth"), std::string::npos);
  EXPECT_NE(error_of("{bf16_flops: 1e12}").find("cluster given: fp32_flops=0 is not between"),
            std::string::npos);
  EXPECT_NE(error_of("{base: h100-8x-ib, node_devices: -1}").find("node_devices"), std::string::npos);
  EXPECT_NE(error_of("{base: [").find("cluster"), std::string::npos);
}

}  // namespace
}  // namespace tessera
