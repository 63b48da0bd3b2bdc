// YaRN (Peng et al., 2023): rotary frequencies for positions beyond those of the training, with the
// operations of transformers' _compute_yarn_parameters.
#pragma once

#include "kernels/rope.h"

namespace tessera::kernels {

/// Frequencies float32 [r/2] for wavelengths / 2 pi float32 [r/2], theta^(2i/r). Errors (argument): theta not
/// above 1, betas and positions that are not positive.
at::Tensor yarn_frequencies(const at::Tensor& wavelengths, const RopeScaling& scaling, double theta);

/// The temperature for positions stretched by `factor`: 0.1 mscale ln(factor) + 1.
double yarn_temperature(double factor, double mscale = 1);

}  // namespace tessera::kernels
