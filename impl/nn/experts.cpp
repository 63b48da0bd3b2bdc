// The experts' products: on a device all at once, on the CPU side by side on the threads when experts are
// many, else one after the other.
#include "nn/experts.h"

#include <ATen/ops/_grouped_mm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mv.h>

#include <algorithm>
#include <numeric>

#include "core/cuda_plugin.h"
#include "core/error.h"
#include "kernels/device_copy.h"
#include "kernels/expert_rows.h"
#include "kernels/linear.h"
#include "kernels/side_by_side.h"

namespace tessera {
namespace {

std::string numbered(const std::string& prefix, const std::string& name, int64_t expert) {
  const size_t at = name.find("{}");
  TESSERA_CHECK(at != std::string::npos, internal, "the expert name \"", name, "\" has no {}");
  std::string full = name;
  full.replace(at, 2, std::to_string(expert));
  return cat(prefix, ".", full);
}

/// Where a stack has the weight or bias of expert `e`, the `turn`-th of `turns` that take turns along the
/// outputs.
StoredSlice in_stack(const std::string& name, const ParamSpec& param, int64_t experts, int64_t e, int turns,
                     int turn) {
  const int64_t out = param.shape[0] * turns;
  if (param.shape.size() == 1) return {name + "_bias", {experts, out}, {e, turn}, {1}, {turns}};
  return {name, {experts, param.shape[1], out}, {e, 0, turn}, {2, 1}, {turns, 1}};
}

/// Places the parameters of expert `e`, params[first] and those behind it: gate, up, their biases; down, its
/// bias.
void place_in_stack(const std::string& stack, const ExpertsSpec& spec, int64_t e, size_t first,
                    std::vector<ParamSpec>& params) {
  const size_t down = first + (spec.bias ? 4 : 2);
  for (size_t p = first; p < params.size(); ++p) {
    const int64_t experts = spec.placement.experts;
    const int turn = static_cast<int>((p - first) % 2);
    params[p].stored = p < down ? in_stack(stack + ".gate_up_proj", params[p], experts, e, 2, turn)
                                : in_stack(stack + ".down_proj", params[p], experts, e, 1, 0);
  }
}

// Matrices that lie at equal distances in one memory, as [n, rows, columns] without a copy; otherwise
// undefined.
at::Tensor stacked(const std::vector<at::Tensor>& matrices) {
  const at::Tensor& first = matrices[0];
  if (!first.defined() || !first.is_contiguous()) return {};
  const int64_t distance = matrices.size() > 1 && matrices[1].defined()
                               ? matrices[1].storage_offset() - first.storage_offset()
                               : first.numel();
  if (distance < first.numel()) return {};
  for (size_t i = 1; i < matrices.size(); ++i) {
    const at::Tensor& matrix = matrices[i];
    if (!matrix.defined() || !matrix.is_contiguous() || matrix.sizes() != first.sizes() ||
        matrix.storage().unsafeGetStorageImpl() != first.storage().unsafeGetStorageImpl() ||
        matrix.storage_offset() != first.storage_offset() + static_cast<int64_t>(i) * distance) {
      return {};
    }
  }
  return first.as_strided({static_cast<int64_t>(matrices.size()), first.size(0), first.size(1)},
                          {distance, first.size(1), 1}, first.storage_offset());
}

// What the grouped kernels ask of strides: 16 bytes.
bool aligned(const at::Tensor& t) {
  if (!t.defined()) return false;
  const auto bytes = static_cast<int64_t>(t.element_size());
  return t.size(1) * bytes % 16 == 0 && t.size(2) * bytes % 16 == 0 && t.stride(0) * bytes % 16 == 0 &&
         t.storage_offset() * bytes % 16 == 0;
}

// Whether LibTorch has a kernel for it there: elsewhere it waits for the ends of the groups and then computes
// one after the other, which is done here without waiting. Devices that are not CUDA's are asked anyway.
bool has_grouped_products(at::Device device) {
  if (!device.is_cuda()) return !device.is_cpu();
  const int major = cuda_capability(device.index()) / 10;
  return major == 9 || major == 10;
}
constexpr size_t kMostGroups = 1023;

// Where each expert's rows end, for kernels.
at::Tensor row_ends(const std::vector<int64_t>& expert_rows, at::Device device) {
  std::vector<int64_t> ends(expert_rows.size());
  std::partial_sum(expert_rows.begin(), expert_rows.end(), ends.begin());
  return sent_to(device, ends, at::kInt);
}

// What side_by_side is told of each expert: on a device their products follow each other on one queue.
std::vector<int64_t> costs(const at::Tensor& rows, const std::vector<int64_t>& expert_rows) {
  return rows.is_cpu() ? expert_rows : std::vector<int64_t>(expert_rows.size(), 0);
}

}  // namespace

Experts::Experts(const std::string& prefix, const ExpertsSpec& spec, std::vector<ParamSpec>& params)
    : spec_(spec) {
  using Style = LinearSpec::Style;
  const ExpertPlacement& placement = spec.placement;
  for (int64_t e = 0; e < placement.experts; ++e) {
    const size_t first = params.size();
    const auto projection = [&](const std::string& name, int64_t in, int64_t out, Style style) {
      return LinearSpec{numbered(prefix, name, e),
                        in,
                        out,
                        spec.bias,
                        spec.init_std,
                        spec.split_width ? style : Style::replicate};
    };
    const int64_t width = spec.intermediate;
    LinearGroup gate_up({projection(spec.gate_name, spec.hidden, width, Style::colwise),
                         projection(spec.up_name, spec.hidden, width, Style::colwise)},
                        params);
    Linear down(projection(spec.down_name, width, spec.hidden, Style::rowwise), params);
    experts_.push_back({std::move(gate_up), std::move(down)});
    if (!spec.stack.empty()) place_in_stack(prefix + "." + spec.stack, spec, e, first, params);
    for (size_t p = first; p < params.size(); ++p) params[p].ep_index = e / placement.local();
  }
}

void Experts::bind(const std::vector<at::Tensor>& weights) {
  std::vector<at::Tensor> gate_up, down;
  for (size_t e = 0; e < own_count(); ++e) {
    own(e).gate_up.bind(weights);
    gate_up.push_back(own(e).gate_up.merged_weight());
    down.push_back(weights[own(e).down.weight()]);
  }
  gate_up_ = stacked(gate_up);
  down_ = stacked(down);
}

void Experts::unbind() {
  for (size_t e = 0; e < own_count(); ++e) own(e).gate_up.unbind();
  gate_up_.reset();
  down_.reset();
}

bool Experts::groups(const at::Tensor& rows) const {
  return has_grouped_products(rows.device()) && own_count() <= kMostGroups && !spec_.bias &&
         rows.scalar_type() == at::kBFloat16 && rows.size(0) > 0 && aligned(gate_up_) && aligned(down_);
}

Experts::Projections Experts::halves(const at::Tensor& gate_up) const {
  const int64_t width = gate_up.size(1) / 2;
  return {gate_up.narrow(1, 0, width), gate_up.narrow(1, width, width)};
}

at::Tensor Experts::forward_grouped(const at::Tensor& rows, const std::vector<int64_t>& expert_rows,
                                    Saved& saved, Recompute recompute) const {
  const at::Tensor ends = row_ends(expert_rows, rows.device());
  const at::Tensor projected = at::_grouped_mm(rows, gate_up_.transpose(1, 2), ends);
  const auto [gate, up] = halves(projected);
  const at::Tensor activation = kernels::gated(spec_.activation, gate, up);
  saved.push(projected);
  if (recompute == Recompute::none) saved.push(activation);
  return at::_grouped_mm(activation, down_.transpose(1, 2), ends);
}

Experts::Gradients Experts::backward_grouped(const at::Tensor& drows, const at::Tensor& factors,
                                             const at::Tensor& rows, const std::vector<int64_t>& expert_rows,
                                             Saved& saved, WeightGrads& grads) const {
  const at::Tensor ends = row_ends(expert_rows, rows.device());
  at::Tensor activation;
  if (saved.recompute() == Recompute::none) activation = saved.pop();
  const at::Tensor projected = saved.pop();
  const auto [gate, up] = halves(projected);
  if (!activation.defined()) activation = kernels::gated(spec_.activation, gate, up);
  const at::Tensor dactivation = at::_grouped_mm(drows, down_, ends);
  Gradients out;
  out.weights = kernels::row_dots(dactivation, activation);
  kernels::scale_rows(dactivation, factors);
  kernels::scale_rows(drows, factors);
  const at::Tensor dprojected = at::empty_like(projected);
  const auto [dgate, dup] = halves(dprojected);
  kernels::gated_backward_out(spec_.activation, dactivation, gate, up, dgate, dup, {});
  out.rows = at::_grouped_mm(dprojected, gate_up_, ends);
  int64_t first = rows.size(0);
  for (size_t e = expert_rows.size(); e-- > 0;) {
    const int64_t count = expert_rows[e];
    first -= count;
    const auto of = [&](const at::Tensor& all) { return all.narrow(0, first, count); };
    own(e).down.grad_weights(of(activation), of(drows), grads);
    own(e).gate_up.grad_weights(of(rows), std::vector<at::Tensor>{of(dgate), of(dup)}, grads);
  }
  return out;
}

// Each expert works on a window of rows: its own, rounded up to a number that products like, so that a few of
// its neighbours' may be among them. Their results are dropped, and they are zero wherever a sum goes over
// rows.
struct Experts::Window {
  int64_t first = 0;  ///< of the expert's rows
  int64_t count = 0;
  int64_t begin = 0;  ///< of the window
  int64_t size = 0;

