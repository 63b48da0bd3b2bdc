// A dataset whose documents come from the host: collected first, then used like the documents of a file.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/document_store.h"
#include "data/token_rows.h"

namespace tessera::capi {

/// Not thread-safe. All but push() and end() throw state until end() was called.
class PushedDataset : public Dataset {
 public:
  explicit PushedDataset(DatasetOptions options);

  /// Adds one document, labels in the positions of the tokens. Throws argument for one that cannot be learnt
  /// from.
  void push(std::span<const int64_t> tokens, std::span<const int64_t> labels);
  /// Adds all rows, or none when one cannot be learnt from.
  void push(const std::vector<TokenRow>& rows);
  void end();

  bool next(std::vector<PackedBatch>& microbatches) override { return ready().next(microbatches); }
  std::string state() const override { return ready().state(); }
  void restore(const std::string& state) override { ready().restore(state); }
  int64_t steps_per_epoch() const override { return ready().steps_per_epoch(); }
  DatasetReport report() const override { return ready().report(); }
  std::vector<int64_t> lengths() const override { return ready().lengths(); }

 private:
  Dataset& ready() const;

  DatasetOptions options_;
  DocumentStoreBuilder builder_;
  std::shared_ptr<const DocumentStore> store_;  ///< the documents; made by the first end()
  std::unique_ptr<Dataset> dataset_;            ///< made by the end() that succeeds
};

}  // namespace tessera::capi
