// The keys of a training recipe: names, types, defaults, bounds and documentation, the one place where they
// are listed.
#pragma once

#include "core/config.h"

namespace tessera {

/// All recipe keys, in the order of the documentation. Made once, never changes.
const KeyTable& recipe_keys();

}  // namespace tessera
