// Reading list columns of an Arrow record batch.
#include "arrow_rows.h"

#include <limits>
#include <string>
#include <string_view>

#include "core/error.h"

namespace tessera::capi {
namespace {

// Above any batch that fits memory, and far from overflow.
constexpr int64_t kMostEntries = int64_t{1} << 40;

void check_array(const ArrowArray* array, const char* what, int64_t buffers, int64_t children) {
  TESSERA_CHECK(array != nullptr && array->release != nullptr, argument, "arrow ", what,
                " is missing or released");
  TESSERA_CHECK(array->length >= 0 && array->length <= kMostEntries, argument, "arrow ", what,
                ".length=", array->length, " is out of range");
  TESSERA_CHECK(array->offset >= 0 && array->offset <= kMostEntries, argument, "arrow ", what,
                ".offset=", array->offset, " is out of range");
  TESSERA_CHECK(array->n_buffers == buffers && (buffers == 0 || array->buffers != nullptr), argument,
                "arrow ", what, " has ", array->n_buffers, " buffers, not ", buffers);
  TESSERA_CHECK(array->n_children == children && (children == 0 || array->children != nullptr), argument,
                "arrow ", what, " has ", array->n_children, " children, not ", children);
}

// Bit i of a validity bitmap, counted from the least significant; without a bitmap nothing is null.
bool is_null(const ArrowArray& array, int64_t index) {
  if (array.null_count == 0 || array.buffers[0] == nullptr) return false;
  const int64_t bit = array.offset + index;
  return (static_cast<const uint8_t*>(array.buffers[0])[bit / 8] >> (bit % 8) & 1) == 0;
}

std::string_view format_of(const ArrowSchema* schema, const char* what) {
  TESSERA_CHECK(schema != nullptr && schema->release != nullptr && schema->format != nullptr, argument,
                "arrow schema of ", what, " is missing or released");
  TESSERA_CHECK(schema->dictionary == nullptr, unsupported, "arrow ", what, " is dictionary-encoded");
  return schema->format;
}

// A column of lists of integers.
class ListColumn {
 public:
  ListColumn(const ArrowSchema* schema, const ArrowArray* array, const char* name)
      : name_(name), list_(array) {
    const std::string_view format = format_of(schema, name);
    TESSERA_CHECK(format == "+l" || format == "+L", unsupported, "arrow ", name, " has the format \"",
                  std::string(format), "\": a list (+l) or large list (+L) of integers is needed");
    large_ = format == "+L";
    TESSERA_CHECK(schema->n_children == 1 && schema->children != nullptr, argument, "arrow schema of ", name,
                  " has ", schema->n_children, " children, not 1");
    const std::string_view value = format_of(schema->children[0], name);
    TESSERA_CHECK(value == "i" || value == "l", unsupported, "arrow ", name, " holds values of the format \"",
                  std::string(value), "\": int32 (i) or int64 (l) are needed");
    wide_ = value == "l";
    check_array(list_, name, 2, 1);
    TESSERA_CHECK(list_->length == 0 || list_->buffers[1] != nullptr, argument, "arrow ", name,
                  " has no offsets");
    values_ = list_->children[0];
    check_array(values_, name, 2, 0);
    TESSERA_CHECK(values_->length == 0 || values_->buffers[1] != nullptr, argument, "arrow ", name,
                  " has no values");
  }

  int64_t length() const { return list_->length; }

  // The values of list `index`, counted in the column.
  std::vector<int32_t> list(int64_t index, int64_t row) const {
    TESSERA_CHECK(!is_null(*list_, index), argument, "arrow row ", row, ": ", name_, " is null");
    const int64_t begin = offset(index);
    const int64_t end = offset(index + 1);
    TESSERA_CHECK(begin >= 0 && begin <= end && end <= values_->length, argument, "arrow row ", row, ": ",
                  name_, " lies at ", begin, "..", end, " of ", values_->length, " values");
    std::vector<int32_t> out;
    out.reserve(static_cast<size_t>(end - begin));
    for (int64_t i = begin; i < end; ++i) {
      TESSERA_CHECK(!is_null(*values_, i), argument, "arrow row ", row, ": ", name_, "[", i - begin,
                    "] is null");
      const int64_t value = this->value(i);
      TESSERA_CHECK(
          value >= std::numeric_limits<int32_t>::min() && value <= std::numeric_limits<int32_t>::max(),
          argument, "arrow row ", row, ": ", name_, "[", i - begin, "]=", value, " is not a token id");
      out.push_back(static_cast<int32_t>(value));
    }
    return out;
  }

 private:
  int64_t offset(int64_t index) const {
    const int64_t at = list_->offset + index;
    return large_ ? static_cast<const int64_t*>(list_->buffers[1])[at]
                  : static_cast<const int32_t*>(list_->buffers[1])[at];
  }
  int64_t value(int64_t index) const {
    const int64_t at = values_->offset + index;
    return wide_ ? static_cast<const int64_t*>(values_->buffers[1])[at]
                 : static_cast<const int32_t*>(values_->buffers[1])[at];
  }

  const char* name_;
  const ArrowArray* list_;
  const ArrowArray* values_ = nullptr;
  bool large_ = false;
  bool wide_ = false;
};

int64_t find_column(const ArrowSchema& schema, std::string_view name) {
  for (int64_t i = 0; i < schema.n_children; ++i) {
    const ArrowSchema* child = schema.children[i];
    if (child != nullptr && child->name != nullptr && child->name == name) return i;
  }
  return -1;
}

}  // namespace

std::vector<TokenRow> rows_of_arrow(const ArrowSchema& schema, const ArrowArray& batch) {
  const std::string_view format = format_of(&schema, "batch");
  TESSERA_CHECK(format == "+s", unsupported, "the arrow batch has the format \"", std::string(format),
                "\": a struct of columns (+s) is needed");
  TESSERA_CHECK(schema.n_children >= 0 && (schema.n_children == 0 || schema.children != nullptr), argument,
                "the arrow schema has ", schema.n_children, " children");
  check_array(&batch, "batch", 1, schema.n_children);
  const int64_t tokens_at = find_column(schema, "input_ids");
  TESSERA_CHECK(tokens_at >= 0, argument,
                "the arrow batch has no column input_ids: texts are to be tokenised first");
  const ListColumn tokens(schema.children[tokens_at], batch.children[tokens_at], "input_ids");
  const int64_t labels_at = find_column(schema, "labels");
  const bool has_labels = labels_at >= 0;
  const ListColumn labels =
      has_labels ? ListColumn(schema.children[labels_at], batch.children[labels_at], "labels") : tokens;
  // A struct's offset counts in its children too.
  TESSERA_CHECK(
      tokens.length() >= batch.offset + batch.length && labels.length() >= batch.offset + batch.length,
      argument, "the arrow batch has ", batch.length, " rows from ", batch.offset, " on, its columns ",
      tokens.length(), " and ", labels.length());
  std::vector<TokenRow> rows;
  for (int64_t row = 0; row < batch.length; ++row) {
    TESSERA_CHECK(!is_null(batch, row), argument, "arrow row ", row, " is null");
    TokenRow out;
    out.tokens = tokens.list(batch.offset + row, row);
    out.labels = has_labels ? labels.list(batch.offset + row, row) : out.tokens;
    TESSERA_CHECK(out.labels.size() == out.tokens.size(), argument, "arrow row ", row, " has ",
                  out.labels.size(), " labels for ", out.tokens.size(), " tokens");
    rows.push_back(std::move(out));
  }
  return rows;
}

}  // namespace tessera::capi
