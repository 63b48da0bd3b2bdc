// data.format=preference: a row with a chosen and a rejected answer becomes two documents that stay together.
#pragma once

#include "data/row_formats.h"

namespace tessera {

/// The preference formats of the Hugging Face libraries: `prompt`, `chosen` and `rejected` as texts; as lists
/// of messages; and without a prompt, where it is what both answers begin with. Of each row first the chosen
/// document comes, then the rejected one, whose labels are ignored unless data.preference is both.
RowFormat preference_format(const DatasetOptions& options);

}  // namespace tessera
