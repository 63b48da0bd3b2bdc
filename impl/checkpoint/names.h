// Texts about tensors for error messages: printable names, shapes, and which names resemble a missing one.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tessera {

/// `text` as one printable line of bounded length, in quotes: for names from a file in error messages.
std::string printable(std::string_view text);

/// "[2, 3]".
std::string shape_text(const std::vector<int64_t>& shape);

/// ", did you mean 'a' or 'b'" with the nearest of `known` by edit distance, or nothing when none is near.
std::string near_names_hint(const std::string& name, const std::vector<std::string>& known);

}  // namespace tessera
