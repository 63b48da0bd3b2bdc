// What the tokens of some files depend on, as a text: equal texts mean equal tokens.
#pragma once

#include <string>
#include <vector>

#include "data/dataset.h"

namespace tessera {

/// JSON of the version of the library, every option that changes tokens or labels, and the hashes of the
/// files, in their order, and of what the tokenizer's directory holds beside weights. The bytes are hashed,
/// not times or names: a cache is never stale, and copied or renamed data still finds it. Reading costs far
/// less than tokenising.
std::string cache_key(const std::vector<std::string>& files, const DatasetOptions& options);

}  // namespace tessera
