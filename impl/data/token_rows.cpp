// Token rows: a scanner for the common shape, and nlohmann's parser for everything else.
#include "data/token_rows.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/error.h"
#include "data/line_reader.h"
#include "data/packed_batch.h"

namespace tessera {
namespace {

constexpr int32_t kIgnored = static_cast<int32_t>(kIgnoredLabel);

/// Reads {"input_ids":[..],"labels":[..]} with plain integers and nothing else. Returns nothing as soon as it
/// sees anything it does not know, right or wrong: the full parser then decides and words the error.
class FastScanner {
 public:
  explicit FastScanner(std::string_view text) : at_(text.data()), end_(text.data() + text.size()) {}

  std::optional<TokenRow> scan() {
    TokenRow row;
    bool tokens = false;
    bool labels = false;
    if (!take('{')) return {};
    do {
      const bool first = key("\"input_ids\"");
      if (!first && !key("\"labels\"")) return {};
      if (std::exchange(first ? tokens : labels, true)) return {};
      if (!take(':') || !integers(first ? row.tokens : row.labels)) return {};
    } while (take(','));
    if (!take('}') || !tokens) return {};
    space();
    if (at_ != end_) return {};
    if (!labels) row.labels = row.tokens;
    return row;
  }

 private:
  void space() {
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\t' || *at_ == '\r' || *at_ == '\n')) ++at_;
  }
  bool take(char c) {
    space();
    if (at_ == end_ || *at_ != c) return false;
    ++at_;
    return true;
  }
  bool key(std::string_view name) {
    space();
    if (!std::string_view(at_, end_ - at_).starts_with(name)) return false;
    at_ += name.size();
    return true;
  }
  bool integer(int32_t& value) {
    space();
    const bool negative = at_ != end_ && *at_ == '-';
    if (negative) ++at_;
    const char* begin = at_;
    int64_t number = 0;
    while (at_ != end_ && *at_ >= '0' && *at_ <= '9' && at_ - begin < 10)
      number = number * 10 + (*at_++ - '0');
    if (at_ == begin || (*begin == '0' && at_ - begin > 1)) return false;
    if (at_ == end_ || !(*at_ == ',' || *at_ == ']' || *at_ == ' ')) return false;
    if (number > std::numeric_limits<int32_t>::max()) return false;
    value = static_cast<int32_t>(negative ? -number : number);
    return true;
  }
  bool integers(std::vector<int32_t>& out) {
    if (!take('[')) return false;
    if (take(']')) return true;
    out.reserve(256);
    do {
      int32_t value = 0;
      if (!integer(value)) return false;
      out.push_back(value);
    } while (take(','));
    return take(']');
  }

  const char* at_;
  const char* end_;
};

/// Full JSON with a message for each thing that is not as it should be.
class RowHandler : public nlohmann::json_sax<nlohmann::json> {
 public:
  TokenRow row;

  bool null() override { return scalar("null"); }
  bool boolean(bool value) override { return scalar(value ? "true" : "false"); }
  bool string(string_t& value) override { return scalar(cat("\"", printable(value, 20), "\"")); }
  bool binary(binary_t&) override { return scalar("binary data"); }
  bool number_float(number_float_t, const string_t& text) override { return scalar(printable(text, 30)); }
  bool number_integer(number_integer_t value) override {
    if (!target_ || depth_ != 2) return scalar(std::to_string(value));
    if (value < std::numeric_limits<int32_t>::min())
      return fail_element(std::to_string(value), "does not fit 32 bits");
    target_->push_back(static_cast<int32_t>(value));
    return true;
  }
  bool number_unsigned(number_unsigned_t value) override {
    if (!target_ || depth_ != 2) return scalar(std::to_string(value));
    if (value > static_cast<uint64_t>(std::numeric_limits<int32_t>::max()))
      return fail_element(std::to_string(value), "does not fit 32 bits");
    target_->push_back(static_cast<int32_t>(value));
    return true;
  }

