// What transformers computed for one parity case (see reference.py), read from its safetensors files.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "checkpoint/safetensors.h"
#include "data/packed_batch.h"
#include "models/model.h"
#include "support/single_rank.h"

namespace tessera::testing {

/// The names of all cases; empty when the reference was not made.
std::vector<std::string> reference_cases();

class Reference {
 public:
  explicit Reference(const std::string& name);

  const std::string& name() const { return name_; }
  const ModelConfig& config() const { return config_; }
  at::Tensor tensor(const std::string& name) const;
  double number(const std::string& name, int64_t index = 0) const;
  /// Names under which float32 gradients are stored: all parameters.
  std::vector<std::string> parameters() const;
  /// Writes the checkpoint's weights into the model; every weight must be there.
  void load_weights(const SingleRankModel& model) const;
  /// The documents of training step `step`, packed; `multiple` gives them alignment padding.
  PackedBatch batch(int step, int64_t multiple) const;
  /// The rows of packed logits that belong to documents, not to their padding.
  at::Tensor real_rows(const at::Tensor& rows, const PackedBatch& batch) const;

 private:
  at::Tensor read(const SafetensorsFile& file, const std::string& name) const;

  std::string name_;
  ModelConfig config_;
  SafetensorsFile weights_;
  SafetensorsFile values_;
};

}  // namespace tessera::testing
