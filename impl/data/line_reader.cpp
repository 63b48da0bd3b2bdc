// Line splitting over plain, gzip and zstd files.
#include "data/line_reader.h"

#include <glob.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string_view>

#include "core/error.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;
constexpr size_t kBlock = size_t{1} << 20;

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

class PlainSource : public ByteSource {
 public:
  PlainSource(File file, std::string path) : file_(std::move(file)), path_(std::move(path)) {}
  size_t read(char* out, size_t size) override {
    const size_t count = std::fread(out, 1, size, file_.get());
    if (count < size && std::ferror(file_.get())) throw os_error("cannot read " + path_, errno);
    consumed_ += static_cast<int64_t>(count);
    return count;
  }
  int64_t consumed() const override { return consumed_; }

 private:
  int64_t consumed_ = 0;
  File file_;
  std::string path_;
};

class GzipSource : public ByteSource {
 public:
  explicit GzipSource(std::string path) : path_(std::move(path)), file_(gzopen(path_.c_str(), "rb")) {
    if (file_ == nullptr) throw os_error("cannot open " + path_, errno);
    gzbuffer(file_, kBlock);
  }
  ~GzipSource() override { gzclose(file_); }
  GzipSource(const GzipSource&) = delete;
  GzipSource& operator=(const GzipSource&) = delete;

  size_t read(char* out, size_t size) override {
    const int count = gzread(file_, out, static_cast<unsigned>(size));
    int status = Z_OK;
    const char* said = gzerror(file_, &status);  // "path: reason"
    const std::string_view reason = said == nullptr ? "" : said;
    TESSERA_CHECK(
        count >= 0 && (status == Z_OK || status == Z_STREAM_END), format, path_,
        ": gzip data is damaged: ", reason.substr(reason.starts_with(path_) ? path_.size() + 2 : 0));
    return static_cast<size_t>(count);
  }
  int64_t consumed() const override { return std::max<int64_t>(0, gzoffset(file_)); }

 private:
  std::string path_;
  gzFile file_;
};

class ZstdSource : public ByteSource {
 public:
  ZstdSource(File file, std::string path)
      : file_(std::move(file)),
        path_(std::move(path)),
        stream_(ZSTD_createDStream()),
        input_(ZSTD_DStreamInSize(), '\0') {
    TESSERA_CHECK(stream_ != nullptr, out_of_memory, path_, ": no memory for a zstd stream");
  }
  ~ZstdSource() override { ZSTD_freeDStream(stream_); }
  ZstdSource(const ZstdSource&) = delete;
  ZstdSource& operator=(const ZstdSource&) = delete;

  size_t read(char* out, size_t size) override {
    ZSTD_outBuffer output{out, size, 0};
    while (output.pos == 0) {
      if (pending_.pos == pending_.size) {
        const size_t count = std::fread(input_.data(), 1, input_.size(), file_.get());
        if (count == 0 && std::ferror(file_.get())) throw os_error("cannot read " + path_, errno);
        if (count == 0) {
          TESSERA_CHECK(in_frame_ == 0, format, path_, ": zstd data ends in the middle of a frame");
          return 0;
        }
        pending_ = {input_.data(), count, 0};
        consumed_ += static_cast<int64_t>(count);
      }
      in_frame_ = ZSTD_decompressStream(stream_, &output, &pending_);
      TESSERA_CHECK(!ZSTD_isError(in_frame_), format, path_,
                    ": zstd data is damaged: ", ZSTD_getErrorName(in_frame_));
    }
    return output.pos;
  }
  int64_t consumed() const override { return consumed_; }

 private:
  int64_t consumed_ = 0;
  File file_;
  std::string path_;
  ZSTD_DStream* stream_;
  std::string input_;
  ZSTD_inBuffer pending_{nullptr, 0, 0};
  size_t in_frame_ = 0;
};

bool is_data_file(const fs::path& path) {
  fs::path name = path.filename();
  if (name.string().starts_with(".")) return false;
  if (name.extension() == ".gz" || name.extension() == ".zst") name = name.stem();
  const std::string extension = name.extension().string();
  return extension == ".jsonl" || extension == ".json" || extension == ".ndjson" || extension == ".txt";
}

std::vector<std::string> files_below(const std::string& directory) {
  std::vector<std::string> files;
  std::error_code code;
  for (fs::recursive_directory_iterator it(directory, code), end; !code && it != end; it.increment(code))
    if (it->is_regular_file() && is_data_file(it->path())) files.push_back(it->path().string());
  if (code) throw os_error("cannot list " + directory, code.value());
  std::sort(files.begin(), files.end());
  return files;
}

