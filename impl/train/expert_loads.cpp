// Sums of routers' loads, their metrics, and the update of selection biases.
#include "train/expert_loads.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <numeric>

#include "nn/decoder_layer.h"

namespace tessera {

ExpertLoads::ExpertLoads(ShardedModel& model, int64_t experts, bool counts)
    : model_(model), experts_(experts), counts_(counts) {
  for (const std::unique_ptr<Unit>& member : model.members()) {
    auto* decoder = dynamic_cast<DecoderLayer*>(member.get());
    Moe* moe = decoder != nullptr ? decoder->moe() : nullptr;
    if (moe == nullptr) continue;
    Layer layer{moe, std::nullopt};
    if (moe->selection_bias() >= 0)
      layer.bias = model.find_here(member->params()[moe->selection_bias()].name);
    layers_.push_back(layer);
  }
  clear();
}

void ExpertLoads::clear() {
  for (const Layer& layer : layers_) {
    layer.moe->take_load();
    layer.moe->end_census();
  }
  expect({});
  step_ = {};
  step_.counts.assign(layers_.size() * experts_, 0);
  finished_ = false;
}

void ExpertLoads::take(std::vector<double>& values) {
  if (layers_.empty()) return;
  double tokens = 0;
  double balance_loss = 0;
  double z_loss = 0;
  for (const Layer& layer : layers_) {
    const RouterLoad load = layer.moe->take_load();
    const bool silent = !counts_ || load.counts.empty();
    for (int64_t e = 0; e < experts_; ++e) {
      values.push_back(silent ? 0.0 : static_cast<double>(load.counts[e]));
    }
    if (silent) continue;
    tokens += static_cast<double>(load.tokens);
    balance_loss += load.balance_loss;
    z_loss += load.z_loss;
  }
  values.insert(values.end(), {tokens, balance_loss, z_loss});
}

void ExpertLoads::add(const double* sums) {
  if (layers_.empty()) return;
  if (finished_) clear();
  for (double& count : step_.counts) count += *sums++;
  step_.tokens += sums[0];
  step_.balance_loss += sums[1];
  step_.z_loss += sums[2];
}

void ExpertLoads::begin_census() {
  for (const Layer& layer : layers_) layer.moe->begin_census();
}

void ExpertLoads::end_census(std::vector<double>& values) {
  for (const Layer& layer : layers_) {
    const RouterLoad load = layer.moe->end_census();
    const bool silent = !counts_ || load.counts.empty();
    for (int64_t e = 0; e < experts_; ++e) {
      values.push_back(silent ? 0.0 : static_cast<double>(load.counts[e]));
    }
    values.push_back(silent ? 0.0 : static_cast<double>(load.tokens));
  }
}

void ExpertLoads::expect(const std::vector<double>& sums) {
  for (size_t i = 0; i < layers_.size(); ++i) {
    at::Tensor totals;
    if (!sums.empty()) {
      totals = at::empty({experts_ + 1}, at::dtype(at::kDouble));
      std::copy_n(sums.begin() + static_cast<int64_t>(i) * (experts_ + 1), experts_ + 1,
                  totals.mutable_data_ptr<double>());
    }
    layers_[i].moe->expect(std::move(totals));
  }
}

void ExpertLoads::update_biases(double speed) {
  if (speed == 0) return;
  const auto move = static_cast<float>(speed);
  for (size_t i = 0; i < layers_.size(); ++i) {
    if (!layers_[i].bias) continue;
    auto* bias = model_.master(*layers_[i].bias).mutable_data_ptr<float>();
    const double* load = step_.counts.data() + i * experts_;
    const double total = std::accumulate(load, load + experts_, 0.0);
    for (int64_t e = 0; e < experts_; ++e) {
      const double scaled =
          load[e] * static_cast<double>(experts_);  // the mean itself may have no exact form
      if (scaled != total) bias[e] += scaled < total ? move : -move;
    }
  }
}

ExpertMetrics ExpertLoads::metrics() const {
  ExpertMetrics out;
  if (step_.tokens == 0) return out;
  const auto experts = static_cast<double>(experts_);
  for (size_t i = 0; i < layers_.size(); ++i) {
    const auto first = step_.counts.begin() + static_cast<int64_t>(i) * experts_;
    const double total = std::accumulate(first, first + experts_, 0.0);
    const double most = *std::max_element(first, first + experts_);
    if (total > 0) out.load_ratio = std::max(out.load_ratio, most * experts / total);
  }
  const auto idle = std::count(step_.counts.begin(), step_.counts.end(), 0.0);
  out.idle = static_cast<double>(idle) / static_cast<double>(step_.counts.size());
  out.balance_loss = step_.balance_loss / step_.tokens;
  out.z_loss = step_.z_loss / step_.tokens;
  return out;
}

}  // namespace tessera
