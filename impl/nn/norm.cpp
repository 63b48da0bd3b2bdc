// RMSNorm as a block of a unit.
#include "nn/norm.h"

namespace tessera {

RmsNorm::RmsNorm(const std::string& prefix, int64_t width, double eps, std::vector<ParamSpec>& params,
                 bool partial)
    : weight_(static_cast<int>(params.size())), eps_(eps) {
  ParamSpec spec;
  spec.name = prefix + ".weight";
  spec.shape = {width};
  spec.init = {Init::Kind::ones, 0};
  spec.decay = false;
  spec.tp_partial = partial;
  params.push_back(std::move(spec));
}

kernels::RmsNormResult RmsNorm::forward(const std::vector<at::Tensor>& weights, const at::Tensor& x) const {
  return kernels::rms_norm(x, weights[weight_], eps_);
}

kernels::AddRmsNormResult RmsNorm::forward_add(const std::vector<at::Tensor>& weights, const at::Tensor& x,
                                               const at::Tensor& residual) const {
  return kernels::add_rms_norm(x, residual, weights[weight_], eps_);
}

at::Tensor RmsNorm::backward(const std::vector<at::Tensor>& weights, const at::Tensor& dy,
                             const at::Tensor& x, const at::Tensor& rstd, const at::Tensor& dresidual,
                             WeightGrads& grads) const {
  const kernels::RmsNormGrads result = kernels::rms_norm_backward(dy, x, weights[weight_], rstd, dresidual);
  grads.add(weight_, result.dweight);
  return result.dx;
}

}  // namespace tessera
