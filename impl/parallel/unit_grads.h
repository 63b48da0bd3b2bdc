// The WeightGrads of one model unit over ModelGradients: GEMMs write weight gradients straight into the
// buffer that is reduced.
#pragma once

#include <vector>

#include "nn/unit.h"
#include "parallel/model_storage.h"

namespace tessera {

class UnitGrads final : public WeightGrads {
 public:
  struct Target {
    int unit;      ///< FSDP unit
    size_t param;  ///< in its layout
    bool trainable;
  };

  /// targets[i] belongs to weight i of the unit, borrowed ones after its own.
  UnitGrads(ModelGradients& storage, std::vector<Target> targets)
      : storage_(storage), targets_(std::move(targets)) {}

  void linear(int weight, const at::Tensor& x, const at::Tensor& dy) override;
  void linears(const std::vector<Linear>& list) override;
  void add(int weight, const at::Tensor& grad) override;
  void add_formed(int weight, const std::function<at::Tensor()>& form) override;
  void add_rows(int weight, const at::Tensor& rows, const at::Tensor& dy) override;

 private:
  ModelGradients& storage_;
  std::vector<Target> targets_;
};

}  // namespace tessera
