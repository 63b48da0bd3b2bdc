// What transformers computed for one parity case (see reference.py), read from its safetensors files.
#pragma once

#include <ATen/core/Tensor.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "checkpoint/safetensors.h"
#include "data/batch_builder.h"
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
  /// The Hugging Face directory.
  std::string directory() const;
  const ModelConfig& config() const { return config_; }
  at::Tensor tensor(const std::string& name) const;
  /// What is stored as `kind` for a parameter of the model; a slice where the checkpoint fuses parameters.
  at::Tensor of(const std::string& kind, const std::string& parameter) const;
  double number(const std::string& name, int64_t index = 0) const;
  /// Names of the model's trainable parameters, which together hold every element that has a float32 gradient.
  std::vector<std::string> parameters() const;
  /// Writes the checkpoint's weights into the model; every weight must be there.
  void load_weights(const SingleRankModel& model) const;
  /// The documents of training step `step`, packed; `multiple` gives them alignment padding.
  PackedBatch batch(int step, int64_t multiple) const;
  /// Part `part` of `parts` of the step's documents, cut in order; an empty batch when it has none.
  PackedBatch part_of_batch(int step, int part, int parts) const;
  /// The rows of packed logits that belong to documents, not to their padding.
  at::Tensor real_rows(const at::Tensor& rows, const PackedBatch& batch) const;

 private:
  at::Tensor read(const SafetensorsFile& file, const std::string& name) const;
  std::vector<Document> documents(int step) const;

  const ParamSpec& spec(const std::string& parameter) const;
  /// A parameter out of the tensor that the checkpoint has.
  at::Tensor part(const SafetensorsFile& file, const std::string& kind, const ParamSpec& spec) const;

  std::string name_;
  ModelConfig config_;
  std::vector<ParamSpec> specs_;
  SafetensorsFile weights_;
  SafetensorsFile values_;
};

/// Norm-wise error of several tensors taken as one vector.
struct TotalError {
  double difference = 0;
  double norm = 0;
  void add(const at::Tensor& value, const at::Tensor& truth) {
    const double size = truth.to(at::kDouble).norm().item<double>();
    difference += std::pow(relative_error(value, truth) * size, 2);
    norm += size * size;
  }
  double relative() const { return std::sqrt(difference / norm); }
};

/// Runs `check` on every case. The list is read at run time, since the reference may be made after the build;
/// without one the test is skipped.
template <class Check>
void for_each_case(const Check& check) {
  const std::vector<std::string> cases = reference_cases();
  if (cases.empty()) {
    GTEST_SKIP() << "no reference in " << TESSERA_PARITY_REFERENCE
                 << ": tests/support/make_venv.sh and tests/parity/make_reference.sh make it";
  }
  for (const std::string& name : cases) {
    SCOPED_TRACE(name);
    const Reference reference(name);
    check(reference);
  }
}

/// Runs of ctest -V show how near the numbers are, not only that they pass.
inline void report(const Reference& reference, const std::string& text) {
  std::printf("%-40s %s\n", reference.name().c_str(), text.c_str());
}

}  // namespace tessera::testing
