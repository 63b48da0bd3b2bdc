// The experts' products, one expert after the other or all at once.
#include "nn/experts.h"

#include <ATen/ops/_grouped_mm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mv.h>

#include <numeric>

#include "core/error.h"
#include "kernels/device_copy.h"
#include "kernels/expert_rows.h"

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

// Where each expert's rows end, for kernels.
at::Tensor row_ends(const std::vector<int64_t>& expert_rows, at::Device device) {
  std::vector<int64_t> ends(expert_rows.size());
  std::partial_sum(expert_rows.begin(), expert_rows.end(), ends.begin());
  return sent_to(device, ends, at::kInt);
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
  return !rows.is_cpu() && !spec_.bias && rows.scalar_type() == at::kBFloat16 && rows.size(0) > 0 &&
         aligned(gate_up_) && aligned(down_);
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
    own(e).gate_up.grad_weights(of(rows), {of(dgate), of(dup)}, grads);
  }
  return out;
}

at::Tensor Experts::forward(const std::vector<at::Tensor>& weights, const at::Tensor& rows,
                            const std::vector<int64_t>& expert_rows, Saved& saved,
                            Recompute recompute) const {
  if (groups(rows)) return forward_grouped(rows, expert_rows, saved, recompute);
  at::Tensor results = at::empty_like(rows);
  int64_t first = 0;
  for (size_t e = 0; e < expert_rows.size(); ++e) {
    const int64_t count = expert_rows[e];
    if (count == 0) continue;
    const std::vector<at::Tensor> projected = own(e).gate_up.forward(weights, rows.narrow(0, first, count));
    const at::Tensor activation = kernels::gated(spec_.activation, projected[0], projected[1]);
    results.narrow(0, first, count).copy_(own(e).down.forward(weights, activation, spec_.carries_bias));
    saved.push(projected[0]);
    saved.push(projected[1]);
    if (recompute == Recompute::none) saved.push(activation);
    first += count;
  }
  return results;
}

// With y = sum_j w_j f_j(x), the gradient of w_j is dy . f_j(x) = (dy W_down) . activation + dy . b_down, so
// the experts' results need not be kept.
Experts::Gradients Experts::backward(const std::vector<at::Tensor>& weights, const at::Tensor& drows,
                                     const at::Tensor& factors, const at::Tensor& rows,
                                     const std::vector<int64_t>& expert_rows, Saved& saved,
                                     WeightGrads& grads) const {
  if (groups(rows)) return backward_grouped(drows, factors, rows, expert_rows, saved, grads);
  Gradients out{at::empty_like(rows), at::empty({rows.size(0)}, factors.options())};
  int64_t first = rows.size(0);
  for (size_t e = expert_rows.size(); e-- > 0;) {  // backwards: the forward's stack
    const Expert& expert = own(e);
    const int64_t count = expert_rows[e];
    first -= count;
    const at::Tensor input = rows.narrow(0, first, count);
    const at::Tensor doutput = drows.narrow(0, first, count);
    const at::Tensor dactivation = expert.down.grad_input(weights, doutput);
    const std::vector<at::Tensor> dprojected = expert.gate_up.empty_grads(input);
    at::Tensor activation = at::empty_like(dactivation);
    if (count > 0) {
      const bool kept = saved.recompute() == Recompute::none;
      if (kept) activation = saved.pop();
      const at::Tensor up = saved.pop();
      const at::Tensor gate = saved.pop();
      if (!kept) activation = kernels::gated(spec_.activation, gate, up);
      const at::Tensor factor = factors.narrow(0, first, count);
      const at::Tensor dweights = out.weights.narrow(0, first, count);
      dweights.copy_(kernels::row_dots(dactivation, activation));
      if (spec_.bias && spec_.carries_bias) {
        const at::Tensor& bias = weights[expert.down.bias()];
        dweights.add_(at::mv(doutput.to(at::kFloat), bias.to(at::kFloat)));
      }
      kernels::scale_rows(dactivation, factor);
      kernels::scale_rows(doutput, factor);
      kernels::gated_backward_out(spec_.activation, dactivation, gate, up, dprojected[0], dprojected[1], {});
      out.rows.narrow(0, first, count).copy_(expert.gate_up.grad_input(weights, dprojected));
    }
    expert.down.grad_weights(activation, doutput, grads);
    expert.gate_up.grad_weights(input, dprojected, grads);
  }
  return out;
}

}  // namespace tessera
