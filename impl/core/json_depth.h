// A bound on how deep JSON text is nested, told before it is parsed.
#pragma once

#include <string_view>

namespace tessera {

/// Throws Error(format) when brackets nest more than 100 deep. Parsing needs no stack, but copying and
/// printing what was parsed goes as deep as the text does. `name` is what the error calls it.
void check_json_depth(std::string_view text, std::string_view name = "json");

}  // namespace tessera
