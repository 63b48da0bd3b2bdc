// Choosing the next token from logits.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "train/trainer.h"

namespace tessera {

/// The next token from `logits` (float32 [V]), the `position`-th of a generation. temperature 0 takes the
/// largest (the first of equals); otherwise tokens are cut to the top_k largest (0: all), then to the
/// smallest set whose probability reaches top_p (Holtzman et al., 2020), and one is drawn with a number that
/// depends on seed and position alone.
int64_t choose_token(const at::Tensor& logits, const GenerateOptions& options, int64_t position);

/// Throws Error(argument) naming the option that is out of bounds.
void validate(const GenerateOptions& options);

}  // namespace tessera
