// Which documents are in micro-batches, where a document's first token is its number.
#pragma once

#include <cstdint>
#include <vector>

#include "data/packed_batch.h"

namespace tessera {

inline std::vector<int64_t> first_tokens(const std::vector<PackedBatch>& microbatches) {
  std::vector<int64_t> out;
  for (const PackedBatch& batch : microbatches)
    for (int64_t i = 0; i < batch.documents(); ++i)
      out.push_back(
          batch.tokens.const_data_ptr<int64_t>()[batch.cu_seqlens_padded.const_data_ptr<int32_t>()[i]]);
  return out;
}

}  // namespace tessera
