// Checks of the data options that need no data, and what data.part makes of them.
#pragma once

#include "data/dataset.h"
#include "data/long_documents.h"

namespace tessera {

/// Throws Error(argument) naming key and value.
void check_dataset_options(const DatasetOptions& options);

/// The options by which the wanted part is read. Validation is one pass over its documents in the order of
/// the files, without weights; from data.validation_path, or from what data.validation_split sets apart.
DatasetOptions options_of_part(const DatasetOptions& options);

/// With data.format=preference each row is a pair: data.group is 2.
DatasetOptions with_pairs(const DatasetOptions& options);

/// Which documents stay in one row; of options that went through with_pairs().
DocumentGroups document_groups(const DatasetOptions& options);

/// Rows of the data that make a group.
int64_t rows_of_group(const DatasetOptions& options);

/// Whether this rank is the one that says what it finds in the data: where all ranks read the same, the first
/// of the job; of a stream, whose rows are shared out, the first that reads this part.
bool says_findings(const DatasetOptions& options);

/// data.long_documents for documents of data.format.
LongDocuments long_documents_rule(const DatasetOptions& options);

}  // namespace tessera
