// Streams: the same order on every number of ranks, each rank tokenising its own shards only, in bounded
// memory, and positions that continue anywhere.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "core/error.h"
#include "core/log.h"
#include "data/dataset.h"
#include "data/prefetch.h"
#include "data_directory.h"
#include "first_tokens.h"

namespace tessera {
namespace {

using V = std::vector<int64_t>;

/// Row k is the document [first+k, 0...] of length 2 + k % spread.
std::string write_rows(const DataDirectory& directory, const std::string& name, int rows, int first = 1,
                       int spread = 3) {
  std::string text;
  for (int k = 0; k < rows; ++k) {
    text += cat("{\"input_ids\":[", first + k, ",0");
    for (int i = 0; i < k % spread; ++i) text += ",0";
    text += "]}\n";
  }
  return directory.write(name, text);
}

DatasetOptions streaming(const std::string& path, int64_t micro, int64_t global) {
  DatasetOptions options;
  options.paths = {path};
  options.streaming = true;
  options.stream_buffer = 8;
  options.micro_batch = micro;
  options.global_batch = global;
  return options;
}

using Ranks = std::vector<std::unique_ptr<Dataset>>;

Ranks open_ranks(DatasetOptions options, int64_t size) {
  Ranks ranks;
  options.dp_size = size;
  for (options.dp_rank = 0; options.dp_rank < size; ++options.dp_rank) ranks.push_back(open_dataset(options));
  return ranks;
}

/// The documents of the next step over all ranks; empty at the end, which all ranks must see.
V step(Ranks& ranks) {
  V out;
  size_t ended = 0;
  for (auto& rank : ranks) {
    std::vector<PackedBatch> microbatches;
    if (!rank->next(microbatches)) ++ended;
    for (const int64_t id : first_tokens(microbatches)) out.push_back(id);
  }
  EXPECT_TRUE(ended == 0 || ended == ranks.size());
  return out;
}

std::string joined_state(const Ranks& ranks) {
  std::vector<std::string> states;
  for (const auto& rank : ranks) states.push_back(rank->state());
  return merge_states(states);
}

TEST(Stream, StepsHoldTheSameDocumentsAsThoseOfDataHeldWhole) {
  DataDirectory directory;
  DatasetOptions options = streaming(write_rows(directory, "rows.jsonl", 64), 2, 8);
  Ranks stream = open_ranks(options, 2);
  options.streaming = false;
  Ranks whole = open_ranks(options, 2);
  for (int s = 0; s < 24; ++s) {  // three passes
    V a = step(stream), b = step(whole);
    std::sort(a.begin(), a.end());
    std::sort(b.begin(), b.end());
    EXPECT_EQ(a, b) << "step " << s;
  }
  EXPECT_EQ(stream[0]->steps_per_epoch(), -1);
}

TEST(Stream, TheOrderIsTheSameOnEveryNumberOfRanks) {
  DataDirectory directory;
  write_rows(directory, "a.jsonl", 41, 1);
  write_rows(directory, "b.jsonl", 29, 101, 5);
  write_rows(directory, "c.jsonl", 7, 201);
  for (const char* packing : {"none", "bfd", "next_fit", "next_fit_split"}) {
    for (const bool shuffle : {false, true}) {
      DatasetOptions options = streaming(directory.path("*.jsonl"), 1, 8);
      options.packing = packing;
      options.shuffle = shuffle;
      options.seq_len = 12;
      std::vector<std::vector<V>> seen;
      for (const int64_t size : {1, 2, 8}) {
        Ranks ranks = open_ranks(options, size);
        seen.emplace_back();
        for (int s = 0; s < 30; ++s) seen.back().push_back(step(ranks));
      }
      EXPECT_EQ(seen[1], seen[0]) << packing;
      EXPECT_EQ(seen[2], seen[0]) << packing;
    }
  }
}

TEST(Stream, EachRankTokenisesItsOwnRowsOnly) {
  DataDirectory directory;
  DatasetOptions options = streaming(write_rows(directory, "rows.jsonl", 400), 1, 4);
  options.stream_buffer = 100;
  Ranks ranks = open_ranks(options, 4);
  for (int s = 0; s < 50; ++s) step(ranks);
  for (const auto& rank : ranks) EXPECT_EQ(rank->report().documents, 100);
}

TEST(Stream, HoldsNoMoreThanAWindow) {
  DataDirectory directory;
  DatasetOptions options = streaming(write_rows(directory, "rows.jsonl", 1000), 1, 1);
  options.stream_buffer = 10;
  auto dataset = open_dataset(options);
  std::vector<PackedBatch> microbatches;
  for (int s = 1; s <= 100; ++s) {
    ASSERT_TRUE(dataset->next(microbatches));
    EXPECT_EQ(dataset->report().documents, (s + 9) / 10 * 10);
  }
}

TEST(Stream, APassHoldsEachDocumentOnceAndIsShuffledAnew) {
  DataDirectory directory;
  for (int f = 0; f < 6; ++f) write_rows(directory, cat("f", f, ".jsonl"), 20, 1 + 20 * f);
  DatasetOptions options = streaming(directory.path("*.jsonl"), 1, 4);
  options.shuffle = true;
  options.epochs = 3;
  Ranks ranks = open_ranks(options, 2);
  std::set<V> orders;
  for (int pass = 0; pass < 3; ++pass) {
    V ids;
    for (int s = 0; s < 30; ++s)
      for (const int64_t id : step(ranks)) ids.push_back(id);
    orders.insert(ids);
    std::sort(ids.begin(), ids.end());
    V all(120);
    for (int k = 0; k < 120; ++k) all[static_cast<size_t>(k)] = k + 1;
    EXPECT_EQ(ids, all);
  }
  EXPECT_EQ(orders.size(), 3u);
  EXPECT_EQ(step(ranks), V());
}

TEST(Stream, WithAnEndAllRanksEndAtTheSameStepFilledOrDropped) {
  DataDirectory directory;
  DatasetOptions options = streaming(write_rows(directory, "rows.jsonl", 10), 1, 4);
  options.epochs = 1;
  Ranks ranks = open_ranks(options, 2);
  EXPECT_EQ(step(ranks), V({1, 2, 3, 4}));
  EXPECT_EQ(step(ranks), V({5, 6, 7, 8}));
  EXPECT_EQ(step(ranks), V({9, 10, 0, 0}));
  EXPECT_EQ(step(ranks), V());
  EXPECT_EQ(step(ranks), V());
  options.last_step = "drop";
  Ranks drop = open_ranks(options, 4);
  step(drop);
  step(drop);
  EXPECT_EQ(step(drop), V());
}

TEST(Stream, AStateContinuesInTheMiddleOfAWindowOnAnotherDpSize) {
  DataDirectory directory;
  write_rows(directory, "a.jsonl", 53, 1, 7);
  write_rows(directory, "b.jsonl", 38, 101, 4);
  for (const int64_t epochs : {0, 9}) {
    for (const int64_t prefetch : {0, 2}) {
      DatasetOptions options = streaming(directory.path("*.jsonl"), 1, 8);
      options.packing = "bfd";
      options.seq_len = 16;
      options.shuffle = true;
      options.epochs = epochs;
      options.prefetch = prefetch;
      Ranks before = open_ranks(options, 2);
      std::vector<V> expected;
      std::vector<std::string> states;
      for (int s = 0; s < 24; ++s) {
        states.push_back(joined_state(before));
        expected.push_back(step(before));
      }
      for (const int64_t size : {1, 4}) {
        for (const size_t at : {size_t{0}, size_t{1}, size_t{5}, size_t{16}}) {
          Ranks after = open_ranks(options, size);
          for (auto& rank : after) rank->restore(states[at]);
          EXPECT_EQ(joined_state(after), states[at]);
          for (size_t s = at; s < expected.size(); ++s)
            ASSERT_EQ(step(after), expected[s]) << "epochs " << epochs << " from " << at << " step " << s;
        }
      }
    }
  }
}

TEST(Stream, StatesThatCannotBeAreRefusedAndThePlaceKept) {
  DataDirectory directory;
  DatasetOptions options = streaming(write_rows(directory, "rows.jsonl", 40), 1, 4);
  Ranks ranks = open_ranks(options, 2);
  step(ranks);
  step(ranks);
  const std::string whole = joined_state(ranks);
  const std::string own = ranks[0]->state();
  const auto broken = [&](const auto& change) {
    auto json = nlohmann::json::parse(whole);
    change(json);
    return json.dump();
  };
  std::vector<std::string> bad = {
      "",
      "[]",
      "{}",
      R"({"version":1,"epoch":0,"row":0,"documents":40,"seed":0})",
      ranks[1]->state(),
      broken([](auto& j) { j["version"] = 2; }),
      broken([](auto& j) { j["stream"] = 8; }),
      broken([](auto& j) { j["files"] = 2; }),
      broken([](auto& j) { j["seed"] = 1; }),
      broken([](auto& j) { j["buffer"] = 9; }),
      broken([](auto& j) { j["step"] = -1; }),
      broken([](auto& j) { j["shards"] = 3; }),
      broken([](auto& j) { j["shards"].erase("1"); }),
      broken([](auto& j) { j["shards"]["1"]["row"] = 9; }),
      broken([](auto& j) { j["shards"]["1"]["row"] = -1; }),
      broken([](auto& j) { j["shards"]["1"]["window"] = "x"; }),
      broken([](auto& j) { j["shards"]["1"]["sources"] = nlohmann::json::array(); }),
      broken([](auto& j) { j["shards"]["1"]["sources"][0] = {0, 0, 0}; }),
      broken([](auto& j) { j["shards"]["1"]["sources"][0][1] = 7; }),
      broken([](auto& j) { j["shards"]["1"]["sources"][0][2] = 41; }),
      broken([](auto& j) { j["shards"]["1"]["sources"][0][0] = -1; }),
      broken([](auto& j) { j["shards"]["1"]["sources"][0][4] = INT64_MAX; }),
      broken([](auto& j) { j["shards"]["1"]["sources"][0][2] = INT64_MAX; }),
      broken([](auto& j) { j["shards"]["1"]["window"] = INT64_MAX; }),
      broken([](auto& j) { j["step"] = UINT64_MAX; })};
  for (const std::string& state : bad) EXPECT_THROW(ranks[0]->restore(state), Error) << state;
  EXPECT_EQ(ranks[0]->state(), own);
  EXPECT_EQ(joined_state(ranks), whole);
  EXPECT_EQ(step(ranks).size(), 4u);
}

TEST(Stream, StatesOfDifferentStepsAreNotJoined) {
  DataDirectory directory;
  DatasetOptions options = streaming(write_rows(directory, "rows.jsonl", 40), 1, 4);
  Ranks ranks = open_ranks(options, 2);
  step(ranks);
  std::vector<PackedBatch> microbatches;
  ranks[1]->next(microbatches);
  EXPECT_THROW(joined_state(ranks), Error);
  EXPECT_EQ(merge_states({"same", "same"}), "same");
  EXPECT_EQ(merge_states({"a", "b"}), "a") << "texts of the host's own are left alone";
}

TEST(Stream, SourcesAreMixedByTheirWeights) {
  DataDirectory directory;
  DatasetOptions options = streaming("", 1, 4);
  options.paths = {write_rows(directory, "a.jsonl", 50, 1), write_rows(directory, "b.jsonl", 6, 1001)};
  options.weights = {3, 1};
  Ranks ranks = open_ranks(options, 2);
  int64_t small = 0;
  std::map<int64_t, int> times;
  for (int s = 1; s <= 100; ++s) {
    for (const int64_t id : step(ranks)) {
      small += id > 1000 ? 1 : 0;
      ++times[id];
    }
    EXPECT_LE(std::abs(static_cast<double>(small) - s), 4.0)
        << "one of four, within one for each micro-batch";
  }
  for (int64_t id = 1001; id < 1007; ++id) EXPECT_GE(times[id], 10);
  options.weights_of = "tokens";
  EXPECT_THROW(open_dataset(options), Error);
}

TEST(Stream, ValidationRowsAreDisjointFromThoseThatTrain) {
  DataDirectory directory;
  DatasetOptions options = streaming(write_rows(directory, "rows.jsonl", 500), 1, 4);
  options.validation_split = 0.2;
  options.epochs = 1;
  std::map<std::string, std::set<int64_t>> parts;
  for (const char* part : {"train", "validation"}) {
    options.part = part;
    Ranks ranks = open_ranks(options, 2);
    for (V ids = step(ranks); !ids.empty(); ids = step(ranks))
      for (const int64_t id : ids)
        if (id > 0) parts[part].insert(id);
  }
  EXPECT_EQ(parts["train"].size() + parts["validation"].size(), 500u);
  for (const int64_t id : parts["validation"]) EXPECT_EQ(parts["train"].count(id), 0u);
  EXPECT_NEAR(static_cast<double>(parts["validation"].size()), 100, 30);
}

TEST(Stream, ABadRowIsNamedInItsStepAndNotPassedOverByTheNext) {
  DataDirectory directory;
  std::string text;
  for (int k = 1; k <= 20; ++k)
    text += k == 18 ? "{\"input_ids\":[]}\n" : cat("{\"input_ids\":[", k, ",0]}\n");
  for (const int64_t prefetch : {0, 3}) {
    DatasetOptions options = streaming(directory.write("rows.jsonl", text), 1, 1);
    options.prefetch = prefetch;
    auto dataset = open_dataset(options);
    std::vector<PackedBatch> microbatches;
    for (int s = 0; s < 16; ++s) ASSERT_TRUE(dataset->next(microbatches));
    for (int again = 0; again < 2; ++again) {
      try {
        dataset->next(microbatches);
        ADD_FAILURE() << "no error";
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), Code::format);
        EXPECT_NE(std::string(error.what()).find("rows.jsonl:18: input_ids is empty"), std::string::npos);
      }
    }
    options.on_error = "skip";
    set_log_sink([](LogLevel, std::string_view) {});
    dataset = open_dataset(options);
    V ids;
    for (int s = 0; s < 19; ++s) {
      ASSERT_TRUE(dataset->next(microbatches));
      ids.push_back(first_tokens(microbatches)[0]);
    }
    set_log_sink({});
    EXPECT_EQ(ids.back(), 20);
    EXPECT_EQ(ids[17], 19);
  }
}

