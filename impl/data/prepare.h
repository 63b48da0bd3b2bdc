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

struct RowFormat;

/// What a row became: documents, or the reason why it is a bad row.
struct Converted {
  std::vector<TokenRow> rows;
  std::string error;
};

/// Errors of the row itself end up in Converted::error; others (io, memory, our own) are thrown.
Converted convert_row(std::string_view text, bool too_long, const DatasetOptions& options,
                      const RowConverter& convert);

/// Fails or counts a bad row as data.on_error says; the first few are logged, if this rank is to `say` so.
void take_bad_row(const std::string& place, const std::string& reason, bool say,
                  const DatasetOptions& options, DocumentStoreBuilder& builder);

/// Reads all files in order. A .json file that holds one array has a row in each of its elements. Plain text
/// files (format text, no JSON ending) are one document each, split whatever data.long_documents says. Under
/// on_error=fail the first bad row (first in the order of the files, whatever the threads do) throws
/// Error(format) "FILE:LINE: reason"; under skip it is counted and the first few are logged. Throws
/// Error(format) when there is no document at all.
void read_documents(const std::vector<std::string>& files, const DatasetOptions& options,
                    const RowFormat& format, DocumentStoreBuilder& builder);

/// The same into a store in memory.
std::shared_ptr<const DocumentStore> prepare_documents(const std::vector<std::string>& files,
                                                       const DatasetOptions& options);

/// A progress callback that logs "preparing data: 45 %, ...": a debug line four times a second, an info line
/// every ten. For preparations whose caller asked for none.
std::function<void(const PrepareProgress&)> progress_to_log();

/// One line each for rows skipped and documents cut.
void log_counts(const PrepareCounts& counts, const DatasetOptions& options);

}  // namespace tessera
