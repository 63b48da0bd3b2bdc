// Parameters in the layout of a Hugging Face checkpoint: reading those that are slices of its tensors, and
// putting slices together again for an export.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "checkpoint/safetensors.h"
#include "tensor/placement.h"

namespace tessera {

/// Reads one box of a parameter into `out` (box.size shaped, contiguous), from its own tensor or from where
/// spec.stored says, which may be quantized as MXFP4 (checkpoint/mxfp4.h). Errors as CheckpointReader::read;
/// they name the checkpoint's tensor.
void read_parameter(const CheckpointReader& reader, const ParamSpec& spec, const Box& box,
                    const at::Tensor& out);

/// The checkpoint's tensors that read_parameter looks into.
std::vector<std::string> tensors_of(const CheckpointReader& reader, const ParamSpec& spec);

/// A rank's part of a parameter, under the parameter's own name and shape.
struct ParameterPart {
  const ParamSpec* spec;
  ShardedTensor tensor;
};

/// The same parts as boxes of the checkpoint's tensors, in the order in which the parameters come; several
/// may be of one tensor. Parameters that take turns along a dim (step 2) become one box: a rank has the same
/// part of each. Errors (internal): it has not.
std::vector<ShardedTensor> stored_parts(const std::vector<ParameterPart>& parts);

}  // namespace tessera
