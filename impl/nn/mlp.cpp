// The gated MLP of Llama-style models.
#include "nn/mlp.h"

#include <ATen/ops/empty_like.h>

#include "kernels/activation.h"

namespace tessera {

Mlp::Mlp(const std::string& prefix, const MlpSpec& spec, std::vector<ParamSpec>& params)
    : gate_up_({{prefix + ".gate_proj", spec.hidden, spec.intermediate, spec.bias, spec.init_std,
                 LinearSpec::Style::colwise},
                {prefix + ".up_proj", spec.hidden, spec.intermediate, spec.bias, spec.init_std,
                 LinearSpec::Style::colwise}},
               params),
      down_({prefix + ".down_proj", spec.intermediate, spec.hidden, spec.bias, spec.init_std,
             LinearSpec::Style::rowwise},
            params) {}

at::Tensor Mlp::forward(const std::vector<at::Tensor>& weights, const at::Tensor& x, Saved& saved,
                        Recompute recompute) const {
  const std::vector<at::Tensor> projected = gate_up_.forward(weights, x);
  const at::Tensor activation = kernels::swiglu(projected[0], projected[1]);
  saved.push(projected[0]);
  saved.push(projected[1]);
  if (recompute == Recompute::none) saved.push(activation);
  return down_.forward(weights, activation);
}

at::Tensor Mlp::backward(const std::vector<at::Tensor>& weights, const at::Tensor& dy, const at::Tensor& x,
                         Saved& saved, WeightGrads& grads) const {
  at::Tensor activation;
  if (saved.recompute() == Recompute::none) activation = saved.pop();
  const at::Tensor up = saved.pop();
  const at::Tensor gate = saved.pop();

  const at::Tensor dactivation = down_.grad_input(weights, dy);
  const std::vector<at::Tensor> dprojected = gate_up_.empty_grads(x);
  // When the activation was not kept, the pass that forms the gradients makes it again.
  at::Tensor again;
  if (!activation.defined()) activation = again = at::empty_like(dactivation);
  kernels::swiglu_backward_out(dactivation, gate, up, dprojected[0], dprojected[1], again);

  down_.grad_weights(activation, dy, grads);
  const at::Tensor dx = gate_up_.grad_input(weights, dprojected);
  gate_up_.grad_weights(x, dprojected, grads);
  return dx;
}

}  // namespace tessera
