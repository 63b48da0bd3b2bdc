// The rows of files one by one, pass after pass, for one of several shards, from any position on.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/document_store.h"
#include "data/row_formats.h"
#include "data/row_reader.h"

namespace tessera {

/// A file and how its rows are read.
struct StreamFile {
  std::string path;
  std::shared_ptr<const RowFormat> format;
  LongDocuments long_documents = LongDocuments::truncate;
};

/// Where a stream of rows is. A unit is `group` consecutive rows.
struct StreamPosition {
  int64_t pass = 0;
  int64_t file = 0;   ///< place in the order of the pass
  int64_t row = 0;    ///< rows of that file that were read
  int64_t unit = 0;   ///< units of the pass that were read, those of other shards too
  int64_t taken = 0;  ///< units handed out since the beginning
  friend bool operator==(const StreamPosition&, const StreamPosition&) = default;
};

struct StreamRow {
  std::string text;
  std::string place;  ///< "FILE:LINE"
  const RowFormat* format = nullptr;
  LongDocuments long_documents = LongDocuments::truncate;
  int64_t pass = 0;  ///< over the data, in which it was read
  bool too_long = false;
  bool plain = false;                ///< a part of a plain text
  bool first = false, last = false;  ///< such part of its file
};

/// Every reader reads all files, as only who counts rows knows which are its own, and copies out unit u of a
/// pass if u % shards == shard. With data.validation_split a unit belongs to the part that a draw by seed,
/// file and row says. With data.shuffle the files of a pass are in a seeded order. Not thread-safe.
class RowStream {
 public:
  /// `stream` keeps the draws of several sources apart.
  RowStream(std::vector<StreamFile> files, const DatasetOptions& options, int64_t shard, int64_t shards,
            uint64_t stream);

  /// The rows of the next unit. False at the end of a pass, once: then the next pass has begun. Throws
  /// Error(format) for a pass without a unit of this shard, Error(argument) for a file whose rows make no
  /// whole groups, and what the readers throw.
  bool next(std::vector<StreamRow>& rows);

  const StreamPosition& position() const { return at_; }
  /// Throws Error(state) for a position that these files do not have.
  void seek(const StreamPosition& position);

 private:
  void order_files();
  bool open_file();
  const StreamFile& file() const { return files_[order_[at_.file]]; }
  /// Whether the part that is read holds the unit that begins at this row.
  bool wanted() const;
  /// Reads a row, and copies it if `row` is not null. False at the end of the file.
  bool read_row(StreamRow* row);
  bool read_part(StreamRow* row);

  std::vector<StreamFile> files_;
  DatasetOptions options_;
  int64_t shard_, shards_;
  uint64_t stream_;
  StreamPosition at_;
  int64_t found_ = 0;           ///< units of this pass that were this shard's
  std::vector<int64_t> order_;  ///< of the files in this pass
  std::unique_ptr<RowReader> reader_;
  bool plain_ = false;  ///< of the open file
  bool begun_ = false;  ///< a part of it was read
  std::unique_ptr<StreamRow>
      ahead_;  ///< the next part of a plain text: only it tells whether one is the last
};

}  // namespace tessera
