// First values of a sharded model: seeded and the same on every mesh, or read from a checkpoint, each rank
// its own part.
#pragma once

#include <string>

#include "parallel/sharded_model.h"

namespace tessera {

/// Seeded initialisation by each parameter's Init. A normal value depends on seed, name and the element's
/// index in the global tensor alone: element (row, c) is number c of the Philox4x32-10 stream (Salmon et al.,
/// 2011) with key splitmix64(seed ^ FNV-1a(name)) and subsequence `row`, made normal by Box-Muller in pairs
/// of columns (kernels/normal_block.h), with the same bits on every CPU and GPU.
void initialize(ShardedModel& model, int64_t seed);

/// The values of one box of a parameter into `out` (contiguous, box.size shaped, any float dtype).
void fill_initial(const ParamSpec& spec, int64_t seed, const Box& box, const at::Tensor& out);

/// Reads each rank's boxes from a Hugging Face directory that all ranks see.
void load_weights(ShardedModel& model, const std::string& directory);

/// The same for a directory that only world rank 0 sees: it reads one tensor after the other and broadcasts
/// it, so that a rank holds its shards and one tensor. Collective; when rank 0 fails, all ranks get its
/// error.
void load_weights_from_rank0(ShardedModel& model, const std::string& directory);

}  // namespace tessera
