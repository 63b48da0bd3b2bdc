// Packers: every document once, no pack over capacity, the same result every time, and the rules of each.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "core/error.h"
#include "data/pack_order.h"
#include "data/packing.h"

namespace tessera {
namespace {

using V = std::vector<int64_t>;

V random_lengths(uint64_t seed, size_t count, int64_t capacity, int kind) {
  std::mt19937_64 random(seed);
  V out(count);
  for (int64_t& length : out) {
    const auto uniform = 1 + static_cast<int64_t>(random() % static_cast<uint64_t>(capacity));
    if (kind == 0) length = uniform;
    if (kind == 1) length = 1 + uniform / 8;
    if (kind == 2) length = std::min(capacity, 1 + capacity / 3 + static_cast<int64_t>(random() % 7));
    if (kind == 3) length = random() % 4 == 0 ? capacity : std::max<int64_t>(1, uniform / 20);
  }
  return out;
}

void expect_valid(const Packing& packing, const V& lengths, int64_t capacity, const std::string& what) {
  V covered(lengths.size(), 0);
  for (int64_t p = 0; p < packing.packs(); ++p) {
    int64_t fill = 0;
    ASSERT_LT(packing.offsets[p], packing.offsets[p + 1]) << what << ": empty pack " << p;
    for (int64_t i = packing.offsets[p]; i < packing.offsets[p + 1]; ++i) {
      const int64_t d = packing.documents[i];
      const Cut cut = packing.cuts.empty() ? Cut{0, lengths[d]} : packing.cuts[i];
      ASSERT_EQ(cut.begin, covered[d]) << what << ": document " << d << " is out of order or twice";
      covered[d] += cut.length;
      fill += cut.length;
    }
    ASSERT_LE(fill, capacity) << what << ": pack " << p;
  }
  ASSERT_EQ(covered, lengths) << what;
}

TEST(PackingProperty, EveryDocumentOnceAndNoPackOverCapacity) {
  for (uint64_t seed = 0; seed < 120; ++seed) {
    const int64_t capacity = std::vector<int64_t>{1, 2, 7, 64, 1000, 4096}[seed % 6];
    const V lengths =
        random_lengths(seed, seed % 10 == 0 ? seed / 10 : 1 + 13 * seed, capacity, seed / 6 % 4);
    const int64_t bound = pack_lower_bound(lengths, capacity);
    for (const std::string& name : packer_names()) {
      PackOptions options{
          .packer = parse_packer(name), .capacity = capacity, .group_size = 100, .effort = 20000};
      options.threads = 1 + seed % 3;
      const Packing packing = pack(lengths, options);
      expect_valid(packing, lengths, capacity, cat(name, " seed ", seed));
      if (options.packer != Packer::next_fit_split) {
        EXPECT_GE(packing.packs(), bound) << name << " beats the lower bound, seed " << seed;
      }
      options.threads = 4;
      const Packing again = pack(lengths, options);
      EXPECT_EQ(again.documents, packing.documents) << name;
      EXPECT_EQ(again.offsets, packing.offsets) << name;
    }
  }
}

/// The textbook forms, one document at a time.
size_t plain_packs(V lengths, int64_t capacity, Packer packer) {
  std::sort(lengths.rbegin(), lengths.rend());
  V room;
  for (const int64_t length : lengths) {
    size_t best = room.size();
    for (size_t p = 0; p < room.size(); ++p) {
      if (room[p] < length) continue;
      if (packer == Packer::ffd) {
        best = p;
        break;
      }
      if (best == room.size() || (packer == Packer::bfd ? room[p] < room[best] : room[p] > room[best]))
        best = p;
    }
    if (best == room.size()) room.push_back(capacity);
    room[best] -= length;
  }
  return room.size();
}

TEST(PackingProperty, DecreasingPackersOpenAsManyPacksAsTheTextbookForms) {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    const int64_t capacity = 50 + static_cast<int64_t>(seed) * 7;
    const V lengths = random_lengths(seed, 300, capacity, seed % 4);
    for (const Packer packer : {Packer::ffd, Packer::bfd, Packer::wfd})
      EXPECT_EQ(static_cast<size_t>(pack(lengths, {.packer = packer, .capacity = capacity}).packs()),
                plain_packs(lengths, capacity, packer))
          << packer_name(packer) << " seed " << seed;
  }
}

TEST(PackingProperty, NextFitKeepsTheOrder) {
  const V lengths{4, 4, 3, 8, 1, 1};
  const Packing packing = pack(lengths, {.packer = Packer::next_fit, .capacity = 8});
  EXPECT_EQ(packing.documents, V({0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(packing.offsets, V({0, 2, 3, 4, 6}));
}

TEST(PackingProperty, NextFitSplitFillsEveryPackButTheLast) {
  const Packing packing = pack(V{5, 20, 2}, {.packer = Packer::next_fit_split, .capacity = 8});
  EXPECT_EQ(packing.documents, V({0, 1, 1, 1, 1, 2}));
  EXPECT_EQ(packing.offsets, V({0, 2, 3, 4, 6}));
  EXPECT_EQ(packing.cuts, (std::vector<Cut>{{0, 5}, {0, 3}, {3, 8}, {11, 8}, {19, 1}, {0, 2}}));
}

TEST(PackingProperty, FirstFitFollowsMultipacksRules) {
  // Group of 4: 5 -> pack 0; 4 -> pack 1; 3 -> pack 0; 1 -> pack 1. The next group starts anew.
  const V lengths{5, 4, 3, 1, 2, 2, 2, 2};
  const Packing packing =
      pack(lengths, {.packer = Packer::first_fit, .capacity = 8, .group_size = 4, .bin_size = 3});
  EXPECT_EQ(packing.documents, V({0, 2, 1, 3, 4, 5, 6, 7}));
  EXPECT_EQ(packing.offsets, V({0, 2, 4, 7, 8})) << "three documents are the most of a pack";
}

TEST(PackingProperty, OptimalReachesTheBoundWhereBestFitDoesNot) {
  // A sixth to a half of a pack: what best fit leaves over is too short for any document.
  std::mt19937_64 random(3);
  V lengths(5000);
  for (int64_t& length : lengths) length = static_cast<int64_t>(170 + random() % 140 + random() % 140);
  const int64_t bound = pack_lower_bound(lengths, 1536);
  EXPECT_GT(pack(lengths, {.packer = Packer::bfd, .capacity = 1536}).packs(), bound + 5);
  EXPECT_EQ(pack(lengths, {.packer = Packer::optimal, .capacity = 1536}).packs(), bound);
}

TEST(PackingProperty, OptimalWorksInUnitsOfTheCommonDivisor) {
  const V lengths(101, 48);  // capacity 1000 holds 20 of them, whatever is left over
  EXPECT_EQ(pack(lengths, {.packer = Packer::optimal, .capacity = 1000}).packs(), 6);
}

TEST(PackingProperty, LowerBoundCountsDocumentsThatCannotShare) {
  EXPECT_EQ(pack_lower_bound(V{6, 6, 6}, 10), 3);
  EXPECT_EQ(pack_lower_bound(V{7, 7, 4, 4}, 10), 3) << "neither 4 goes beside a 7";
  EXPECT_EQ(pack_lower_bound(V{5, 5, 5, 5}, 10), 2);
  EXPECT_EQ(pack_lower_bound(V{}, 10), 0);
}

TEST(PackingProperty, GroupsStayTogether) {
  const V lengths = random_lengths(9, 400, 400, 1);
  V offsets;
  for (int64_t i = 0; i <= 400; i += 2) offsets.push_back(i);
  for (const std::string& name : packer_names()) {
    const PackOptions options{.packer = parse_packer(name), .capacity = 400, .effort = 10000};
    if (options.packer == Packer::next_fit_split) {
      EXPECT_THROW(pack_groups(lengths, offsets, options), Error);
      continue;
    }
    const Packing packing = pack_groups(lengths, offsets, options);
    expect_valid(packing, lengths, 400, name);
    for (int64_t p = 0; p < packing.packs(); ++p) {
      const auto documents = packing.pack(p);
      ASSERT_EQ(documents.size() % 2, 0u);
      for (size_t i = 0; i < documents.size(); i += 2) {
        EXPECT_EQ(documents[i] % 2, 0);
        EXPECT_EQ(documents[i + 1], documents[i] + 1);
      }
    }
  }
}

TEST(PackingProperty, BadInputIsNamed) {
  const auto message = [](const V& lengths, PackOptions options) -> std::string {
    try {
      pack(lengths, options);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Code::argument);
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(message({3, 9}, {.capacity = 8}), "lengths[1]=9 is not between 1 and the capacity 8");
  EXPECT_EQ(message({0}, {.capacity = 8}), "lengths[0]=0 is not between 1 and the capacity 8");
  EXPECT_EQ(message({1}, {.capacity = 0}), "capacity=0 must be between 1 and 16777216");
  EXPECT_EQ(message({1}, {.capacity = int64_t{1} << 40}),
            "capacity=1099511627776 must be between 1 and 16777216");
  EXPECT_EQ(message({INT64_MAX}, {.packer = Packer::next_fit_split, .capacity = 8}).substr(0, 24),
            "lengths[0]=9223372036854");
  EXPECT_THROW(parse_packer("best"), Error);
}

TEST(PackingProperty, OrdersOfPacks) {
  const V lengths{5, 1, 7, 2, 3, 6};
  const Packing packing = pack(lengths, {.packer = Packer::bfd, .capacity = 8});  // {2,1} {5,3} {0,4}
  EXPECT_EQ(order_packs(packing, lengths, PackOrder::data, 0, 0), V({2, 0, 1}));
  EXPECT_EQ(order_packs(packing, lengths, PackOrder::short_first, 0, 0), V({2, 1, 0}));
  EXPECT_EQ(order_packs(packing, lengths, PackOrder::long_first, 0, 0), V({0, 1, 2}));
  V shuffled = order_packs(packing, lengths, PackOrder::shuffled, 1, 0);
  EXPECT_EQ(shuffled, order_packs(packing, lengths, PackOrder::shuffled, 1, 0));
  std::sort(shuffled.begin(), shuffled.end());
  EXPECT_EQ(shuffled, V({0, 1, 2}));
}

TEST(PackingProperty, BalancedStepsCostNearlyTheSameOnAllRanks) {
  const V lengths = random_lengths(4, 20000, 4096, 3);
  const Packing packing = pack(lengths, {.packer = Packer::bfd, .capacity = 4096});
  const std::vector<double> costs = attention_costs(packing, lengths);
  V order = order_packs(packing, lengths, PackOrder::shuffled, 0, 0);
  const double before = step_imbalance(order, costs, 16);
  balance_steps(order, costs, 16, 0, 0, 0);
  EXPECT_GT(before, 1.05);
  EXPECT_LT(step_imbalance(order, costs, 16), 1.01);
  V sorted = order;
  std::sort(sorted.begin(), sorted.end());
  V all(sorted.size());
  std::iota(all.begin(), all.end(), 0);
  EXPECT_EQ(sorted, all);
}

}  // namespace
}  // namespace tessera
