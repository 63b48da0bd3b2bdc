// RMSNorm as a block of a unit.
#include "nn/norm.h"

namespace tessera {

RmsNorm::RmsNorm(const std::string& prefix, int64_t width, double eps, std::vector<ParamSpec>& params,
                 bool partial, kernels::NormGain gain)
    : weight_(static_cast<int>(params.size())), eps_(eps), gain_(gain) {
  ParamSpec spec;
  spec.name = prefix + ".weight";
  spec.shape = {width};
  spec.init = {gain == kernels::NormGain::weight ? Init::Kind::ones : Init::Kind::zeros, 0};
  spec.decay = false;
  spec.tp_partial = partial;
  params.push_back(std::move(spec));
}

kernels::RmsNormResult RmsNorm::forward(const std::vector<at::Tensor>& weights, const at::Tensor& x) const {
  return kernels::rms_norm(x, weights[weight_], eps_, gain_);
}

kernels::AddRmsNormResult RmsNorm::forward_add(const std::vector<at::Tensor>& weights, const at::Tensor& x,
                                               const at::Tensor& residual) const {
  return kernels::add_rms_norm(x, residual, weights[weight_], eps_, gain_);
}

at::Tensor RmsNorm::backward(const std::vector<at::Tensor>& weights, const at::Tensor& dy,
                             const at::Tensor& x, const at::Tensor& rstd, const at::Tensor& dresidual,
                             WeightGrads& grads) const {
  const kernels::RmsNormGrads result =
      kernels::rms_norm_backward(dy, x, weights[weight_], rstd, dresidual, gain_);
  grads.add(weight_, result.dweight);
  return result.dx;
}

}  // namespace tessera
