// Grouping of model units into FSDP units.
#include "parallel/unit_policy.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "models/model.h"
#include "support/training_run.h"

namespace tessera::testing {
namespace {

std::vector<int> starts(const UnitPolicy& policy, int layers = 4) {
  ModelConfig config = tiny_config();
  config.num_layers = layers;
  config.sliding_window.assign(layers, 0);
  return group_starts(build_units(config, {}), policy);
}

TEST(UnitPolicy, ByLayer) {
  EXPECT_EQ(starts({}), (std::vector<int>{0, 1, 2, 3, 4, 5}));
}

TEST(UnitPolicy, BySizeJoinsNeighboursUntilTheyAreLargeEnough) {
  using Kind = UnitPolicy::Kind;
  // Embedding 888, layers 4656 each, head 912 parameters.
  EXPECT_EQ(starts({Kind::size, 1, {}}), (std::vector<int>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(starts({Kind::size, 1000, {}}), (std::vector<int>{0, 2, 3, 4}));
  EXPECT_EQ(starts({Kind::size, 9000, {}}), (std::vector<int>{0, 3}));
  EXPECT_EQ(starts({Kind::size, 1'000'000, {}}), (std::vector<int>{0}));
}

TEST(UnitPolicy, ByNameStartsWhereAGlobMatches) {
  using Kind = UnitPolicy::Kind;
  EXPECT_EQ(starts({Kind::names, 0, {"model.layers.2"}}), (std::vector<int>{0, 3}));
  EXPECT_EQ(starts({Kind::names, 0, {"*.layers.?"}}), (std::vector<int>{0, 1, 2, 3, 4}));
  EXPECT_EQ(starts({Kind::names, 0, {"*.1", "*.3"}}), (std::vector<int>{0, 2, 4}));
}

TEST(UnitPolicy, ErrorsNameTheGlob) {
  try {
    starts({UnitPolicy::Kind::names, 0, {"model.layers.2", "decoder.*"}});
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("unit name \"decoder.*\" matches none of the 6 units"),
              std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace tessera::testing
