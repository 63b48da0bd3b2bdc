// The file format of the token cache, and the turns that ranks and processes take to make one.
#include "data/token_cache.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <optional>

#include "core/content_hash.h"
#include "core/crc32c.h"
#include "core/error.h"
#include "core/file_io.h"
#include "core/log.h"
#include "data/cache_key.h"
#include "data/cache_lock.h"
#include "data/dataset_options.h"
#include "data/prepare.h"
#include "data/row_formats.h"

namespace tessera {
namespace {

constexpr char kMagic[8] = {'T', 'S', 'R', 'T', 'O', 'K', 'E', 'N'};
constexpr uint32_t kVersion = 1;
constexpr uint32_t kByteOrder = 0x01020304;
constexpr int64_t kDataBegin = 4096;
constexpr int64_t kMostDocuments = int64_t{1} << 40, kMostTokens = int64_t{1} << 48;
constexpr int64_t kMostKeyBytes = int64_t{1} << 30;
constexpr int64_t kReadBytes = int64_t{1} << 22;

struct Header {
  char magic[8];
  uint32_t version, byte_order;
  int64_t file_bytes, key_bytes, documents, tokens;
  PrepareCounts counts;
  uint32_t data_crc, key_crc, offsets_crc, marks_crc;
  uint32_t unused;
  uint32_t header_crc;  ///< of all before it
};
static_assert(std::is_trivially_copyable_v<Header> && sizeof(Header) <= kDataBegin);
static_assert(sizeof(Header) % 8 == 0 && offsetof(Header, header_crc) + 4 == sizeof(Header));

uint32_t crc_of(const Header& header) {
  return crc32c(&header, offsetof(Header, header_crc));
}

/// Where the parts of a file are, from the numbers in its header.
struct Parts {
  int64_t data, key, offsets, marks, end;
  explicit Parts(const Header& header) {
    data = kDataBegin;
    key = data + 8 * header.tokens;
    offsets = key + header.key_bytes;
    marks = offsets + 8 * (header.documents + 1);
    end = marks + 4 * header.documents;
  }
};

template <class T>
int64_t bytes_of(const std::vector<T>& values) {
  return static_cast<int64_t>(values.size() * sizeof(T));
}

/// Reads from the file whenever a document is asked for. Any thread may.
class FileStore : public DocumentStore {
 public:
  FileStore(FileHandle file, std::string path, DocumentIndex index, const PrepareCounts& counts)
      : DocumentStore(std::move(index), counts), file_(std::move(file)), path_(std::move(path)) {}

 private:
  std::span<const int32_t> read(int64_t begin, size_t count, std::vector<int32_t>& scratch) const override {
    scratch.resize(count);
    read_at(file_, path_, kDataBegin + 4 * begin, scratch.data(), static_cast<int64_t>(4 * count));
    return scratch;
  }

