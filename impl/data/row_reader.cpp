// Rows of JSONL files, JSON arrays and plain texts.
#include "data/row_reader.h"

#include <filesystem>

#include "core/error.h"

namespace tessera {
namespace {

constexpr size_t kBlock = size_t{1} << 20;

std::string name_without_compression(const std::string& path) {
  std::filesystem::path name = std::filesystem::path(path).filename();
  if (name.extension() == ".gz" || name.extension() == ".zst") name = name.stem();
  return name.string();
}

bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/// A file byte by byte.
class CharReader {
 public:
  explicit CharReader(const std::string& path) : source_(open_bytes(path)), buffer_(kBlock, '\0') {}
  /// -1 at the end.
  int next() {
    if (at_ == size_) {
      size_ = source_->read(buffer_.data(), buffer_.size());
      at_ = 0;
      if (size_ == 0) return -1;
    }
    const auto c = static_cast<unsigned char>(buffer_[at_++]);
    if (c == '\n') ++line_;
    ++offset_;
    return c;
  }
  int64_t consumed() const { return source_->consumed(); }
  int64_t line() const { return line_; }
  int64_t offset() const { return offset_; }

 private:
  std::unique_ptr<ByteSource> source_;
  std::string buffer_;
  size_t at_ = 0, size_ = 0;
  int64_t line_ = 1, offset_ = 0;
};

class JsonLines : public RowReader {
 public:
  JsonLines(const std::string& path, int64_t max) : reader_(path, max) {}
  bool next(Line& row) override {
    while (reader_.next(row))
      if (row.too_long || row.text.find_first_not_of(" \t") != std::string_view::npos) return true;
    return false;
  }
  int64_t consumed() const override { return reader_.consumed(); }

 private:
  LineReader reader_;
};

/// Finds where elements begin and end; whether they are good JSON is for their parser to say.
class JsonArray : public RowReader {
 public:
  JsonArray(const std::string& path, int64_t max) : path_(path), max_(max), in_(path) {
    while (in_.next() != '[') {
    }
  }

  bool next(Line& row) override {
    if (ended_) return false;
    int c = skip_blanks();
    if (c == ']' && first_) return end();
    first_ = false;
    text_.clear();
    row = Line{};
    row.number = in_.line();
    row.offset = in_.offset() - 1;
    int64_t depth = 0;
    bool string = false;
    bool escaped = false;
    for (;; c = in_.next()) {
      TESSERA_CHECK(c >= 0, format, path_, ":", row.number, ": the array's element has no end");
      if (string) {
        if (!escaped && c == '"') string = false;
        escaped = !escaped && c == '\\';
      } else if (c == '"') {
        string = true;
      } else if (c == '[' || c == '{') {
        ++depth;
      } else if (depth == 0 && (c == ',' || c == ']')) {
        break;
      } else if (c == ']' || c == '}') {
        --depth;
      }
      if (static_cast<int64_t>(text_.size()) < max_) {
        text_ += static_cast<char>(c);
      } else {
        row.too_long = true;
      }
    }
    row.text = text_;
    if (c == ']') end();
    return true;
  }
  int64_t consumed() const override { return in_.consumed(); }

 private:
  int skip_blanks() {
    int c = in_.next();
    while (c >= 0 && is_blank(static_cast<char>(c))) c = in_.next();
    return c;
  }
  bool end() {
    ended_ = true;
    TESSERA_CHECK(skip_blanks() < 0, format, path_, ":", in_.line(), ": there is text after the array");
    return false;
  }

  std::string path_, text_;
  int64_t max_;
  CharReader in_;
  bool first_ = true, ended_ = false;
};

class TextParts : public RowReader {
 public:
  TextParts(const std::string& path, int64_t part_bytes)
      : source_(open_bytes(path)), part_bytes_(part_bytes) {}

  bool next(Line& row) override {
    text_ = std::move(rest_);
    rest_.clear();
    size_t searched = 0;
    while (true) {
      const size_t held = text_.size();
      text_.resize(held + kBlock);
      text_.resize(held + source_->read(text_.data() + held, kBlock));
      if (text_.size() == held) break;
      if (offset_ == 0 && held == 0 && text_.starts_with("\xef\xbb\xbf")) text_.erase(0, 3);
      if (part_bytes_ == 0) continue;
      const auto least = std::max(searched, static_cast<size_t>(part_bytes_));
      size_t cut = 0;
      for (size_t i = least; i < text_.size() && cut == 0; ++i)
        if (text_[i - 1] == '\n' && !is_blank(text_[i])) cut = i;
      searched = text_.size();
      if (cut == 0) continue;
      rest_ = text_.substr(cut);
      text_.resize(cut);
      break;
    }
    row = Line{text_, line_, offset_, false};
    for (const char c : text_) line_ += c == '\n';
    offset_ += static_cast<int64_t>(text_.size());
    return !text_.empty();
  }
  int64_t consumed() const override { return source_->consumed(); }

 private:
  std::unique_ptr<ByteSource> source_;
  int64_t part_bytes_;
  std::string text_, rest_;
  int64_t line_ = 1, offset_ = 0;
};

}  // namespace

bool is_json_name(const std::string& path) {
  const std::string name = name_without_compression(path);
  return name.ends_with(".jsonl") || name.ends_with(".json") || name.ends_with(".ndjson");
}

std::unique_ptr<RowReader> open_rows(const std::string& path, int64_t max_row_bytes) {
  if (name_without_compression(path).ends_with(".json")) {
    CharReader in(path);
    int c = in.next();
    while (c >= 0 && is_blank(static_cast<char>(c))) c = in.next();
    if (c == '[') return std::make_unique<JsonArray>(path, max_row_bytes);
  }
  return std::make_unique<JsonLines>(path, max_row_bytes);
}

std::unique_ptr<RowReader> open_text_parts(const std::string& path, int64_t part_bytes) {
  return std::make_unique<TextParts>(path, part_bytes);
}

}  // namespace tessera
