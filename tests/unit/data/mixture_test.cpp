// Mixing of sources by weights, and the split into training and validation.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <set>

#include "core/error.h"
#include "data/corpus.h"
#include "data/dataset.h"
#include "data/epoch_plan.h"
#include "data/mixture.h"
#include "data/pack_order.h"
#include "data/random.h"
#include "data_directory.h"
#include "first_tokens.h"

namespace tessera {
namespace {

using V = std::vector<int64_t>;

/// `rows` documents [first+k, 0, ...] of the given length.
std::string write_rows(const DataDirectory& directory, const std::string& name, int rows, int first,
                       int length = 2) {
  std::string text;
  for (int k = 0; k < rows; ++k) {
    text += cat("{\"input_ids\":[", first + k);
    for (int i = 1; i < length; ++i) text += ",0";
    text += "]}\n";
  }
  return directory.write(name, text);
}

V take(Dataset& dataset, int steps) {
  V out;
  std::vector<PackedBatch> microbatches;
  for (int s = 0; s < steps && dataset.next(microbatches); ++s)
    for (const int64_t id : first_tokens(microbatches)) out.push_back(id);
  return out;
}

std::string error_of(const DatasetOptions& options) {
  try {
    open_dataset(options);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::argument) << error.what();
    return error.what();
  }
  return "no error";
}

TEST(Mixture, TheLargestSourceIsDrawnOnceAndTheOthersRepeat) {
  EXPECT_EQ(mix_counts(V{100, 10}, std::vector<double>{0.8, 0.2}), V({100, 25}));
  EXPECT_EQ(mix_counts(V{100, 10}, std::vector<double>{8, 2}), V({100, 25}));
  EXPECT_EQ(mix_counts(V{10, 100}, std::vector<double>{0.8, 0.2}), V({400, 100}));
  EXPECT_EQ(mix_counts(V{7}, std::vector<double>{3}), V({7}));
  EXPECT_EQ(mix_counts(V{5, 5, 5}, std::vector<double>{1e-320, 1e-320, 1e-320}), V({5, 5, 5}));
}

TEST(Mixture, TurnsKeepToTheSharesAtEveryPlace) {
  SplitMix64 random(3);
  for (int trial = 0; trial < 50; ++trial) {
    V counts(1 + random.below(8));
    for (int64_t& count : counts) count = 1 + static_cast<int64_t>(random.below(300));
    const auto total = std::accumulate(counts.begin(), counts.end(), int64_t{0});
    V taken(counts.size(), 0);
    double worst = 0;
    int64_t places = 0;
    for (const uint32_t source : mix_order(counts)) {
      ++taken[source];
      ++places;
      for (size_t k = 0; k < counts.size(); ++k)
        worst = std::max(worst, std::abs(static_cast<double>(taken[k]) - static_cast<double>(places) *
                                                                             static_cast<double>(counts[k]) /
                                                                             static_cast<double>(total)));
    }
    EXPECT_EQ(taken, counts);
    EXPECT_LT(worst, counts.size() <= 2 ? 1.0 : 2.5);
  }
}

TEST(Mixture, WeightsThatAreNoSharesAreRefused) {
  DataDirectory directory;
  DatasetOptions options;
  options.paths = {write_rows(directory, "a.jsonl", 4, 0), write_rows(directory, "b.jsonl", 4, 100)};
  for (const double bad : {0.0, -1.0, std::nan(""), std::numeric_limits<double>::infinity()}) {
    options.weights = {1, bad};
    EXPECT_EQ(error_of(options), cat("data.weights[1]=", bad, " must be positive and finite"));
  }
  options.weights = {1};
  EXPECT_EQ(error_of(options), "data.weights has 1 entries, data.path has 2");
  options.weights = {1, 1e12};
  EXPECT_NE(error_of(options).find("data.weights[1]=1e+12 beside data.weights[0]=1 makes an epoch of"),
            std::string::npos);
  options.weights = {1, 1};
  options.weights_of = "bytes";
  EXPECT_EQ(error_of(options), "data.weights_of=bytes must be documents or tokens");
}

TEST(Mixture, SourcesTakeTurnsAndTheSmallerOneRepeatsOverEpochs) {
  DataDirectory directory;
  DatasetOptions options;
  options.paths = {write_rows(directory, "a.jsonl", 4, 0), write_rows(directory, "b.jsonl", 3, 100)};
  options.weights = {0.5, 0.5};
  options.global_batch = 8;
  auto dataset = open_dataset(options);
  EXPECT_EQ(take(*dataset, 3), V({0, 100, 1, 101, 2, 102, 3, 100,  //
                                  0, 101, 1, 102, 2, 100, 3, 101,  //
                                  0, 102, 1, 100, 2, 101, 3, 102}));
  const DatasetReport report = dataset->report();
  ASSERT_EQ(report.sources.size(), 2u);
  EXPECT_EQ(report.sources[1].documents, 3);
  EXPECT_EQ(report.sources[1].draws, 4);
}

TEST(Mixture, EveryPassOverASourceHoldsEachDocumentOnceWhenShuffled) {
  DataDirectory directory;
  DatasetOptions options;
  options.paths = {write_rows(directory, "a.jsonl", 20, 0), write_rows(directory, "b.jsonl", 7, 100)};
  options.weights = {0.4, 0.6};  // 20 and 30 documents an epoch
  options.global_batch = 10;
  options.shuffle = true;
  auto dataset = open_dataset(options);
  const V seen = take(*dataset, 35);  // 7 epochs
  std::map<int64_t, int> times;
  V small;
  for (const int64_t id : seen) {
    ++times[id];
    if (id >= 100) small.push_back(id);
  }
  for (int64_t id = 0; id < 20; ++id) EXPECT_EQ(times[id], 7);
  for (int64_t id = 100; id < 107; ++id) EXPECT_EQ(times[id], 30);
  std::set<V> orders;
  for (size_t begin = 0; begin < small.size(); begin += 7) {
    const V pass(small.begin() + begin, small.begin() + begin + 7);
    EXPECT_EQ(std::set<int64_t>(pass.begin(), pass.end()).size(), 7u) << "pass at " << begin;
    orders.insert(pass);
  }
  EXPECT_GT(orders.size(), 20u) << "each pass has an order of its own";
}

TEST(Mixture, WeightsOfTokensShareOutTokens) {
  DataDirectory directory;
  DatasetOptions options;
  options.paths = {write_rows(directory, "a.jsonl", 100, 0, 2),
                   write_rows(directory, "b.jsonl", 100, 100, 10)};
  options.weights = {0.5, 0.5};
  options.weights_of = "tokens";
  auto dataset = open_dataset(options);
  const DatasetReport report = dataset->report();
  EXPECT_EQ(report.sources[0].draws, 500);
  EXPECT_EQ(report.sources[1].draws, 100);
}

TEST(Mixture, RanksAgreeAndAStateContinuesOnAnotherDpSize) {
  DataDirectory directory;
  DatasetOptions options;
  options.paths = {write_rows(directory, "a.jsonl", 23, 0), write_rows(directory, "b.jsonl", 9, 100, 5),
                   write_rows(directory, "c.jsonl", 4, 200, 3)};
  options.weights = {3, 2, 1.5};
  options.shuffle = true;
  options.seq_len = 16;
  for (const char* packing : {"none", "bfd"}) {
    options.packing = packing;
    options.global_batch = 4;
    options.dp_rank = 0;
    options.dp_size = 1;
    auto whole = open_dataset(options);
    std::vector<V> expected;
    std::string state;
    for (int step = 0; step < 40; ++step) {
      if (step == 17) state = whole->state();
      expected.push_back(take(*whole, 1));
    }
    options.dp_size = 4;
    std::vector<std::unique_ptr<Dataset>> ranks;
    for (options.dp_rank = 0; options.dp_rank < 4; ++options.dp_rank) {
      ranks.push_back(open_dataset(options));
      ranks.back()->restore(state);
    }
    for (int step = 17; step < 40; ++step) {
      V got;
      for (auto& rank : ranks)
        for (const int64_t id : take(*rank, 1)) got.push_back(id);
      EXPECT_EQ(got, expected[step]) << packing << " step " << step;
    }
  }
}

TEST(Mixture, EachSourceCanHaveAFormatOfItsOwnAndPairsStayTogether) {
  DataDirectory directory;
  DatasetOptions options;
  options.paths = {write_rows(directory, "a.jsonl", 4, 0), write_rows(directory, "b.jsonl", 6, 100)};
  options.formats = {"tokens", "telepathy"};
  EXPECT_NE(error_of(options).find("data.format=telepathy"), std::string::npos);
  options.formats = {"tokens"};
  EXPECT_EQ(error_of(options), "data.formats has 1 entries, data.path has 2");
  options.formats = {"tokens", "tokens"};
  options.weights = {1, 1};
  options.group = 2;
  auto dataset = open_dataset(options);
  EXPECT_EQ(take(*dataset, 6), V({0, 1, 100, 101, 2, 3, 102, 103, 0, 1, 104, 105}));
}

TEST(ValidationSplit, PartsAreDisjointTogetherEverythingAndDrawnByTheSeed) {
  DataDirectory directory;
  DatasetOptions options;
  options.paths = {write_rows(directory, "a.jsonl", 50, 0)};
  options.epochs = 1;
  options.validation_split = 0.1;
  const auto part = [&](const char* name, int64_t seed) {
    options.part = name;
    options.seed = seed;
    return take(*open_dataset(options), 1000);
  };
  const V train = part("train", 0);
  const V validation = part("validation", 0);
  EXPECT_EQ(validation.size(), 5u);
  EXPECT_TRUE(std::is_sorted(validation.begin(), validation.end()));
  std::set<int64_t> all(train.begin(), train.end());
  for (const int64_t id : validation) EXPECT_TRUE(all.insert(id).second) << id << " is in both parts";
  EXPECT_EQ(all.size(), 50u);
  EXPECT_EQ(part("validation", 0), validation);
  EXPECT_NE(part("validation", 1), validation);
  options.validation_split = 7;
  EXPECT_EQ(part("validation", 0).size(), 7u);
  EXPECT_EQ(part("train", 0).size(), 43u);
}

TEST(ValidationSplit, AShareOfEachSourceOfAMixIsHeldBack) {
  DataDirectory directory;
  DatasetOptions options;
  options.paths = {write_rows(directory, "a.jsonl", 10, 0), write_rows(directory, "b.jsonl", 20, 100)};
  options.weights = {0.9, 0.1};
  options.validation_split = 0.2;
  options.part = "validation";
  V seen = take(*open_dataset(options), 1000);
  EXPECT_EQ(std::count_if(seen.begin(), seen.end(), [](int64_t id) { return id < 100; }), 2);
  EXPECT_EQ(seen.size(), 6u) << "one pass, whatever the weights";
  options.part = "train";
  const DatasetReport report = open_dataset(options)->report();
  EXPECT_EQ(report.sources[0].documents, 8);
  EXPECT_EQ(report.sources[1].documents, 16);
}

TEST(ValidationSplit, PiecesOfARowStayOnOneSide) {
  DataDirectory directory;
  DatasetOptions options;
  options.paths = {write_rows(directory, "a.jsonl", 30, 1, 10)};
  options.seq_len = 4;
  options.long_documents = "split";  // pieces of 4, 4 and 2 tokens
  options.validation_split = 0.5;
  options.epochs = 1;
  for (const char* part : {"train", "validation"}) {
    options.part = part;
    const V ids = take(*open_dataset(options), 1000);
    EXPECT_EQ(ids.size(), 45u);
    EXPECT_EQ(std::count(ids.begin(), ids.end(), 0), 30)
        << "a row's second and third piece go with its first";
  }
}

TEST(ValidationSplit, SplitsThatCannotBeAreRefused) {
  DataDirectory directory;
  DatasetOptions options;
  options.paths = {write_rows(directory, "a.jsonl", 5, 0)};
  const auto error = [&](double split) {
    options.validation_split = split;
    return error_of(options);
  };
  EXPECT_EQ(error(5), "data.validation_split=5 leaves no row to train on: there are 5");
  EXPECT_EQ(error(1e15), "data.validation_split=1e+15 leaves no row to train on: there are 5");
  EXPECT_NE(error(-0.1).find("must be a fraction below 1 or a number of rows"), std::string::npos);
  EXPECT_NE(error(std::nan("")).find("data.validation_split=nan"), std::string::npos);
  EXPECT_NE(error(1.5).find("neither a fraction below 1 nor a whole number"), std::string::npos);
  EXPECT_EQ(error(0), "no error") << "0 splits nothing off";
  options.part = "validation";
  EXPECT_EQ(error(0), "data.part=validation needs data.validation_split or data.validation_path");
  options.validation_paths = {options.paths[0]};
  EXPECT_NE(error(0.5).find("choose one"), std::string::npos);
  EXPECT_EQ(error(0), "no error");
  options.paths = {write_rows(directory, "one.jsonl", 1, 0)};
  options.validation_paths.clear();
  options.part = "train";
  EXPECT_EQ(error(0.5), "data.validation_split=0.5 of one row leaves none to train on");
}

TEST(ValidationSplit, ValidationFilesAreReadInPlaceOfTheTrainingFiles) {
  DataDirectory directory;
  DatasetOptions options;
  options.paths = {write_rows(directory, "a.jsonl", 5, 0)};
  options.validation_paths = {write_rows(directory, "v.jsonl", 3, 100)};
  options.shuffle = true;
  options.part = "validation";
  auto dataset = open_dataset(options);
  const std::string start = dataset->state();
  EXPECT_EQ(take(*dataset, 100), V({100, 101, 102}));
  dataset->restore(start);
  EXPECT_EQ(take(*dataset, 100), V({100, 101, 102})) << "an evaluation can be repeated";
}

/// The costs (squared lengths) of the rows of each step of several epochs.
std::vector<std::vector<double>> step_costs(const DatasetOptions& options, int steps) {
  auto dataset = open_dataset(options);
  std::vector<std::vector<double>> out;
  std::vector<PackedBatch> microbatches;
  for (int s = 0; s < steps && dataset->next(microbatches); ++s) {
    out.emplace_back();
    for (const PackedBatch& batch : microbatches) {
      const int32_t* bounds = batch.cu_seqlens.const_data_ptr<int32_t>();
      double cost = 0;
      for (int64_t i = 0; i < batch.documents(); ++i) cost += std::pow(bounds[i + 1] - bounds[i], 2);
      out.back().push_back(cost);
    }
  }
  return out;
}

TEST(DataBalance, IsExactInEveryEpochThoughEpochsDoNotFillSteps) {
  DataDirectory directory;
  std::string text;
  SplitMix64 random(11);
  constexpr int kRows = 203;  // 25 steps of 8, and 3 rows
  for (int k = 0; k < kRows; ++k) {
    text += "{\"input_ids\":[1";
    for (uint64_t i = random.below(200); i > 0; --i) text += ",1";
    text += "]}\n";
  }
  DatasetOptions options;
  options.paths = {directory.write("rows.jsonl", text)};
  options.global_batch = 8;
  options.balance = true;
  options.shuffle = true;
  const auto imbalance = [](const std::vector<double>& costs) {
    return *std::max_element(costs.begin(), costs.end()) * static_cast<double>(costs.size()) /
           std::accumulate(costs.begin(), costs.end(), 0.0);
  };
  const auto steps = step_costs(options, 25 * 8);
  ASSERT_EQ(steps.size(), 200u);
  std::vector<double> by_epoch(8, 0);
  for (size_t s = 0; s < steps.size(); ++s) by_epoch[s / 25] += imbalance(steps[s]) / 25;
  for (const double mean : by_epoch) EXPECT_LT(mean, by_epoch[0] * 1.1 + 0.02);
  // The step that epochs 0 and 1 share is rows 200..202 of the one and 5 of the other.
  EXPECT_LT(imbalance(steps[25]), 1.25);
}

TEST(DataBalance, AStateInALaterEpochContinuesTheBalancedOrder) {
  DataDirectory directory;
  DatasetOptions options;
  std::string text;
  for (int k = 0; k < 37; ++k) {
    text += cat("{\"input_ids\":[", k);
    for (int i = 0; i < (k * 7) % 19; ++i) text += ",0";
    text += "]}\n";
  }
  options.paths = {directory.write("rows.jsonl", text)};
  options.global_batch = 8;
  options.balance = true;
  options.shuffle = true;
  auto before = open_dataset(options);
  take(*before, 12);
  auto after = open_dataset(options);
  after->restore(before->state());
  EXPECT_EQ(take(*after, 20), take(*before, 20));
}

}  // namespace
}  // namespace tessera
