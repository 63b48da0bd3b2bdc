// Rows planned from lengths alone are the rows that a dataset with the same options trains on.
#include "data/length_plan.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "data/document_store.h"

namespace tessera {
namespace {

/// Document k holds k * 1000 + position, so that each token tells where it is from.
std::vector<int32_t> document(int64_t number, int64_t length) {
  std::vector<int32_t> tokens(static_cast<size_t>(length));
  for (size_t t = 0; t < tokens.size(); ++t)
    tokens[t] = static_cast<int32_t>(number * 1000 + static_cast<int64_t>(t));
  return tokens;
}

std::vector<RowPiece> rows_of_dataset(const std::vector<int64_t>& lengths, const DatasetOptions& options) {
  DocumentStoreBuilder builder(options.seq_len,
                               parse_long_documents(options.long_documents, "tokens", options.group), {},
                               {options.group, 1, options.pad_multiple});
  for (size_t i = 0; i < lengths.size(); ++i) {
    const std::vector<int32_t> tokens = document(static_cast<int64_t>(i), lengths[i]);
    builder.add(tokens, tokens);
  }
  auto dataset = open_documents(options, builder.finish());
  std::vector<RowPiece> out;
  int64_t row = 0;
  for (std::vector<PackedBatch> step; dataset->next(step);) {
    for (const PackedBatch& batch : step) {
      const auto* real = batch.cu_seqlens.const_data_ptr<int32_t>();
      const auto* padded = batch.cu_seqlens_padded.const_data_ptr<int32_t>();
      const auto* tokens = batch.tokens.const_data_ptr<int64_t>();
      // The last step is filled with single tokens that are not learnt.
      const bool filler = batch.documents() == 1 && real[1] == 1 && batch.label_count == 0;
      for (int64_t i = 0; i < batch.documents() && !filler; ++i)
        out.push_back({row, tokens[padded[i]] / 1000, tokens[padded[i]] % 1000, real[i + 1] - real[i]});
      ++row;
    }
  }
  return out;
}

TEST(LengthPlan, IsWhatADatasetTrainsOn) {
  std::vector<int64_t> lengths;
  // A dataset leaves out pieces without a label, as a last one of a single token is: lengths cannot tell.
  for (int64_t k = 0; k < 120; ++k) lengths.push_back(k * 37 % 90 == 63 ? 64 : 2 + k * 37 % 90);
  DatasetOptions options;
  options.seq_len = 64;
  options.global_batch = 4;
  options.epochs = 1;
  options.packing_effort = 10000;
  options.prefetch = 0;
  int compared = 0;
  for (const char* packing :
       {"none", "next_fit", "next_fit_split", "first_fit", "ffd", "bfd", "wfd", "optimal"}) {
    for (const char* rule : {"truncate", "drop", "split"}) {
      for (const int64_t group : {1, 2}) {
        for (const int64_t multiple : {1, 8}) {
          for (const bool balance : {false, true}) {
            options.packing = packing;
            options.long_documents = rule;
            options.group = group;
            options.pad_multiple = multiple;
            options.balance = balance;
            options.shuffle = balance || multiple == 8;
            options.order = group == 2 && !balance ? "short_first" : "auto";
            if (group == 2 && (options.packing == "next_fit_split" || options.long_documents == "split")) {
              EXPECT_THROW(plan_rows(lengths, options), Error);
              continue;
            }
            SCOPED_TRACE(
                cat(packing, " ", rule, " group=", group, " multiple=", multiple, balance ? " balance" : ""));
            EXPECT_EQ(plan_rows(lengths, options), rows_of_dataset(lengths, options));
            ++compared;
          }
        }
      }
    }
  }
  EXPECT_GT(compared, 100);
}

}  // namespace
}  // namespace tessera