TEST(Stream, DataThatCannotFillAStreamEndsWithAnErrorNotWithoutEnd) {
  DataDirectory directory;
  const auto error = [](const DatasetOptions& options) -> std::string {
    try {
      auto dataset = open_dataset(options);
      std::vector<PackedBatch> microbatches;
      for (int s = 0; s < 100; ++s) dataset->next(microbatches);
    } catch (const Error& failure) {
      return failure.what();
    }
    return "no error";
  };
  DatasetOptions options = streaming(write_rows(directory, "few.jsonl", 3), 1, 4);
  EXPECT_EQ(error(options),
            "data.streaming: the 3 rows of a pass do not give each of 4 micro-batches of a step one");
  options.paths = {directory.write("empty.jsonl", "")};
  EXPECT_NE(error(options).find("the 0 rows of a pass"), std::string::npos);
  std::string bad;
  for (int k = 0; k < 30; ++k) bad += "{}\n";
  options.paths = {directory.write("bad.jsonl", bad)};
  options.on_error = "skip";
  set_log_sink([](LogLevel, std::string_view) {});
  EXPECT_NE(error(options).find("a whole pass over the data gave no document"), std::string::npos);
  set_log_sink({});
  options.paths = {write_rows(directory, "odd.jsonl", 31)};
  options.group = 2;
  EXPECT_NE(error(options).find("data.group=2 does not divide the rows of"), std::string::npos);
  options.group = 1;
  options.balance = true;
  EXPECT_NE(error(options).find("not with data.streaming"), std::string::npos);
  options.balance = false;
  options.cache = "somewhere";
  EXPECT_NE(error(options).find("not with data.streaming"), std::string::npos);
  options.cache.clear();
  options.validation_split = 5;
  EXPECT_NE(error(options).find("it is a fraction below 1"), std::string::npos);
}

TEST(Stream, PacksNearlyAsFullAsDataHeldWhole) {
  DataDirectory directory;
  DatasetOptions options = streaming(write_rows(directory, "rows.jsonl", 20000, 1, 97), 1, 1);
  options.seq_len = 256;
  options.packing = "bfd";
  options.epochs = 1;
  options.stream_buffer = 4096;
  auto stream = open_dataset(options);
  std::vector<PackedBatch> microbatches;
  while (stream->next(microbatches)) {
  }
  options.streaming = false;
  const double whole = open_dataset(options)->report().efficiency;
  EXPECT_EQ(stream->report().documents, 20000);
  EXPECT_GT(stream->report().efficiency, whole - 0.002);
}

}  // namespace
}  // namespace tessera