  bool start_object(std::size_t) override { return open("an object"); }
  bool end_object() override {
    --depth_;
    return true;
  }
  bool start_array(std::size_t) override {
    if (depth_ == 0) throw Error(Code::format, "the row is not a JSON object but an array");
    if (target_ && depth_ == 1) {
      ++depth_;
      return true;
    }
    return open("an array");
  }
  bool end_array() override {
    --depth_;
    return true;
  }
  bool key(string_t& name) override {
    if (depth_ != 1) return true;
    target_ = nullptr;
    if (name != "input_ids" && name != "labels") return true;
    name_ = name;
    bool& seen = name == "labels" ? labels_seen_ : tokens_seen_;
    TESSERA_CHECK(!seen, format, name, " occurs twice");
    seen = true;
    target_ = name == "labels" ? &row.labels : &row.tokens;
    return true;
  }
  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception& error) override {
    std::string reason = error.what();
    // "[json.exception.parse_error.101] parse error at line 1, column 2: reason", or without the place.
    if (const size_t start = reason.find("] "); start != std::string::npos) reason = reason.substr(start + 2);
    if (const size_t start = reason.find(": "); start != std::string::npos) reason = reason.substr(start + 2);
    throw Error(Code::format, cat("bad JSON at byte ", position, ": ", printable(reason, 160)));
  }

  void finish() {
    TESSERA_CHECK(tokens_seen_, format, "input_ids is missing");
    if (!labels_seen_) row.labels = row.tokens;
  }

 private:
  [[noreturn]] bool fail_element(const std::string& value, const char* reason) {
    throw Error(Code::format, cat(name_, "[", target_->size(), "]=", value, " ", reason));
  }
  bool scalar(const std::string& value) {
    if (depth_ == 0) throw Error(Code::format, "the row is not a JSON object but " + value);
    if (target_ && depth_ == 1) throw Error(Code::format, cat(name_, " is not an array but ", value));
    if (target_) fail_element(value, "is not an integer of 32 bits");
    return true;
  }
  bool open(const char* what) {
    if (target_ && depth_ == 1) throw Error(Code::format, cat(name_, " is not an array but ", what));
    if (target_ && depth_ >= 2) fail_element(what, "is not an integer of 32 bits");
    ++depth_;
    return true;
  }

  std::vector<int32_t>* target_ = nullptr;
  std::string name_;
  int64_t depth_ = 0;
  bool tokens_seen_ = false, labels_seen_ = false;
};

}  // namespace

TokenRow parse_token_row(std::string_view text, int64_t vocab) {
  TokenRow row;
  if (std::optional<TokenRow> fast = FastScanner(text).scan()) {
    row = std::move(*fast);
  } else {
    RowHandler handler;
    nlohmann::json::sax_parse(text.begin(), text.end(), &handler);
    handler.finish();
    row = std::move(handler.row);
  }
  check_token_row(row, vocab);
  return row;
}

void check_token_row(const TokenRow& row, int64_t vocab) {
  TESSERA_CHECK(!row.tokens.empty(), format, "input_ids is empty");
  TESSERA_CHECK(row.labels.size() == row.tokens.size(), format, "labels has ", row.labels.size(),
                " entries, input_ids has ", row.tokens.size());
  const int64_t bound = vocab > 0 ? vocab : int64_t{1} << 31;
  const auto outside = [bound](int32_t id) { return id < 0 || id >= bound; };
  const auto token = std::find_if(row.tokens.begin(), row.tokens.end(), outside);
  TESSERA_CHECK(token == row.tokens.end(), format, "input_ids[", token - row.tokens.begin(), "]=", *token,
                " is outside the vocabulary of ", bound);
  const auto label = std::find_if(row.labels.begin(), row.labels.end(),
                                  [&](int32_t id) { return id != kIgnored && outside(id); });
  TESSERA_CHECK(label == row.labels.end(), format, "labels[", label - row.labels.begin(), "]=", *label,
                " is neither -100 nor inside the vocabulary of ", bound);
}

}  // namespace tessera
