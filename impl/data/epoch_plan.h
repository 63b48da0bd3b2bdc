// The rows of one epoch in their order, from the documents' lengths and the data options alone.
#pragma once

#include <cstdint>
#include <memory>

#include "data/batch_builder.h"
#include "data/corpus.h"
#include "data/dataset.h"
#include "data/packing.h"

namespace tessera {

struct EpochPlan {
  Packing rows;        ///< documents of the corpus; cuts, if any, in real tokens
  int64_t tokens = 0;  ///< real ones over all rows
  int64_t padded = 0;  ///< with alignment and padding to the capacity
  int64_t lower_bound = 0;
  double seconds = 0;  ///< spent in the packer
};

/// Row layout for these options; throws Error(argument) for a seq_len that is no multiple of the alignment.
BatchLayout row_layout(const DatasetOptions& options);

/// Throws Error(argument) for an unknown data.packing or data.order.
void check_plan_options(const DatasetOptions& options);

/// Documents that an epoch draws from each source: all of them, or under data.weights the counts of
/// mix_counts.
std::vector<int64_t> epoch_draws(const Corpus& corpus, const DatasetOptions& options);

/// Deterministic in the options and the lengths, so every rank makes the same plan without talking to the
/// others. `phase` rows of the step in which the epoch begins are of earlier epochs; only data.balance asks.
EpochPlan plan_epoch(const Corpus& corpus, const DatasetOptions& options, int64_t epoch, int64_t phase = 0);

}  // namespace tessera
