// Mesh arithmetic over all shapes of up to 64 ranks, and its error texts.
#include "mesh/mesh.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <set>

#include "core/error.h"

namespace tessera {
namespace {

void for_each_shape(int world, const std::function<void(const MeshSpec&)>& visit) {
  for (int64_t pp = 1; pp <= world; ++pp) {
    if (world % pp != 0) continue;
    for (int64_t replicate = 1; replicate <= world / pp; ++replicate) {
      if (world / pp % replicate != 0) continue;
      const int64_t after_replicate = world / pp / replicate;
      for (int64_t shard = 1; shard <= after_replicate; ++shard) {
        if (after_replicate % shard != 0) continue;
        const int64_t after_shard = after_replicate / shard;
        for (int64_t cp = 1; cp <= after_shard; ++cp) {
          if (after_shard % cp == 0) visit({pp, replicate, shard, cp, after_shard / cp, 1});
        }
      }
    }
  }
}

std::string message_of(const MeshSpec& spec, int world) {
  try {
    Mesh mesh(spec, world);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::argument);
    return error.what();
  }
  return "no error";
}

const std::vector<std::string_view> kSubmeshes = {"pp", "dp_replicate", "dp_shard", "cp",    "tp",
                                                  "dp", "dp_shard_cp",  "dp_cp",    "model", "world"};

TEST(Mesh, CoordinatesRoundTripForAllShapesUpTo64Ranks) {
  for (int world = 1; world <= 64; ++world) {
    for_each_shape(world, [&](const MeshSpec& spec) {
      const Mesh mesh(spec, world);
      for (int rank = 0; rank < world; ++rank) ASSERT_EQ(mesh.rank_of(mesh.coordinates(rank)), rank);
    });
  }
}

TEST(Mesh, GroupsPartitionTheWorldForAllShapesUpTo64Ranks) {
  for (int world = 1; world <= 64; ++world) {
    for_each_shape(world, [&](const MeshSpec& spec) {
      const Mesh mesh(spec, world);
      for (std::string_view name : kSubmeshes) {
        const std::vector<Axis> axes = submesh_axes(name);
        std::vector<bool> seen(world, false);
        for (int rank = 0; rank < world; ++rank) {
          if (seen[rank]) continue;
          const std::vector<int> group = mesh.group_ranks(rank, axes);
          ASSERT_EQ(static_cast<int64_t>(group.size()), mesh.size_of(axes));
          ASSERT_TRUE(std::is_sorted(group.begin(), group.end()));
          for (size_t index = 0; index < group.size(); ++index) {
            ASSERT_FALSE(seen[group[index]]);
            seen[group[index]] = true;
            ASSERT_EQ(mesh.group_ranks(group[index], axes), group);
            ASSERT_EQ(mesh.group_index(group[index], axes), static_cast<int64_t>(index));
          }
        }
      }
    });
  }
}

TEST(Mesh, EveryAxisCanBeInferred) {
  for (int world : {1, 2, 6, 8, 12, 24, 64}) {
    for_each_shape(world, [&](const MeshSpec& spec) {
      const std::string wanted = Mesh(spec, world).describe();
      for (int64_t MeshSpec::* axis :
           {&MeshSpec::pp, &MeshSpec::dp_replicate, &MeshSpec::dp_shard, &MeshSpec::cp, &MeshSpec::tp}) {
        MeshSpec open = spec;
        open.*axis = -1;
        ASSERT_EQ(Mesh(open, world).describe(), wanted);
      }
    });
  }
}

TEST(Mesh, TpNeighboursAreAdjacentRanks) {
  const Mesh mesh({.pp = 2, .dp_shard = 2, .tp = 2}, 8);
  EXPECT_EQ(mesh.group_ranks(5, submesh_axes("tp")), (std::vector<int>{4, 5}));
  EXPECT_EQ(mesh.group_ranks(5, submesh_axes("dp_shard")), (std::vector<int>{5, 7}));
  EXPECT_EQ(mesh.group_ranks(5, submesh_axes("pp")), (std::vector<int>{1, 5}));
  EXPECT_EQ(mesh.coordinates(6), (Mesh::Coordinates{1, 0, 1, 0, 0}));
}

TEST(Mesh, ErrorsNameTheProduct) {
  EXPECT_EQ(message_of({.tp = 3}, 8), "world 8 is not divisible by tp*cp=3");
  EXPECT_EQ(message_of({.cp = 3}, 8), "world 8 is not divisible by tp*cp=3");
  EXPECT_EQ(message_of({.pp = 3, .tp = 2}, 8), "world 8 is not divisible by tp*cp*pp=6");
  EXPECT_EQ(message_of({.dp_replicate = 3, .tp = 2}, 8), "world 8 is not divisible by tp*cp*dp_replicate=6");
  EXPECT_EQ(message_of({.dp_shard = 2, .tp = 2}, 8), "tp*cp*dp_shard=4 is not the world size 8");
  EXPECT_EQ(message_of({.tp = 0}, 8), "tp=0 must be at least 1, or -1 to infer it");
  EXPECT_EQ(message_of({.tp = -2}, 8), "tp=-2 must be at least 1, or -1 to infer it");
  EXPECT_EQ(message_of({.dp_shard = -1, .tp = -1}, 8),
            "only one mesh axis can be -1, but dp_shard and tp both are");
  EXPECT_EQ(message_of({.tp = 2, .ep = 3}, 8), "ep=3 does not divide dp*cp*tp=8");
  EXPECT_EQ(message_of({.pp = 2, .ep = 8}, 8), "ep=8 does not divide dp*cp*tp=4");
  EXPECT_EQ(message_of({.ep = -1}, 8), "ep=-1 must be at least 1");
  EXPECT_EQ(message_of({}, 0), "world_size=0 must be at least 1");
}

TEST(Mesh, HugeDegreesAreAnErrorNotAnOverflow) {
  const int64_t big = int64_t{1} << 40;
  EXPECT_NE(message_of({.cp = big, .tp = big}, 8).find("world 8 is not divisible by tp*cp="),
            std::string::npos);
  EXPECT_NE(message_of({.dp_shard = 1, .cp = big, .tp = big}, 8).find("is not the world size 8"),
            std::string::npos);
}

TEST(Mesh, ExpertParallelRegroupsNonPipelineRanks) {
  const Mesh mesh({.pp = 2, .tp = 2, .ep = 4}, 16);
  EXPECT_EQ(mesh.ep(), 4);
  EXPECT_EQ(mesh.describe(), "pp=2 dp_replicate=1 dp_shard=4 cp=1 tp=2 ep=4");
}

TEST(Mesh, UnknownSubmeshListsTheNames) {
  try {
    submesh_axes("dpp");
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(
        error.what(),
        "mesh axis \"dpp\" is unknown: expected pp, dp_replicate, dp_shard, cp, tp, dp, dp_shard_cp, "
        "dp_cp, model or world");
  }
}

}  // namespace
}  // namespace tessera
