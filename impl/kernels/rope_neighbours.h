// Rotation of neighbouring elements of a head, 2i with 2i + 1: the part of rope() for RopePairs::neighbours.
#pragma once

#include "kernels/rope.h"

namespace tessera::kernels {

/// rope() for a table of neighbours, arguments checked.
void rope_neighbours(const at::Tensor& x, const at::Tensor& out, const RopeTable& table,
                     const at::Tensor& position_ids, bool inverse);

}  // namespace tessera::kernels
