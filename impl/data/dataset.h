// Datasets: files or pushed token arrays in, the micro-batches of each step out, the same documents in the same
// order on every mesh.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/packed_batch.h"

namespace tessera {

/// The options are data.* and train.* keys of the recipe; docs/data.md explains each.
struct DatasetOptions {
  std::vector<std::string> paths;     ///< files, directories or globs
  std::string format = "tokens";      ///< tokens | text | chat | sharegpt | alpaca | prompt
  std::string tokenizer;              ///< directory with tokenizer.json; needed for all formats but tokens
  int64_t vocab_size = 0;             ///< bounds token ids; 0: not checked
  int64_t seq_len = 1024;             ///< longest document, and the capacity of a pack
  std::string packing = "none";       ///< none | next_fit | first_fit | ffd | bfd | wfd | optimal ...
  std::string long_documents = "truncate";  ///< drop | truncate | split | error
  bool shuffle = false;
  int64_t seed = 0;
  int64_t micro_batch = 1;            ///< rows (documents, or packs) per micro-batch and dp rank
  int64_t global_batch = 1;           ///< rows per step over all dp ranks
  int64_t dp_rank = 0;
  int64_t dp_size = 1;
  std::string on_error = "fail";      ///< fail | skip
  int64_t epochs = 0;                 ///< 0: repeat for ever
};

class Dataset {
 public:
  virtual ~Dataset() = default;
  /// The micro-batches of this dp rank's next step, all of equal count over ranks; false at the end of the data.
  /// With packing=none and shuffle=false, row k of the files is document k and step s holds rows
  /// [s*global_batch, (s+1)*global_batch): dp rank r takes the r-th contiguous part of each.
  virtual bool next(std::vector<PackedBatch>& microbatches) = 0;
  /// Position in the data as JSON; restore() on any dp size continues with the same global order.
  virtual std::string state() const = 0;
  virtual void restore(const std::string& state) = 0;
  virtual int64_t steps_per_epoch() const = 0;  ///< -1 when unknown (streams)
};

std::unique_ptr<Dataset> open_dataset(const DatasetOptions& options);

}  // namespace tessera
