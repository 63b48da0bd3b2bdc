// Texts about tensors for error messages: shapes, and which names resemble a missing one.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tessera {

/// "[2, 3]".
std::string shape_text(const std::vector<int64_t>& shape);

/// ", did you mean 'a' or 'b'" with the nearest of `known` by edit distance, or nothing when none is near.
std::string near_names_hint(const std::string& name, const std::vector<std::string>& known);

}  // namespace tessera
