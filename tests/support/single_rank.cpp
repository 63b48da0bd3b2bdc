// A model on one rank without mesh, sharding or optimizer.
#include "support/single_rank.h"

#include <ATen/Parallel.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "core/error.h"
#include "data/batch_builder.h"
#include "kernels/embedding.h"
#include "kernels/linear.h"

namespace tessera::testing {

void GradSink::linear(int weight, const at::Tensor& x, const at::Tensor& dy) {
  Target& target = *targets_.at(weight);
  kernels::linear_grad_weight(x, dy, target.grad, target.started);
  target.started = true;
}

void GradSink::add(int weight, const at::Tensor& grad) {
  Target& target = *targets_.at(weight);
  if (target.started) {
    target.grad.add_(grad);
  } else {
    target.grad.copy_(grad);
  }
  target.started = true;
}

void GradSink::add_rows(int weight, const at::Tensor& rows, const at::Tensor& dy) {
  Target& target = *targets_.at(weight);
  if (!target.started) target.grad.zero_();
  kernels::embedding_backward(target.grad, rows, dy);
  target.started = true;
}

namespace {

void fill(const at::Tensor& tensor, const ParamSpec& spec, std::mt19937& random) {
  const double std = spec.shape.size() > 1 ? 1.0 / std::sqrt(static_cast<double>(spec.shape.back())) : 0.2;
  std::normal_distribution<float> normal(spec.init.kind == Init::Kind::ones ? 1.0F : 0.0F,
                                         static_cast<float>(std));
  const at::Tensor values = at::empty(tensor.sizes(), at::kFloat);
  float* data = values.mutable_data_ptr<float>();
  for (int64_t i = 0; i < values.numel(); ++i) data[i] = normal(random);
  tensor.copy_(values);
}

int64_t numel_of(const ParamSpec& spec) {
  int64_t count = 1;
  for (const int64_t size : spec.shape) count *= size;
  return count;
}

}  // namespace

SingleRankModel::SingleRankModel(const ModelConfig& config, at::ScalarType dtype, bool flat, int seed)
    : units_(build_units(config, {})) {
  // Models of tests are tiny: more threads only wait for each other.
  at::set_num_threads(1);
  std::mt19937 random(seed);
  for (size_t u = 0; u < units_.size(); ++u) {
    const std::vector<ParamSpec>& params = units_[u]->params();
    int64_t total = 0;
    for (const ParamSpec& spec : params) total += numel_of(spec);
    const at::Tensor buffer = at::empty({total}, dtype);
    weights_.emplace_back();
    targets_.emplace_back();
    int64_t offset = 0;
    for (const ParamSpec& spec : params) {
      at::Tensor weight = buffer.narrow(0, offset, numel_of(spec)).view(spec.shape);
      if (!flat) weight = weight.clone();
      fill(weight, spec, random);
      offset += numel_of(spec);
      index_[spec.name] = {u, weights_[u].size()};
      weights_[u].push_back(weight);
      targets_[u].push_back({at::zeros(spec.shape, at::kFloat), false});
    }
    std::vector<at::Tensor> bound = weights_[u];
    for (const Unit::Borrowed& borrowed : units_[u]->borrowed()) {
      bound.push_back(weights_.at(borrowed.unit).at(borrowed.weight));
    }
    units_[u]->bind(std::move(bound));
  }
}

std::vector<std::string> SingleRankModel::names() const {
  std::vector<std::string> result;
  for (const auto& entry : index_) result.push_back(entry.first);
  return result;
}

at::Tensor SingleRankModel::weight(const std::string& name) const {
  const auto [unit, index] = index_.at(name);
  return weights_[unit][index];
}

at::Tensor SingleRankModel::grad(const std::string& name) const {
  const auto [unit, index] = index_.at(name);
  TESSERA_CHECK(targets_[unit][index].started, state, "no gradient reached ", name);
  return targets_[unit][index].grad;
}

GradSink SingleRankModel::sink(size_t unit) {
  std::vector<GradSink::Target*> targets;
  for (GradSink::Target& target : targets_[unit]) targets.push_back(&target);
  for (const Unit::Borrowed& borrowed : units_[unit]->borrowed()) {
    targets.push_back(&targets_.at(borrowed.unit).at(borrowed.weight));
  }
  return GradSink(std::move(targets));
}

at::Tensor SingleRankModel::hidden(const PackedBatch& batch, const Microbatch& mb, std::vector<Saved>& saved,
                                   Recompute recompute) {
  saved.assign(units_.size(), {});
  at::Tensor x;
  for (size_t u = 0; u + 1 < units_.size(); ++u) x = units_[u]->forward(x, mb, saved[u], recompute);
  return x;
}

double SingleRankModel::loss(const PackedBatch& batch) {
  const Microbatch mb{&batch};
  std::vector<Saved> saved;
  const at::Tensor x = hidden(batch, mb, saved, Recompute::none);
  return dynamic_cast<HeadUnit&>(*units_.back()).loss(x, mb, nullptr).loss_sum.item<double>();
}

double SingleRankModel::forward_backward(const PackedBatch& batch, double loss_scale, Recompute recompute,
                                         int64_t loss_chunk) {
  for (std::vector<GradSink::Target>& unit : targets_) {
    for (GradSink::Target& target : unit) target.started = false;
  }
  return accumulate(batch, loss_scale, recompute, loss_chunk);
}

double SingleRankModel::accumulate(const PackedBatch& batch, double loss_scale, Recompute recompute,
                                   int64_t loss_chunk) {
  Microbatch mb;
  mb.batch = &batch;
  mb.loss_scale = loss_scale;
  mb.loss_chunk = loss_chunk;
  std::vector<Saved> saved;
  const at::Tensor x = hidden(batch, mb, saved, recompute);
  saved_bytes_ = 0;
  for (const Saved& unit : saved) saved_bytes_ += unit.bytes();
  GradSink head_sink = sink(units_.size() - 1);
  const HeadUnit::LossResult result = dynamic_cast<HeadUnit&>(*units_.back()).loss(x, mb, &head_sink);
  at::Tensor grad = result.grad_input;
  for (size_t u = units_.size() - 1; u-- > 0;) {
    GradSink unit_sink = sink(u);
    grad = units_[u]->backward(grad, mb, saved[u], unit_sink);
    TESSERA_CHECK(saved[u].empty(), internal, units_[u]->name(), " left tensors on its stack");
  }
  return result.loss_sum.item<double>();
}

at::Tensor SingleRankModel::logits(const PackedBatch& batch) {
  const Microbatch mb{&batch};
  std::vector<Saved> saved;
  const at::Tensor x = hidden(batch, mb, saved, Recompute::none);
  return dynamic_cast<HeadUnit&>(*units_.back()).logits(x, at::arange(x.size(0), at::kLong));
}

PackedBatch random_batch(const std::vector<int64_t>& lengths, int64_t vocab, int seed, double ignored,
                         int64_t multiple) {
  std::mt19937 random(seed);
  std::uniform_int_distribution<int64_t> token(0, vocab - 1);
  std::bernoulli_distribution ignore(ignored);
  std::vector<Document> documents;
  for (const int64_t length : lengths) {
    Document document;
    for (int64_t i = 0; i < length; ++i) {
      document.tokens.push_back(token(random));
      document.labels.push_back(ignore(random) ? kIgnoredLabel : document.tokens.back());
    }
    documents.push_back(std::move(document));
  }
  BatchLayout layout;
  layout.multiple = multiple;
  return batch_from_documents({documents}, layout);
}

double relative_error(const at::Tensor& a, const at::Tensor& b, double floor) {
  const at::Tensor x = a.to(at::kDouble);
  const at::Tensor y = b.to(at::kDouble);
  return x.sub(y).norm().item<double>() / std::max(y.norm().item<double>(), floor);
}

}  // namespace tessera::testing