std::vector<std::string> files_matching(const std::string& pattern) {
  glob_t found{};
  const int status = ::glob(pattern.c_str(), 0, nullptr, &found);
  std::vector<std::string> matches, files;
  if (status == 0) matches.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  globfree(&found);
  for (const std::string& match : matches) {
    std::error_code code;
    const bool directory = fs::is_directory(match, code);
    for (std::string& file : directory ? files_below(match) : std::vector{match})
      files.push_back(std::move(file));
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

std::unique_ptr<ByteSource> open_bytes(const std::string& path) {
  std::error_code code;
  TESSERA_CHECK(!fs::is_directory(path, code), argument, path, " is a directory");
  File file(std::fopen(path.c_str(), "rb"));
  if (!file) throw os_error("cannot open " + path, errno);
  unsigned char magic[4] = {};
  const size_t count = std::fread(magic, 1, sizeof magic, file.get());
  if (count >= 2 && magic[0] == 0x1f && magic[1] == 0x8b) return std::make_unique<GzipSource>(path);
  const std::string_view start(reinterpret_cast<const char*>(magic), count);
  TESSERA_CHECK(start != "PAR1" && start != "ARRO", unsupported, path,
                " is a Parquet or Arrow file: rows are read as JSON lines, plain or packed by gzip or zstd");
  std::rewind(file.get());
  if (count == 4 && magic[0] == 0x28 && magic[1] == 0xb5 && magic[2] == 0x2f && magic[3] == 0xfd)
    return std::make_unique<ZstdSource>(std::move(file), path);
  return std::make_unique<PlainSource>(std::move(file), path);
}

LineReader::LineReader(const std::string& path, int64_t max_line_bytes)
    : path_(path), max_line_bytes_(max_line_bytes), source_(open_bytes(path)) {
  TESSERA_CHECK(max_line_bytes >= 1, argument, "max_line_bytes=", max_line_bytes, " must be at least 1");
}

bool LineReader::fill() {
  if (end_) return false;
  buffer_.erase(0, begin_);
  begin_ = 0;
  const size_t held = buffer_.size();
  buffer_.resize(held + kBlock);
  const size_t count = source_->read(buffer_.data() + held, kBlock);
  buffer_.resize(held + count);
  end_ = count == 0;
  return !end_;
}

bool LineReader::next(Line& line) {
  if (number_ == 0) {
    while (buffer_.size() < 3 && fill()) {
    }
    if (buffer_.starts_with("\xef\xbb\xbf")) {
      begin_ = 3;
      offset_ = 3;
    }
  }
  size_t searched = begin_;
  int64_t dropped = 0;  // bytes of an over-long line that are no longer held
  line = Line{};
  line.offset = offset_;
  while (true) {
    const void* found = std::memchr(buffer_.data() + searched, '\n', buffer_.size() - searched);
    size_t stop = found ? static_cast<const char*>(found) - buffer_.data() : buffer_.size();
    if (static_cast<int64_t>(stop - begin_) > max_line_bytes_) line.too_long = true;
    if (found || (end_ && (stop > begin_ || dropped > 0))) {
      line.number = ++number_;
      offset_ += dropped + static_cast<int64_t>(stop - begin_) + (found ? 1 : 0);
      line.text = std::string_view(buffer_).substr(begin_, stop - begin_);
      if (line.too_long) line.text = line.text.substr(0, 64);
      if (line.text.ends_with('\r')) line.text.remove_suffix(1);
      begin_ = stop + (found ? 1 : 0);
      return true;
    }
    if (end_) return false;
    if (line.too_long) {
      dropped += static_cast<int64_t>(stop - begin_);
      begin_ = stop;
    }
    const size_t held = stop - begin_;
    fill();
    searched = begin_ + held;
  }
}

std::vector<std::string> expand_paths(const std::vector<std::string>& paths) {
  TESSERA_CHECK(!paths.empty(), argument, "data.path is empty");
  std::vector<std::string> files;
  for (const std::string& path : paths) {
    std::error_code code;
    std::vector<std::string> found;
    if (fs::is_directory(path, code)) {
      found = files_below(path);
    } else if (fs::exists(path, code)) {
      found = {path};
    } else {
      found = files_matching(path);
    }
    TESSERA_CHECK(!found.empty(), not_found, "data.path=", path, " matches no file");
    files.insert(files.end(), found.begin(), found.end());
  }
  return files;
}

std::string printable(std::string_view text, size_t limit) {
  std::string out(text.substr(0, limit));
  for (char& c : out)
    if (c < 0x20 || c > 0x7e) c = '?';
  if (text.size() > limit) out += "...";
  return out;
}

}  // namespace tessera
