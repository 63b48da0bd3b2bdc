// AdamW and SGD as fused passes over all shards, with an ATen composition for other devices and dtypes.
#include "optim/optimizer.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/sqrt.h>

#include <cmath>

#include "core/error.h"
#include "kernels/elementwise.h"
#include "kernels/multi_tensor.h"

namespace tessera {
namespace {

using kernels::AdamWScalars;
using kernels::SgdScalars;

void check_flat(const ParamShard& shard, const at::Tensor& t, const char* what) {
  TESSERA_CHECK(t.defined() && t.dim() == 1 && t.is_contiguous() && t.numel() == shard.master.numel(),
                argument, "optimizer: ", what, " of ", shard.name, " must be contiguous and have ",
                shard.master.numel(), " elements, as its master");
}

void check_shard(const ParamShard& shard) {
  TESSERA_CHECK(shard.master.defined(), argument, "optimizer: master of ", shard.name, " is undefined");
  check_flat(shard, shard.master, "master");
  check_flat(shard, shard.grad, "grad");
  TESSERA_CHECK(shard.grad.scalar_type() == at::kFloat, argument, "optimizer: grad of ", shard.name, " is ",
                shard.grad.scalar_type(), ", expected float32");
  if (shard.compute.defined()) check_flat(shard, shard.compute, "compute copy");
}

/// State tensors per shard, made on first use, and the checks that shards stay what they were.
class StateStore {
 public:
  explicit StateStore(std::vector<std::string> names) : names_(std::move(names)) {}

  std::vector<at::Tensor>& of(const std::vector<ParamShard>& shards, size_t index) {
    TESSERA_CHECK(index < shards.size(), argument, "optimizer: shard ", index, " of ", shards.size());
    if (shards_.empty()) shards_.resize(shards.size());
    TESSERA_CHECK(shards_.size() == shards.size(), state, "optimizer: ", shards.size(),
                  " shards, the first call had ", shards_.size());
    std::vector<at::Tensor>& tensors = shards_[index];
    const ParamShard& shard = shards[index];
    if (tensors.empty()) {
      for (size_t i = 0; i < names_.size(); ++i) {
        // Written, not kernels::zeros: pages that are read first are mapped twice.
        tensors.push_back(at::empty({shard.master.numel()}, shard.master.options().dtype(at::kFloat)));
        kernels::zero(tensors.back());
      }
    }
    for (const at::Tensor& t : tensors) {
      TESSERA_CHECK(t.numel() == shard.master.numel(), state, "optimizer: ", shard.name, " has ",
                    shard.master.numel(), " elements, its state ", t.numel());
    }
    return tensors;
  }

  std::vector<std::pair<std::string, at::Tensor>> named(const std::vector<ParamShard>& shards, size_t index) {
    const std::vector<at::Tensor>& tensors = of(shards, index);
    std::vector<std::pair<std::string, at::Tensor>> result;
    for (size_t i = 0; i < names_.size(); ++i) result.emplace_back(names_[i], tensors[i]);
    return result;
  }

 private:
  std::vector<std::string> names_;
  std::vector<std::vector<at::Tensor>> shards_;
};

void check_step(double lr, double grad_scale, int64_t step) {
  TESSERA_CHECK(step >= 1, argument, "optimizer: step ", step, " (steps count from 1)");
  TESSERA_CHECK(std::isfinite(lr) && lr >= 0, argument, "optimizer: lr ", lr);
  TESSERA_CHECK(std::isfinite(grad_scale), argument, "optimizer: grad_scale ", grad_scale);
}

class AdamW : public Optimizer {
 public:
  explicit AdamW(const OptimizerOptions& options) : options_(options), state_({"exp_avg", "exp_avg_sq"}) {}

  void step(std::vector<ParamShard>& shards, double lr, double grad_scale, int64_t step) override {
    check_step(lr, grad_scale, step);
    const auto n = static_cast<double>(step);
    const double bias1 = 1 - std::pow(options_.beta1, n), bias2 = 1 - std::pow(options_.beta2, n);
    const AdamWScalars scalars{static_cast<float>(options_.beta1),     static_cast<float>(options_.beta2),
                               static_cast<float>(1 - options_.beta1), static_cast<float>(1 - options_.beta2),
                               static_cast<float>(options_.eps),       1,
                               static_cast<float>(lr / bias1),         static_cast<float>(std::sqrt(bias2)),
                               static_cast<float>(grad_scale)};
    std::vector<kernels::AdamWTensors> fused;
    for (size_t i = 0; i < shards.size(); ++i) {
      const ParamShard& shard = shards[i];
      check_shard(shard);
      const double decay = shard.decay ? 1 - lr * options_.weight_decay : 1;
      const std::vector<at::Tensor>& state = state_.of(shards, i);
      if (kernels::has_fused_update(shard.master, shard.grad, shard.compute)) {
        fused.push_back(
            {shard.master, shard.grad, state[0], state[1], shard.compute, static_cast<float>(decay)});
      } else {
        composed(shard, state, decay, lr / bias1, std::sqrt(bias2), grad_scale);
      }
    }
    kernels::adamw_all(fused, scalars);
  }