  at::Tensor of(const at::Tensor& rows) const { return rows.narrow(0, begin, size); }
  /// The expert's rows of all, and of a tensor over the window.
  at::Tensor own(const at::Tensor& rows) const { return rows.narrow(0, first, count); }
  at::Tensor inside(const at::Tensor& window) const { return window.narrow(0, first - begin, count); }
  void clear_outside(const at::Tensor& window) const {
    const int64_t before = first - begin;
    if (before > 0) window.narrow(0, 0, before).zero_();
    if (before + count < size) window.narrow(0, before + count, size - before - count).zero_();
  }
};

std::vector<Experts::Window> Experts::windows(const at::Tensor& rows,
                                              const std::vector<int64_t>& expert_rows) {
  std::vector<Window> list;
  int64_t first = 0;
  for (const int64_t count : expert_rows) {
    const int64_t size = std::min(kernels::preferred_rows(rows, count), rows.size(0));
    list.push_back({first, count, std::min(first, rows.size(0) - size), size});
    first += count;
  }
  return list;
}

at::Tensor Experts::forward(const std::vector<at::Tensor>& weights, const at::Tensor& rows,
                            const std::vector<int64_t>& expert_rows, Saved& saved,
                            Recompute recompute) const {
  if (groups(rows)) return forward_grouped(rows, expert_rows, saved, recompute);
  at::Tensor results = at::empty_like(rows);
  const std::vector<Window> all = windows(rows, expert_rows);
  std::vector<Kept> kept(all.size());
  kernels::side_by_side(costs(rows, expert_rows), [&](size_t e) {
    const Window& window = all[e];
    if (window.count == 0) return;
    const std::vector<at::Tensor> projected = own(e).gate_up.forward(weights, window.of(rows));
    const at::Tensor activation = kernels::gated(spec_.activation, projected[0], projected[1]);
    const at::Tensor output = own(e).down.forward(weights, activation, spec_.carries_bias);
    window.own(results).copy_(window.inside(output));
    kept[e] = {projected[0], projected[1], recompute == Recompute::none ? activation : at::Tensor()};
  });
  for (Kept& one : kept) {
    if (!one.gate.defined()) continue;
    saved.push(std::move(one.gate));
    saved.push(std::move(one.up));
    if (recompute == Recompute::none) saved.push(std::move(one.activation));
  }
  return results;
}

// The forward's stack, backwards.
std::vector<Experts::Kept> Experts::pop(const std::vector<int64_t>& expert_rows, Saved& saved) {
  std::vector<Kept> kept(expert_rows.size());
  for (size_t e = expert_rows.size(); e-- > 0;) {
    if (expert_rows[e] == 0) continue;
    if (saved.recompute() == Recompute::none) kept[e].activation = saved.pop();
    kept[e].up = saved.pop();
    kept[e].gate = saved.pop();
  }
  return kept;
}

// With y = sum_j w_j f_j(x), the gradient of w_j is dy . f_j(x) = (dy W_down) . activation + dy . b_down, so
// the experts' results need not be kept. The gradient of W_down sums w dy (x) activation: the weight goes to
// the activation, which is this expert's alone and mostly the narrower.
Experts::Gradients Experts::backward(const std::vector<at::Tensor>& weights, const at::Tensor& drows,
                                     const at::Tensor& factors, const at::Tensor& rows,
                                     const std::vector<int64_t>& expert_rows, Saved& saved,
                                     WeightGrads& grads) const {
  if (groups(rows)) return backward_grouped(drows, factors, rows, expert_rows, saved, grads);
  Gradients out{at::empty_like(rows), at::empty({rows.size(0)}, factors.options())};
  const std::vector<Window> all = windows(rows, expert_rows);
  std::vector<Kept> kept = pop(expert_rows, saved);
  std::vector<std::vector<at::Tensor>> dprojected(all.size());
  kernels::side_by_side(costs(rows, expert_rows), [&](size_t e) {
    const Expert& expert = own(e);
    const Window& window = all[e];
    dprojected[e] = expert.gate_up.empty_grads(window.of(rows));
    at::Tensor& activation = kept[e].activation;
    const at::Tensor dactivation = expert.down.grad_input(weights, window.of(drows));
    if (window.count == 0) {
      activation = dactivation;
      return;
    }
    if (!activation.defined()) activation = kernels::gated(spec_.activation, kept[e].gate, kept[e].up);
    const at::Tensor doutput = window.own(drows);
    const at::Tensor own_activation = window.inside(activation);
    const at::Tensor own_dactivation = window.inside(dactivation);
    const at::Tensor factor = window.own(factors);
    const at::Tensor dweights = window.own(out.weights);
    dweights.copy_(kernels::row_dots(own_dactivation, own_activation));
    if (spec_.bias && spec_.carries_bias) {
      const at::Tensor& bias = weights[expert.down.bias()];
      dweights.add_(at::mv(doutput.to(at::kFloat), bias.to(at::kFloat)));
    }
    kernels::scale_rows(own_dactivation, factor);
    kernels::gated_backward_out(spec_.activation, own_dactivation, window.inside(kept[e].gate),
                                window.inside(kept[e].up), window.inside(dprojected[e][0]),
                                window.inside(dprojected[e][1]), {});
    for (const at::Tensor& gradient : dprojected[e]) window.clear_outside(gradient);
    window.own(out.rows).copy_(window.inside(expert.gate_up.grad_input(weights, dprojected[e])));
    kernels::scale_rows(own_activation, factor);
    window.clear_outside(activation);
  });

  std::vector<WeightGrads::Linear> products;
  for (size_t e = 0; e < all.size(); ++e) {
    const Expert& expert = own(e);
    products.push_back({expert.down.weight(), kept[e].activation, all[e].of(drows)});
    for (size_t i = 0; i < dprojected[e].size(); ++i) {
      products.push_back({expert.gate_up.layers()[i].weight(), all[e].of(rows), dprojected[e][i]});
    }
    if (spec_.bias) add_bias_grads(e, all[e].own(drows), all[e].own(factors), dprojected[e], grads);
  }
  grads.linears(products);
  return out;
}

void Experts::add_bias_grads(size_t e, const at::Tensor& doutput, const at::Tensor& factor,
                             const std::vector<at::Tensor>& dprojected, WeightGrads& grads) const {
  const at::Tensor weighted = doutput.clone();
  kernels::scale_rows(weighted, factor);
  grads.add(own(e).down.bias(), kernels::linear_grad_bias(weighted));
  for (size_t i = 0; i < dprojected.size(); ++i) {
    grads.add(own(e).gate_up.layers()[i].bias(), kernels::linear_grad_bias(dprojected[i]));
  }
}

}  // namespace tessera
