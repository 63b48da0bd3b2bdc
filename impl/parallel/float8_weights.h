// Weights that travel between FSDP ranks in float8 (torchao's enable_fsdp_float8_all_gather): half of
// bfloat16's bytes, and no cast after the gather.
#pragma once

#include <memory>

#include "parallel/weight_storage.h"

namespace tessera {

/// Of weights that are multiplied in e4m3 with one scale each. A rank's chunks rest in options.rest or
/// options.dtype, where the optimizer writes them; publish() agrees on every weight's largest value in one
/// all-reduce and casts the chunks, so that what is gathered are the bytes that casting the whole weight
/// would give. full() is a buffer of bytes (uint8).
std::unique_ptr<WeightStorage> make_float8_weights(const GroupPtr& group,
                                                   const std::vector<FsdpLayout>& layouts,
                                                   const WeightStorageOptions& options);

}  // namespace tessera