  std::vector<std::pair<std::string, at::Tensor>> state(const std::vector<ParamShard>& shards,
                                                        size_t index) override {
    return state_.named(shards, index);
  }

 private:
  void composed(const ParamShard& s, const std::vector<at::Tensor>& state, double decay, double step_size,
                double bias2_sqrt, double grad_scale) const {
    at::Tensor m = state[0], v = state[1];
    const at::Tensor g = at::mul(s.grad, grad_scale);
    m.lerp_(g, 1 - options_.beta1);
    v.mul_(options_.beta2).addcmul_(g, g, 1 - options_.beta2);
    const at::Tensor denominator = at::sqrt(v).div_(bias2_sqrt).add_(options_.eps);
    s.master.mul_(decay).addcdiv_(m, denominator, -step_size);
    if (s.compute.defined()) s.compute.copy_(s.master);
  }

  OptimizerOptions options_;
  StateStore state_;
};

class Sgd : public Optimizer {
 public:
  explicit Sgd(const OptimizerOptions& options)
      : options_(options),
        state_(options.momentum != 0 ? std::vector<std::string>{"momentum_buffer"}
                                     : std::vector<std::string>{}) {}

  void step(std::vector<ParamShard>& shards, double lr, double grad_scale, int64_t step) override {
    check_step(lr, grad_scale, step);
    const SgdScalars scalars{static_cast<float>(lr), static_cast<float>(options_.momentum), 0,
                             static_cast<float>(grad_scale)};
    std::vector<kernels::SgdTensors> fused;
    for (size_t i = 0; i < shards.size(); ++i) {
      const ParamShard& shard = shards[i];
      check_shard(shard);
      const double decay = shard.decay ? options_.weight_decay : 0;
      const std::vector<at::Tensor>& state = state_.of(shards, i);
      if (kernels::has_fused_update(shard.master, shard.grad, shard.compute)) {
        fused.push_back({shard.master, shard.grad, state.empty() ? at::Tensor() : state[0], shard.compute,
                         static_cast<float>(decay)});
      } else {
        composed(shard, state, decay, lr, grad_scale);
      }
    }
    kernels::sgd_all(fused, scalars);
  }

  std::vector<std::pair<std::string, at::Tensor>> state(const std::vector<ParamShard>& shards,
                                                        size_t index) override {
    return state_.named(shards, index);
  }

 private:
  void composed(const ParamShard& s, const std::vector<at::Tensor>& state, double decay, double lr,
                double grad_scale) const {
    at::Tensor update = at::mul(s.grad, grad_scale).to(s.master.scalar_type());
    if (decay != 0) update.add_(s.master, decay);
    if (!state.empty()) {
      at::Tensor buffer = state[0];
      buffer.mul_(options_.momentum).add_(update);
      update = buffer;
    }
    s.master.sub_(update, lr);
    if (s.compute.defined()) s.compute.copy_(s.master);
  }

  OptimizerOptions options_;
  StateStore state_;
};

}  // namespace

std::unique_ptr<Optimizer> make_optimizer(const OptimizerOptions& o) {
  TESSERA_CHECK(std::isfinite(o.weight_decay) && o.weight_decay >= 0, argument, "optimizer.weight_decay ",
                o.weight_decay, " is negative");
  if (o.name == "adamw") {
    TESSERA_CHECK(o.beta1 >= 0 && o.beta1 < 1, argument, "optimizer.beta1 ", o.beta1, " is not in [0, 1)");
    TESSERA_CHECK(o.beta2 >= 0 && o.beta2 < 1, argument, "optimizer.beta2 ", o.beta2, " is not in [0, 1)");
    TESSERA_CHECK(std::isfinite(o.eps) && o.eps >= 0, argument, "optimizer.eps ", o.eps, " is negative");
    return std::make_unique<AdamW>(o);
  }
  TESSERA_CHECK(o.name == "sgd", argument, "optimizer.name ", o.name, " is unknown (adamw, sgd)");
  TESSERA_CHECK(std::isfinite(o.momentum) && o.momentum >= 0, argument, "optimizer.momentum ", o.momentum,
                " is negative");
  return std::make_unique<Sgd>(o);
}

}  // namespace tessera
