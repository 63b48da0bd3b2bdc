// A dataset that reads and tokenises while it is used, in bounded memory.
#pragma once

#include <memory>

#include "data/dataset.h"

namespace tessera {

/// Rows come in windows of data.stream_buffer; each window is shuffled, packed and used up like a small
/// epoch.
///
/// Without an end (data.epochs=0) the stream has one shard for each micro-batch of a step, and data-parallel
/// rank r tokenises only the shards of its own micro-batches: unit u of a pass goes to shard u % shards.
/// The order therefore does not depend on the number of ranks. Each shard goes through its passes at its own
/// pace. With data.epochs every rank tokenises everything as one shard, because no rank could know alone when
/// the others are through. Throws Error(argument | unsupported) for options that need all of the data at
/// once.
std::unique_ptr<Dataset> open_stream(const DatasetOptions& options);

}  // namespace tessera
