// Tokenised documents on disk: written once, by one of all ranks and processes that want them, read by all.
//
// A file holds a header, the data (of each document its tokens, then its labels), the key, the offsets and
// the marks. It appears under its name only when it is complete and flushed (written under another name, then
// renamed), and each part has a CRC-32C. Documents are read by pread when they are needed, which shares the
// system's page cache between ranks as a mapping would; a mapping was left out because a file that is cut, or
// a disk that fails, under a mapping ends the host's process by SIGBUS, and here it is an Error.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/document_store.h"

namespace tessera {

/// The documents of `files` from the cache in options.cache, prepared and put there first where they are not.
/// When several threads or processes want the same documents one prepares them and the others wait; if that
/// one dies another takes over, and if it stands still for minutes the others prepare for themselves. A
/// damaged cache is made again with a warning. A cache that cannot be written costs a warning and keeps the
/// documents in memory. Throws what read_documents() throws.
std::shared_ptr<const DocumentStore> cached_documents(const std::vector<std::string>& files,
                                                      const DatasetOptions& options);

/// Opens a cache file and checks all of it. Throws Error(not_found) where there is none, Error(format) for
/// one that is damaged or of another key, Error(io).
std::shared_ptr<const DocumentStore> open_token_cache(const std::string& path, const std::string& key,
                                                      int64_t seq_len);

/// The file under which the documents of `key` are kept.
std::string token_cache_path(const std::string& directory, const std::string& key);

/// Writes documents into a file next to its final name, in bounded memory. Removes it unless finish() was
/// reached.
class TokenCacheWriter {
 public:
  explicit TokenCacheWriter(std::string path);
  ~TokenCacheWriter();
  TokenCacheWriter(const TokenCacheWriter&) = delete;
  TokenCacheWriter& operator=(const TokenCacheWriter&) = delete;

  void write(std::span<const int32_t> data);
  /// Flushes the file and gives it its name.
  void finish(const std::string& key, const DocumentIndex& index, const PrepareCounts& counts);

 private:
  struct File;
  std::unique_ptr<File> file_;
};

}  // namespace tessera