  FileHandle file_;
  std::string path_;
};

Header read_header(const FileHandle& file, const std::string& path) {
  Header header{};
  const int64_t bytes = file_bytes(file, path);
  TESSERA_CHECK(bytes >= kDataBegin, format, path, " has ", bytes, " bytes, too few for a header");
  read_at(file, path, 0, &header, sizeof header);
  TESSERA_CHECK(std::memcmp(header.magic, kMagic, sizeof kMagic) == 0, format, path, " is no token cache");
  TESSERA_CHECK(header.version == kVersion && header.byte_order == kByteOrder, format, path,
                " is of another version or byte order");
  TESSERA_CHECK(crc_of(header) == header.header_crc, format, path, " has a damaged header");
  const bool sane = header.documents >= 1 && header.documents <= kMostDocuments && header.tokens >= 1 &&
                    header.tokens <= kMostTokens && header.key_bytes >= 0 &&
                    header.key_bytes <= kMostKeyBytes;
  TESSERA_CHECK(sane && Parts(header).end == bytes && header.file_bytes == bytes, format, path, " has ",
                bytes, " bytes, not the ", header.file_bytes, " that were written");
  return header;
}

void check_data(const FileHandle& file, const std::string& path, const Header& header) {
  const Parts parts(header);
  std::vector<char> buffer(static_cast<size_t>(std::min(kReadBytes, parts.key - parts.data)));
  uint32_t crc = 0;
  for (int64_t at = parts.data; at < parts.key;) {
    const int64_t count = std::min(parts.key - at, static_cast<int64_t>(buffer.size()));
    read_at(file, path, at, buffer.data(), count);
    crc = crc32c(buffer.data(), static_cast<size_t>(count), crc);
    at += count;
  }
  TESSERA_CHECK(crc == header.data_crc, format, path, " has damaged documents");
}

DocumentIndex read_index(const FileHandle& file, const std::string& path, const Header& header,
                         int64_t seq_len) {
  const Parts parts(header);
  DocumentIndex index;
  index.offsets.resize(static_cast<size_t>(header.documents) + 1);
  index.marks.resize(static_cast<size_t>(header.documents));
  read_at(file, path, parts.offsets, index.offsets.data(), bytes_of(index.offsets));
  read_at(file, path, parts.marks, index.marks.data(), bytes_of(index.marks));
  const bool whole =
      crc32c(index.offsets.data(), static_cast<size_t>(bytes_of(index.offsets))) == header.offsets_crc &&
      crc32c(index.marks.data(), static_cast<size_t>(bytes_of(index.marks))) == header.marks_crc;
  TESSERA_CHECK(whole, format, path, " has a damaged index");
  bool ordered = index.offsets.front() == 0 && index.offsets.back() == header.tokens;
  for (size_t i = 0; i < index.marks.size() && ordered; ++i) {
    const int64_t length = index.offsets[i + 1] - index.offsets[i];
    ordered = length >= 1 && length <= seq_len && (index.marks[i] >> 1) <= static_cast<uint64_t>(length);
  }
  TESSERA_CHECK(ordered, format, path, " has an index that fits no documents");
  return index;
}

void remove_path(const std::string& path) {
  std::error_code ignored;
  std::filesystem::remove(path, ignored);
}

/// Files that writers left behind when they died.
void remove_leftovers(const std::string& path) {
  namespace fs = std::filesystem;
  const std::string prefix = fs::path(path).filename().string() + ".part-";
  std::error_code code;
  for (fs::directory_iterator it(fs::path(path).parent_path(), code), end; !code && it != end;
       it.increment(code))
    if (it->path().filename().string().starts_with(prefix)) fs::remove(it->path(), code);
}

/// Null where there is none that can be used.
std::shared_ptr<const DocumentStore> try_open(const std::string& path, const std::string& key,
                                              int64_t seq_len) {
  try {
    return open_token_cache(path, key, seq_len);
  } catch (const Error& error) {
    if (error.code() != Code::not_found)
      log_warning("data.cache: ", error.what(), ": the cache is made again");
    return nullptr;
  }
}

/// Null when the cache cannot be written.
std::shared_ptr<const DocumentStore> write_cache(const std::string& path, const std::string& key,
                                                 const std::vector<std::string>& files,
                                                 const DatasetOptions& options, CacheLock& lock) {
  // A failure to write must not look like one of the data.
  std::string unwritten;
  try {
    const auto saved = [&](const auto& work) {
      try {
        work();
      } catch (const Error& error) {
        unwritten = error.what();
        throw;
      }
    };
    std::unique_ptr<TokenCacheWriter> writer;
    saved([&] { writer = std::make_unique<TokenCacheWriter>(path); });
    DocumentStoreBuilder builder(
        options.seq_len, long_documents_rule(options),
        [&](std::span<const int32_t> data) { saved([&] { writer->write(data); }); },
        document_groups(options));
    DatasetOptions alive = options;
    alive.progress = [&](const PrepareProgress& progress) {
      lock.touch();
      if (options.progress) options.progress(progress);
    };
    read_documents(files, alive, make_row_format(options), builder);
    builder.check_complete();
    saved([&] {
      const DocumentIndex index = builder.finish_index();
      TESSERA_CHECK(cache_key(files, options) == key, io, "the files changed while they were read");
      writer->finish(key, index, builder.counts());
    });
  } catch (const Error& error) {
    if (unwritten.empty()) throw;
    log_warning("data.cache: ", unwritten, ": going on without a cache");
    return nullptr;
  }
  return try_open(path, key, options.seq_len);
}

}  // namespace

struct TokenCacheWriter::File {
  std::string path, temporary;
  FileHandle handle;
  int64_t at = kDataBegin;
  uint32_t data_crc = 0;
  bool named = false;
};

TokenCacheWriter::TokenCacheWriter(std::string path) : file_(std::make_unique<File>()) {
  static std::atomic<int64_t> next{0};  // only makes names differ
  file_->path = std::move(path);
  file_->temporary = cat(file_->path, ".part-", ::getpid(), "-", next++);
  remove_path(file_->temporary);
  file_->handle = open_for_write(file_->temporary, true);
}

TokenCacheWriter::~TokenCacheWriter() {
  if (!file_->named) remove_path(file_->temporary);
}

void TokenCacheWriter::write(std::span<const int32_t> data) {
  const auto bytes = static_cast<int64_t>(data.size_bytes());
  write_at(file_->handle, file_->temporary, file_->at, data.data(), bytes);
  start_writeback(file_->handle, file_->at, bytes);
  file_->data_crc = crc32c(data.data(), data.size_bytes(), file_->data_crc);
  file_->at += bytes;
}

void TokenCacheWriter::finish(const std::string& key, const DocumentIndex& index,
                              const PrepareCounts& counts) {
  Header header{};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  header.version = kVersion;
  header.byte_order = kByteOrder;
  header.key_bytes = static_cast<int64_t>(key.size());
  header.documents = index.size();
  header.tokens = index.offsets.back();
  header.counts = counts;
  const Parts parts(header);
  TESSERA_CHECK(file_->at == parts.key, internal, "the data of ", file_->path, " ends at ", file_->at,
                ", not ", parts.key);
  header.file_bytes = parts.end;
  header.data_crc = file_->data_crc;
  header.key_crc = crc32c(key.data(), key.size());
  header.offsets_crc = crc32c(index.offsets.data(), static_cast<size_t>(bytes_of(index.offsets)));
  header.marks_crc = crc32c(index.marks.data(), static_cast<size_t>(bytes_of(index.marks)));
  header.header_crc = crc_of(header);
  write_at(file_->handle, file_->temporary, parts.key, key.data(), header.key_bytes);
  write_at(file_->handle, file_->temporary, parts.offsets, index.offsets.data(), bytes_of(index.offsets));
  write_at(file_->handle, file_->temporary, parts.marks, index.marks.data(), bytes_of(index.marks));
  write_at(file_->handle, file_->temporary, 0, &header, sizeof header);
  flush_to_disk(file_->handle, file_->temporary);
  rename_path(file_->temporary, file_->path);
  file_->named = true;
  flush_directory(std::filesystem::path(file_->path).parent_path().string());
}

std::string token_cache_path(const std::string& directory, const std::string& key) {
  ContentHash hash;
  hash.add(key);
  return join_path(directory, "tokens-" + hash.hex() + ".cache");
}

std::shared_ptr<const DocumentStore> open_token_cache(const std::string& path, const std::string& key,
                                                      int64_t seq_len) {
  FileHandle file = open_for_read(path);
  const Header header = read_header(file, path);
  std::string written(static_cast<size_t>(header.key_bytes), '\0');
  read_at(file, path, Parts(header).key, written.data(), header.key_bytes);
  TESSERA_CHECK(crc32c(written.data(), written.size()) == header.key_crc, format, path, " has a damaged key");
  TESSERA_CHECK(written == key, format, path, " is of other data or settings");
  check_data(file, path, header);
  DocumentIndex index = read_index(file, path, header, seq_len);
  return std::make_shared<FileStore>(std::move(file), path, std::move(index), header.counts);
}

std::shared_ptr<const DocumentStore> cached_documents(const std::vector<std::string>& files,
                                                      const DatasetOptions& options) {
  const std::string key = cache_key(files, options);
  const std::string path = token_cache_path(options.cache, key);
  std::optional<CacheLock> lock;
  try {
    make_directories(options.cache);
    if (path_exists(path))
      if (auto store = try_open(path, key, options.seq_len)) return store;
    lock.emplace(path + ".lock");
  } catch (const Error& error) {
    log_warning("data.cache: ", error.what(), ": going on without a cache");
    return prepare_documents(files, options);
  }
  if (lock->wait()) {
    // Whoever held it before has probably written what is wanted.
    if (path_exists(path))
      if (auto store = try_open(path, key, options.seq_len)) return store;
    if (lock->exclusive()) remove_leftovers(path);
    if (auto store = write_cache(path, key, files, options, *lock)) return store;
  }
  return prepare_documents(files, options);
}

}  // namespace tessera
