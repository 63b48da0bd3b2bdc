// Steps of a dataset: which rows a rank gets, epochs, shuffling, state, and errors that name file and line.
#include <gtest/gtest.h>

#include <numeric>
#include <set>

#include "core/error.h"
#include "data/dataset.h"
#include "data_directory.h"

namespace tessera {
namespace {

using V = std::vector<int64_t>;

/// Row k is the document [k, k+1, 0...] of length 2 + k % 3, so that its first token tells which row it was.
std::string rows_file(const DataDirectory& directory, int rows) {
  std::string text;
  for (int k = 0; k < rows; ++k) {
    text += cat("{\"input_ids\":[", k, ",", k + 1);
    for (int i = 0; i < k % 3; ++i) text += ",0";
    text += "]}\n";
  }
  return directory.write("rows.jsonl", text);
}

DatasetOptions options_for(const std::string& path, int64_t micro, int64_t global, int64_t rank = 0,
                           int64_t size = 1) {
  DatasetOptions options;
  options.paths = {path};
  options.micro_batch = micro;
  options.global_batch = global;
  options.dp_rank = rank;
  options.dp_size = size;
  return options;
}

/// The first token of every document of a step.
V firsts(const std::vector<PackedBatch>& microbatches) {
  V out;
  for (const PackedBatch& batch : microbatches) {
    validate(batch, 0);
    for (int64_t i = 0; i < batch.documents(); ++i) {
      const int32_t begin = batch.cu_seqlens_padded.const_data_ptr<int32_t>()[i];
      out.push_back(batch.tokens.const_data_ptr<int64_t>()[begin]);
    }
  }
  return out;
}

/// The rows of one step over all dp ranks, in global order.
V global_step(std::vector<std::unique_ptr<Dataset>>& ranks) {
  V out;
  for (auto& rank : ranks) {
    std::vector<PackedBatch> microbatches;
    if (!rank->next(microbatches)) return {};
    const V part = firsts(microbatches);
    out.insert(out.end(), part.begin(), part.end());
  }
  return out;
}

std::vector<std::unique_ptr<Dataset>> open_ranks(DatasetOptions options, int64_t size) {
  std::vector<std::unique_ptr<Dataset>> ranks;
  options.dp_size = size;
  for (options.dp_rank = 0; options.dp_rank < size; ++options.dp_rank) ranks.push_back(open_dataset(options));
  return ranks;
}

std::string message(const DatasetOptions& options, Code code) {
  try {
    open_dataset(options);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  return "no error";
}

TEST(DatasetSteps, AStepTakesTheNextRowsInContiguousPartsOfTheRanks) {
  DataDirectory directory;
  auto dataset = open_dataset(options_for(rows_file(directory, 20), 2, 8, 1, 2));
  std::vector<PackedBatch> microbatches;
  ASSERT_TRUE(dataset->next(microbatches));
  ASSERT_EQ(microbatches.size(), 2u);
  EXPECT_EQ(firsts({microbatches[0]}), V({4, 5}));
  EXPECT_EQ(firsts({microbatches[1]}), V({6, 7}));
  ASSERT_TRUE(dataset->next(microbatches));
  EXPECT_EQ(firsts(microbatches), V({12, 13, 14, 15}));
}

TEST(DatasetSteps, EveryMeshSeesTheSameGlobalOrder) {
  DataDirectory directory;
  for (const bool shuffle : {false, true}) {
    DatasetOptions options = options_for(rows_file(directory, 37), 1, 8);
    options.shuffle = shuffle;
    options.seed = 5;
    std::vector<std::vector<V>> seen;
    for (const int64_t size : {1, 2, 4, 8}) {
      auto ranks = open_ranks(options, size);
      seen.emplace_back();
      for (int step = 0; step < 12; ++step) seen.back().push_back(global_step(ranks));
    }
    for (const auto& other : seen) EXPECT_EQ(other, seen[0]);
  }
}

TEST(DatasetSteps, EachEpochHoldsEachRowOnceAndShufflesAnew) {
  DataDirectory directory;
  DatasetOptions options = options_for(rows_file(directory, 12), 3, 6);
  options.shuffle = true;
  auto dataset = open_dataset(options);
  EXPECT_EQ(dataset->steps_per_epoch(), 2);
  std::set<V> orders;
  for (int epoch = 0; epoch < 5; ++epoch) {
    V order;
    for (int step = 0; step < 2; ++step) {
      std::vector<PackedBatch> microbatches;
      ASSERT_TRUE(dataset->next(microbatches));
      for (const int64_t row : firsts(microbatches)) order.push_back(row);
    }
    orders.insert(order);
    std::sort(order.begin(), order.end());
    V all(12);
    std::iota(all.begin(), all.end(), 0);
    EXPECT_EQ(order, all);
  }
  EXPECT_EQ(orders.size(), 5u);
}

TEST(DatasetSteps, TheLastStepIsFilledOrDropped) {
  DataDirectory directory;
  DatasetOptions options = options_for(rows_file(directory, 5), 1, 4);
  options.epochs = 2;
  auto dataset = open_dataset(options);
  std::vector<PackedBatch> microbatches;
  std::vector<V> steps;
  int64_t labels = 0;
  while (dataset->next(microbatches)) {
    steps.push_back(firsts(microbatches));
    labels = 0;
    for (const auto& batch : microbatches) labels += batch.label_count;
  }
  EXPECT_EQ(steps, (std::vector<V>{{0, 1, 2, 3}, {4, 0, 1, 2}, {3, 4, 0, 0}}));
  EXPECT_EQ(labels, 1 + 2) << "the two rows that fill the step have no labels";
  EXPECT_FALSE(dataset->next(microbatches));

  options.last_step = "drop";
  dataset = open_dataset(options);
  EXPECT_TRUE(dataset->next(microbatches));
  EXPECT_TRUE(dataset->next(microbatches));
  EXPECT_FALSE(dataset->next(microbatches));
}

TEST(DatasetSteps, StateContinuesInTheMiddleOfAnEpochOnAnotherDpSize) {
  DataDirectory directory;
  DatasetOptions options = options_for(rows_file(directory, 50), 1, 8);
  options.shuffle = true;
  auto whole = open_ranks(options, 1);
  std::vector<V> expected;
  for (int step = 0; step < 20; ++step) expected.push_back(global_step(whole));

  auto before = open_ranks(options, 2);
  for (int step = 0; step < 9; ++step) EXPECT_EQ(global_step(before), expected[step]);
  const std::string state = before[1]->state();
  EXPECT_EQ(before[0]->state(), state);
  for (const int64_t size : {1, 4, 8}) {
    auto after = open_ranks(options, size);
    for (auto& rank : after) rank->restore(state);
    for (int step = 9; step < 20; ++step) EXPECT_EQ(global_step(after), expected[step]);
  }
}

TEST(DatasetSteps, RestoreRefusesForeignStateAndKeepsItsPlace) {
  DataDirectory directory;
  auto dataset = open_dataset(options_for(rows_file(directory, 10), 1, 4));
  std::vector<PackedBatch> microbatches;
  dataset->next(microbatches);
  const std::string state = dataset->state();
  for (const char* bad :
       {"", "[]", "{\"version\":1}", R"({"version":2,"epoch":0,"row":0,"documents":10,"seed":0})",
        R"({"version":1,"epoch":0,"row":11,"documents":10,"seed":0})",
        R"({"version":1,"epoch":-1,"row":0,"documents":10,"seed":0})",
        R"({"version":1,"epoch":0,"row":1,"documents":11,"seed":0})",
        R"({"version":1,"epoch":0,"row":1,"documents":10,"seed":3})"})
    EXPECT_THROW(dataset->restore(bad), Error) << bad;
  EXPECT_EQ(dataset->state(), state);
  dataset->next(microbatches);
  EXPECT_EQ(firsts(microbatches), V({4, 5, 6, 7}));
}

TEST(DatasetSteps, DocumentsAreAlignedForContextParallelism) {
  DataDirectory directory;
  DatasetOptions options = options_for(rows_file(directory, 4), 4, 4);
  options.cp = 2;
  auto dataset = open_dataset(options);
  std::vector<PackedBatch> microbatches;
  ASSERT_TRUE(dataset->next(microbatches));
  EXPECT_EQ(microbatches[0].tokens_count(), 16);
  EXPECT_EQ(microbatches[0].cu_seqlens_padded.const_data_ptr<int32_t>()[1], 4);
  EXPECT_EQ(microbatches[0].cu_seqlens.const_data_ptr<int32_t>()[1], 2);
}

TEST(DatasetSteps, LongDocumentsFollowTheirRule) {
  DataDirectory directory;
  const std::string path =
      directory.write("long.jsonl", "{\"input_ids\":[1,2,3,4,5,6,7]}\n{\"input_ids\":[8,9]}\n");
  DatasetOptions options = options_for(path, 4, 4);
  options.seq_len = 3;
  options.epochs = 1;
  const auto lengths = [&](const std::string& rule) {
    options.long_documents = rule;
    auto dataset = open_dataset(options);
    std::vector<PackedBatch> microbatches;
    dataset->next(microbatches);
    const auto* cu = microbatches[0].cu_seqlens.const_data_ptr<int32_t>();
    V out;
    for (int64_t i = 0; i < dataset->report().documents; ++i) out.push_back(cu[i + 1] - cu[i]);
    out.push_back(microbatches[0].label_count);
    return out;
  };
  EXPECT_EQ(lengths("truncate"), V({3, 2, 3}));
  EXPECT_EQ(lengths("drop"), V({2, 1}));
  EXPECT_EQ(lengths("split"), V({3, 3, 2, 7})) << "the last piece, one token, has nothing to predict";
  options.long_documents = "error";
  EXPECT_EQ(message(options, Code::format),
            path + ":1: a document of 7 tokens is longer than data.seq_len=3");
  options.long_documents = "shrink";
  EXPECT_EQ(message(options, Code::argument),
            "data.long_documents=shrink must be auto, drop, truncate, split or error");
}

TEST(DatasetSteps, BadRowsNameFileAndLineOrAreCounted) {
  DataDirectory directory;
  std::string text;
  for (int k = 0; k < 1000; ++k)
    text += k % 100 == 50 ? "{\"input_ids\":[1,]}\n" : "{\"input_ids\":[1,2,3]}\n\n";
  DatasetOptions options = options_for(directory.write("rows.jsonl", text), 1, 1);
  for (int round = 0; round < 5; ++round)
    EXPECT_EQ(message(options, Code::format).substr(0, options.paths[0].size() + 18),
              options.paths[0] + ":101: bad JSON at ");
  options.on_error = "skip";
  const DatasetReport report = open_dataset(options)->report();
  EXPECT_EQ(report.bad_rows, 10);
  EXPECT_EQ(report.documents, 990);
  options.max_line_bytes = 8;
  EXPECT_EQ(message(options, Code::format),
            "no document to train on: 1000 rows, 1000 bad, 0 too long, 0 without labels");
  options.on_error = "fail";
  EXPECT_EQ(message(options, Code::format),
            options.paths[0] + ":1: the line is longer than data.max_line_bytes=8");
}

TEST(DatasetSteps, OptionsThatDoNotFitAreNamed) {
  DataDirectory directory;
  const std::string path = rows_file(directory, 4);
  EXPECT_EQ(message(options_for(path, 2, 6, 0, 2), Code::argument),
            "train.global_batch=6 is not a multiple of train.micro_batch*dp=2*2");
  EXPECT_EQ(message(options_for(path, int64_t{1} << 62, 4, 0, 4), Code::argument),
            "train.global_batch=4 is not a multiple of train.micro_batch*dp=4611686018427387904*4");
  EXPECT_EQ(message(options_for(path, 1, 4, 4, 4), Code::argument),
            "dp_rank=4 is not between 0 and dp_size-1=3");
  DatasetOptions options = options_for(path, 1, 1);
  options.vocab_size = 3;
  EXPECT_EQ(message(options, Code::format), path + ":3: input_ids[1]=3 is outside the vocabulary of 3");
  options.paths = {directory.path("nothing.jsonl")};
  EXPECT_EQ(message(options, Code::not_found), "data.path=" + options.paths[0] + " matches no file");
}

}  // namespace
}  // namespace tessera
