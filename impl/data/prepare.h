// From files to a document store: rows read in order, converted by several threads, bad ones reported.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "data/dataset.h"
#include "data/document_store.h"
#include "data/token_rows.h"

namespace tessera {

/// Turns one line into documents (usually one). Called from several threads. Throws Error with the reason
/// alone.
using RowConverter = std::function<std::vector<TokenRow>(std::string_view line)>;

/// Reads all files in order. Under on_error=fail the first bad row (first in the order of the files, whatever
/// the threads do) throws Error(format) "FILE:LINE: reason"; under skip it is counted and the first few are
/// logged.
std::shared_ptr<const DocumentStore> prepare_documents(const std::vector<std::string>& files,
                                                       const DatasetOptions& options,
                                                       const RowConverter& convert);

}  // namespace tessera
