// Datasets with packing: every packer trains on the same documents, on every mesh, in the rows it promises.
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "core/error.h"
#include "data/dataset.h"
#include "data/packing.h"
#include "data_directory.h"

namespace tessera {
namespace {

using V = std::vector<int64_t>;

/// Document k is [k, k, ...] so that each token tells whose it is.
std::string documents_file(const DataDirectory& directory, int count, int longest) {
  std::mt19937_64 random(11);
  std::string text;
  for (int k = 0; k < count; ++k) {
    const int length = 2 + static_cast<int>(random() % static_cast<uint64_t>(longest - 1));
    text += cat("{\"input_ids\":[", k);
    for (int i = 1; i < length; ++i) text += cat(",", k);
    text += "]}\n";
  }
  return directory.write("documents.jsonl", text);
}

DatasetOptions packed_options(const std::string& path, const std::string& packing) {
  DatasetOptions options;
  options.paths = {path};
  options.packing = packing;
  options.seq_len = 64;
  options.micro_batch = 2;
  options.global_batch = 8;
  options.epochs = 1;
  options.packing_effort = 100000;
  return options;
}

/// Labels per document over an epoch, checking every batch on the way.
std::map<int64_t, int64_t> labels_of_epoch(const DatasetOptions& options) {
  std::map<int64_t, int64_t> labels;
  auto dataset = open_dataset(options);
  std::vector<PackedBatch> microbatches;
  while (dataset->next(microbatches)) {
    for (const PackedBatch& batch : microbatches) {
      validate(batch, 0);
      EXPECT_TRUE(options.packing == "none" || batch.tokens_count() == options.micro_batch * options.seq_len);
      for (int64_t t = 0; t < batch.tokens_count(); ++t)
        if (const int64_t label = batch.labels.const_data_ptr<int64_t>()[t]; label != kIgnoredLabel)
          ++labels[label];
    }
  }
  return labels;
}

TEST(DatasetPacking, EveryPackerKeepsEveryLabel) {
  DataDirectory directory;
  const std::string path = documents_file(directory, 300, 60);
  const auto expected = labels_of_epoch(packed_options(path, "none"));
  EXPECT_EQ(expected.size(), 300u);
  for (const std::string& name : packer_names()) {
    for (const int64_t cp : {1, 2}) {
      for (const bool shuffle : {false, true}) {
        DatasetOptions options = packed_options(path, name);
        options.cp = cp;
        options.shuffle = shuffle;
        EXPECT_EQ(labels_of_epoch(options), expected) << name << " cp " << cp;
      }
    }
  }
}

TEST(DatasetPacking, TheReportTellsRowsBoundAndEfficiency) {
  DataDirectory directory;
  DatasetOptions options = packed_options(documents_file(directory, 2000, 30), "bfd");
  const DatasetReport report = open_dataset(options)->report();
  EXPECT_EQ(report.documents, 2000);
  EXPECT_EQ(report.lower_bound, (report.tokens + 63) / 64);
  EXPECT_GE(report.rows, report.lower_bound);
  EXPECT_NEAR(report.efficiency, static_cast<double>(report.tokens) / static_cast<double>(report.rows * 64),
              1e-12);
  EXPECT_GT(report.efficiency, 0.99);
}

TEST(DatasetPacking, StateRestoresAPackedEpochOnAnotherDpSize) {
  DataDirectory directory;
  DatasetOptions options = packed_options(documents_file(directory, 400, 40), "first_fit");
  options.shuffle = true;
  options.epochs = 0;
  options.micro_batch = 1;
  const auto tokens_of = [](Dataset& dataset) {
    std::vector<PackedBatch> microbatches;
    dataset.next(microbatches);
    V out;
    for (const PackedBatch& batch : microbatches)
      out.insert(out.end(), batch.tokens.const_data_ptr<int64_t>(),
                 batch.tokens.const_data_ptr<int64_t>() + batch.tokens_count());
    return out;
  };
  auto whole = open_dataset(options);
  for (int step = 0; step < 30; ++step) tokens_of(*whole);
  const std::string state = whole->state();
  EXPECT_NE(state.find("\"epoch\":1"), std::string::npos);
  options.dp_size = 4;
  std::vector<std::unique_ptr<Dataset>> ranks;
  for (options.dp_rank = 0; options.dp_rank < 4; ++options.dp_rank) {
    ranks.push_back(open_dataset(options));
    ranks.back()->restore(state);
  }
  for (int step = 0; step < 40; ++step) {
    V joined;
    for (auto& rank : ranks) {
      const V part = tokens_of(*rank);
      joined.insert(joined.end(), part.begin(), part.end());
    }
    ASSERT_EQ(joined, tokens_of(*whole)) << "step " << step;
  }
}

TEST(DatasetPacking, PreferencePairsShareARow) {
  DataDirectory directory;
  DatasetOptions options = packed_options(documents_file(directory, 200, 20), "bfd");
  options.group = 2;
  options.shuffle = true;
  auto dataset = open_dataset(options);
  std::vector<PackedBatch> microbatches;
  int64_t pairs = 0;
  while (dataset->next(microbatches)) {
    for (const PackedBatch& batch : microbatches) {
      const auto* at = batch.cu_seqlens_padded.const_data_ptr<int32_t>();
      const auto* tokens = batch.tokens.const_data_ptr<int64_t>();
      if (batch.label_count == 0) continue;
      for (int64_t i = 0; i + 1 < batch.documents(); ++i) {
        if (tokens[at[i]] % 2 != 0 || tokens[at[i + 1]] != tokens[at[i]] + 1) continue;
        EXPECT_EQ(at[i] / 64, at[i + 1] / 64);
        ++pairs;
      }
    }
  }
  EXPECT_GE(pairs, 99) << "the filler row may end with token 0";
}

TEST(DatasetPacking, OptionsThatDoNotFitAreNamed) {
  DataDirectory directory;
  const std::string path = documents_file(directory, 10, 20);
  const auto message = [&](const std::function<void(DatasetOptions&)>& change) -> std::string {
    DatasetOptions options = packed_options(path, "bfd");
    change(options);
    try {
      open_dataset(options);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(message([](auto& o) { o.cp = 3; }),
            "capacity=64 is not a multiple of the alignment 6 (lcm of 6 for cp=3 and multiple=1)");
  EXPECT_EQ(message([](auto& o) { o.packing = "tetris"; }),
            "packer tetris is none of next_fit, next_fit_split, first_fit, ffd, bfd, wfd, optimal");
  EXPECT_EQ(message([](auto& o) { o.order = "up"; }),
            "data.order=up must be auto, short_first or long_first");
  EXPECT_EQ(message([](auto& o) { o.group = 3; }), "data.group=3 does not divide 10 documents");
}

}  // namespace
}  // namespace tessera
