// The gated MLP of Llama-style models.
#include "nn/mlp.h"

#include "kernels/activation.h"

namespace tessera {

namespace {

LinearSpec in_spec(const std::string& name, const MlpSpec& spec) {
  return {name,
          spec.hidden,
          spec.intermediate,
          spec.bias,
          spec.init_std,
          spec.region.split() ? LinearSpec::Style::colwise : LinearSpec::Style::replicate};
}

LinearSpec out_spec(const std::string& name, const MlpSpec& spec) {
  return {name,          spec.intermediate,
          spec.hidden,   spec.bias,
          spec.init_std, spec.region.split() ? LinearSpec::Style::rowwise : LinearSpec::Style::replicate};
}

std::vector<LinearSpec> in_specs(const std::string& prefix, const MlpSpec& spec) {
  std::vector<LinearSpec> specs = {in_spec(prefix + ".gate_proj", spec), in_spec(prefix + ".up_proj", spec)};
  if (!spec.fused.empty()) fuse_in_checkpoint(specs, prefix + "." + spec.fused);
  return specs;
}

}  // namespace

Mlp::Mlp(const std::string& prefix, const MlpSpec& spec, std::vector<ParamSpec>& params)
    : region_(spec.region),
      activation_(spec.activation),
      gate_up_(in_specs(prefix, spec), params),
      down_(out_spec(prefix + ".down_proj", spec), params) {}

at::Tensor Mlp::forward(const std::vector<at::Tensor>& weights, const at::Tensor& x, const Microbatch& mb,
                        Saved& saved, Recompute recompute) const {
  const std::vector<at::Tensor> projected =
      gate_up_.forward(weights, region_.enter(x, mb.batch->tokens_count()));
  const at::Tensor activation = kernels::gated(activation_, projected[0], projected[1]);
  if (recompute != Recompute::mlp) {
    saved.push(projected[0]);
    saved.push(projected[1]);
  }
  if (recompute == Recompute::none) saved.push(activation);
  return region_.leave(down_.forward(weights, activation, region_.carries_bias()));
}

// The activation is made by the pass that forms its gradient.
void Mlp::refill(const std::vector<at::Tensor>& weights, const at::Tensor& x, const Microbatch& mb,
                 Saved& saved) const {
  for (at::Tensor& projected : gate_up_.forward(weights, region_.enter(x, mb.batch->tokens_count()))) {
    saved.push(std::move(projected));
  }
}

at::Tensor Mlp::backward(const std::vector<at::Tensor>& weights, const at::Tensor& dy, const at::Tensor& x,
                         const Microbatch& mb, Saved& saved, WeightGrads& grads) const {
  const int64_t tokens = mb.batch->tokens_count();
  PendingTensor inside_dy = region_.start_leave_backward(dy, tokens);
  PendingTensor pending_x = region_.start_enter(x, tokens);
  at::Tensor activation, gate, up, inside_x;
  if (saved.recompute() == Recompute::mlp) {
    inside_x = pending_x.wait();
    const std::vector<at::Tensor> projected = gate_up_.forward(weights, inside_x);
    gate = projected[0];
    up = projected[1];
  } else {
    if (saved.recompute() == Recompute::none) activation = saved.pop();
    up = saved.pop();
    gate = saved.pop();
  }

  const LinearGrad doutput = down_.received(inside_dy.wait());
  const at::Tensor dactivation = down_.grad_input(weights, doutput);
  // Gradients take the place of what they are formed from, so that the widest tensors of a layer exist once.
  // When the activation was not kept, the same pass makes it again.
  std::vector<at::Tensor> dprojected = {gate, up};
  if (!gate_up_.fits(dprojected)) dprojected = gate_up_.empty_grads(doutput.dy);
  at::Tensor again;
  if (!activation.defined()) activation = again = dactivation;
  kernels::gated_backward_out(activation_, dactivation, gate, up, dprojected[0], dprojected[1], again);

  const LinearGroupGrad received = gate_up_.received(dprojected);
  // The input gradient is summed over the ranks while the weight gradients are formed.
  PendingTensor dx = region_.start_enter_backward(gate_up_.grad_input(weights, received));
  down_.grad_weights(activation, doutput, grads);
  if (!inside_x.defined()) inside_x = pending_x.wait();
  gate_up_.grad_weights(inside_x, received, grads);
  return dx.wait();
}

}  // namespace tessera
