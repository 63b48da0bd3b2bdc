// The weight half of a backward that is computed later (zero-bubble schedules: Qi et al., 2023).
#pragma once

#include <functional>
#include <vector>

#include "nn/unit.h"

namespace tessera {

/// Takes down what a unit's backward would add to its weight gradients, and adds it when asked to. The
/// tensors are kept, not copied.
class RecordedGrads final : public WeightGrads {
 public:
  void linear(int weight, const at::Tensor& x, const at::Tensor& dy) override {
    steps_.push_back([=](WeightGrads& grads) { grads.linear(weight, x, dy); });
  }
  void linears(const std::vector<Linear>& list) override {
    steps_.push_back([=](WeightGrads& grads) { grads.linears(list); });
  }
  void add(int weight, const at::Tensor& grad) override {
    steps_.push_back([=](WeightGrads& grads) { grads.add(weight, grad); });
  }
  void add_formed(int weight, const std::function<at::Tensor()>& form) override {
    steps_.push_back([=](WeightGrads& grads) { grads.add_formed(weight, form); });
  }
  void add_rows(int weight, const at::Tensor& rows, const at::Tensor& dy) override {
    steps_.push_back([=](WeightGrads& grads) { grads.add_rows(weight, rows, dy); });
  }

  /// Adds all to `grads`, in the order of the backward, and forgets it.
  void replay(WeightGrads& grads) {
    for (const auto& step : steps_) step(grads);
    steps_.clear();
  }

 private:
  std::vector<std::function<void(WeightGrads&)>> steps_;
};

}  // namespace tessera
