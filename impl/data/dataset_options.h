// Checks of the data options that need no data, and what data.part makes of them.
#pragma once

#include "data/dataset.h"

namespace tessera {

/// Throws Error(argument) naming key and value.
void check_dataset_options(const DatasetOptions& options);

/// The options by which the wanted part is read. Validation is one pass over its documents in the order of
/// the files, without weights; from data.validation_path, or from what data.validation_split sets apart.
DatasetOptions options_of_part(const DatasetOptions& options);

}  // namespace tessera
