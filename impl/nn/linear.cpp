// Linear layers as blocks of a unit.
#include "nn/linear.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "kernels/elementwise.h"
#include "kernels/linear.h"

namespace tessera {

namespace {

/// The tensors `indices` of `weights` as one tensor along dim 0, without a copy; undefined when they do not
/// lie one after the other in one storage.
at::Tensor side_by_side(const std::vector<at::Tensor>& weights, const std::vector<int>& indices) {
  const at::Tensor& first = weights[indices[0]];
  int64_t rows = 0;
  for (const int index : indices) {
    const at::Tensor& tensor = weights[index];
    if (!tensor.is_contiguous() || tensor.scalar_type() != first.scalar_type()) return {};
    if (tensor.storage().unsafeGetStorageImpl() != first.storage().unsafeGetStorageImpl()) return {};
    const int64_t row_elements = tensor.dim() > 1 ? tensor.size(1) : 1;
    if (tensor.storage_offset() != first.storage_offset() + rows * row_elements) return {};
    rows += tensor.size(0);
  }
  std::vector<int64_t> shape = first.sizes().vec();
  shape[0] = rows;
  return first.as_strided(shape, first.strides().vec(), first.storage_offset());
}

StoredSlice fused_rows(const LinearSpec::Fused& fused, const char* kind, const std::vector<int64_t>& shape) {
  return StoredSlice::rows_of(fused.prefix + kind, shape, fused.rows, fused.first);
}

}  // namespace

void fuse_in_checkpoint(std::vector<LinearSpec>& layers, const std::string& prefix) {
  int64_t rows = 0;
  for (LinearSpec& layer : layers) {
    layer.fused = {prefix, 0, rows};
    rows += layer.out;
  }
  for (LinearSpec& layer : layers) layer.fused->rows = rows;
}

Linear::Linear(const LinearSpec& spec, std::vector<ParamSpec>& params)
    : weight_(static_cast<int>(params.size())) {
  using Style = LinearSpec::Style;
  ParamSpec weight;
  weight.name = spec.prefix + ".weight";
  weight.shape = {spec.out, spec.in};
  weight.init = {Init::Kind::normal, spec.init_std};
  if (spec.style == Style::colwise) weight.tp = Placement::shard(0, spec.parts);
  if (spec.style == Style::rowwise) weight.tp = Placement::shard(1);
  weight.tp_partial = spec.parts > 0;
  if (spec.fused) weight.stored = fused_rows(*spec.fused, ".weight", weight.shape);
  params.push_back(std::move(weight));
  if (!spec.bias) return;

  bias_ = static_cast<int>(params.size());
  ParamSpec bias;
  bias.name = spec.prefix + ".bias";
  bias.shape = {spec.out};
  bias.init = {Init::Kind::zeros, 0};
  bias.decay = false;
  if (spec.style == Style::colwise) bias.tp = Placement::shard(0, spec.parts);
  bias.tp_partial = spec.parts > 0;
  if (spec.fused) bias.stored = fused_rows(*spec.fused, ".bias", bias.shape);
  params.push_back(std::move(bias));
}

void Linear::use_float8(kernels::Float8Recipe recipe) {
  float8_ = recipe;
  cast_weight_ = in_float8() ? std::make_unique<kernels::Float8Casts>() : nullptr;
}

void Linear::bind(kernels::Float8Matrix weight) {
  bound_ = std::move(weight);
  forget();
}

void Linear::unbind() {
  bound_ = {};
  forget();
}

void Linear::forget() const {
  if (cast_weight_) *cast_weight_ = {};
}

kernels::Float8Casts& Linear::cast_weight(const std::vector<at::Tensor>& weights) const {
  if (!cast_weight_->defined()) {
    *cast_weight_ = bound_.values.defined()
                        ? kernels::Float8Casts(bound_)
                        : kernels::Float8Casts(weights[weight_], rule(kernels::Float8Role::weight));
  }
  return *cast_weight_;
}

std::shared_ptr<kernels::Float8Casts> Linear::shared_input(const at::Tensor& x) const {
  if (!in_float8()) return nullptr;
  return std::make_shared<kernels::Float8Casts>(x, rule(kernels::Float8Role::input));
}

at::Tensor Linear::forward(const std::vector<at::Tensor>& weights, const at::Tensor& x,
                           bool with_bias) const {
  if (in_float8()) return forward(weights, x, *shared_input(x), with_bias);
  return kernels::linear(x, weights[weight_], bias_ >= 0 && with_bias ? weights[bias_] : at::Tensor());
}

at::Tensor Linear::forward(const std::vector<at::Tensor>& weights, const at::Tensor& x,
                           kernels::Float8Casts& cast_x, bool with_bias) const {
  at::Tensor y =
      kernels::float8_mm(cast_x.rows(), cast_weight(weights).rows(), x.scalar_type(), /*fast=*/true);
  if (bias_ >= 0 && with_bias) y.add_(weights[bias_]);
  return y;
}

LinearGrad Linear::received(const at::Tensor& dy) const {
  LinearGrad grad(dy);
  if (!in_float8()) return grad;
  const bool both = float8_ != kernels::Float8Recipe::rowwise_with_gw_hp;
  grad.float8 = std::make_shared<kernels::Float8Casts>(dy, rule(kernels::Float8Role::output_gradient), both);
  return grad;
}

at::Tensor Linear::grad_input(const std::vector<at::Tensor>& weights, const LinearGrad& dy) const {
  if (!in_float8()) return kernels::linear_grad_input(dy.dy, weights[weight_]);
  return kernels::float8_mm(dy.float8->rows(), cast_weight(weights).transposed(), dy.dy.scalar_type(),
                            /*fast=*/false);
}

void Linear::grad_weights(const at::Tensor& x, const LinearGrad& dy, WeightGrads& grads) const {
  grad_weights(x, shared_input(x), dy, grads);
}

void Linear::grad_weights(const at::Tensor& x, const std::shared_ptr<kernels::Float8Casts>& cast_x,
                          const LinearGrad& dy, WeightGrads& grads) const {
  using Recipe = kernels::Float8Recipe;
  if (float8_ == Recipe::tensorwise || float8_ == Recipe::rowwise) {
    // Perhaps formed later: what is kept for it is one byte an element, and x.
    grads.add_formed(weight_, [cast_x, cast_dy = dy.float8->transposed(), type = x.scalar_type()] {
      return kernels::float8_mm(cast_dy, cast_x->transposed(), type, /*fast=*/false);
    });
  } else {
    grads.linear(weight_, x, dy.dy);
  }
  if (bias_ >= 0) grads.add(bias_, kernels::linear_grad_bias(dy.dy));
}

LinearGroup::LinearGroup(const std::vector<LinearSpec>& specs, std::vector<ParamSpec>& params) {
  // Weights first and biases after them, so that both can lie side by side in a flat buffer.
  std::vector<ParamSpec> biases;
  for (const LinearSpec& spec : specs) {
    std::vector<ParamSpec> own;
    layers_.emplace_back(spec, own);
    params.push_back(std::move(own[0]));
    if (own.size() > 1) biases.push_back(std::move(own[1]));
  }
  const int first = static_cast<int>(params.size() - specs.size());
  int next_bias = static_cast<int>(params.size());
  for (size_t i = 0; i < layers_.size(); ++i) {
    layers_[i].place(first + static_cast<int>(i), specs[i].bias ? next_bias++ : -1);
  }
  for (ParamSpec& bias : biases) params.push_back(std::move(bias));
}

void LinearGroup::bind(const std::vector<at::Tensor>& weights) {
  unbind();
  outs_.clear();
  total_out_ = 0;
  std::vector<int> matrices;
  std::vector<int> biases;
  for (const Linear& layer : layers_) {
    outs_.push_back(weights[layer.weight()].size(0));
    total_out_ += outs_.back();
    matrices.push_back(layer.weight());
    if (layer.bias() >= 0) biases.push_back(layer.bias());
  }
  if (any_float8()) return;  // each has scales of its own
  if (!biases.empty() && biases.size() != layers_.size()) return;
  const at::Tensor bias = biases.empty() ? at::Tensor() : side_by_side(weights, biases);
  if (!biases.empty() && !bias.defined()) return;
  merged_weight_ = side_by_side(weights, matrices);
  if (merged_weight_.defined()) merged_bias_ = bias;
}

bool LinearGroup::any_float8() const {
  return std::any_of(layers_.begin(), layers_.end(), [](const Linear& layer) { return layer.in_float8(); });
}

void LinearGroup::unbind() {
  merged_weight_.reset();
  merged_bias_.reset();
}

std::vector<at::Tensor> LinearGroup::split(const at::Tensor& fused) const {
  std::vector<at::Tensor> parts;
  int64_t column = 0;
  for (const int64_t out : outs_) {
    parts.push_back(fused.narrow(1, column, out));
    column += out;
  }
  return parts;
}

std::vector<at::Tensor> LinearGroup::forward(const std::vector<at::Tensor>& weights,
                                             const at::Tensor& x) const {
  if (merged()) return split(kernels::linear(x, merged_weight_, merged_bias_));
  std::vector<at::Tensor> parts;
  parts.reserve(layers_.size());
  std::shared_ptr<kernels::Float8Casts> cast;  // once for all
  for (const Linear& layer : layers_) {
    if (!layer.in_float8()) {
      parts.push_back(layer.forward(weights, x));
      continue;
    }
    if (!cast) cast = layer.shared_input(x);
    parts.push_back(layer.forward(weights, x, *cast));
  }
  return parts;
}

std::vector<at::Tensor> LinearGroup::empty_grads(const at::Tensor& like) const {
  const int64_t tokens = like.size(0);
  if (merged()) return split(at::empty({tokens, total_out_}, like.options()));
  std::vector<at::Tensor> parts;
  parts.reserve(outs_.size());
  for (const int64_t out : outs_) parts.push_back(at::empty({tokens, out}, like.options()));
  return parts;
}

LinearGroupGrad LinearGroup::received(std::vector<at::Tensor> dy) const {
  LinearGroupGrad grad(std::move(dy));
  if (!any_float8()) return grad;
  for (size_t i = 0; i < layers_.size(); ++i) grad.received.push_back(layers_[i].received(grad.dy[i]));
  return grad;
}

at::Tensor LinearGroup::grad_input(const std::vector<at::Tensor>& weights, const LinearGroupGrad& dy) const {
  if (merged()) {
    const at::Tensor& first = dy.dy[0];
    const at::Tensor fused =
        first.as_strided({first.size(0), total_out_}, {total_out_, 1}, first.storage_offset());
    return kernels::linear_grad_input(fused, merged_weight_);
  }
  const auto of = [&](size_t i) { return dy.received.empty() ? LinearGrad(dy.dy[i]) : dy.received[i]; };
  at::Tensor dx = layers_[0].grad_input(weights, of(0));
  for (size_t i = 1; i < layers_.size(); ++i) kernels::add_to(dx, layers_[i].grad_input(weights, of(i)));
  return dx;
}

void LinearGroup::grad_weights(const at::Tensor& x, const LinearGroupGrad& dy, WeightGrads& grads) const {
  if (merged()) {
    // As one list, which the storage of the gradients makes one product where they lie side by side too.
    std::vector<WeightGrads::Linear> list;
    for (size_t i = 0; i < layers_.size(); ++i) list.push_back({layers_[i].weight(), x, dy.dy[i]});
    grads.linears(list);
    for (size_t i = 0; i < layers_.size(); ++i) {
      if (layers_[i].bias() >= 0) grads.add(layers_[i].bias(), kernels::linear_grad_bias(dy.dy[i]));
    }
    return;
  }
  std::shared_ptr<kernels::Float8Casts> cast;
  for (size_t i = 0; i < layers_.size(); ++i) {
    if (!cast) cast = layers_[i].shared_input(x);
    layers_[i].grad_weights(x, cast, dy.received.empty() ? LinearGrad(dy.dy[i]) : dy.received[i], grads);
  }
}

bool LinearGroup::fits(const std::vector<at::Tensor>& parts) const {
  if (!merged()) return true;
  int64_t column = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    const at::Tensor& part = parts[i];
    if (!part.is_alias_of(parts[0]) || part.size(1) != outs_[i] || part.stride(0) != total_out_ ||
        part.stride(1) != 1 || part.storage_offset() != parts[0].storage_offset() + column) {
      return false;
    }
    column += outs_[i];
  }
  return true;
}

}  // namespace tessera
