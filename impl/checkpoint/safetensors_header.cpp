// The header of a safetensors file: dtype names, strict parsing and layout.
#include <c10/core/ScalarType.h>

#include <algorithm>
#include <bit>
#include <numeric>
#include <unordered_set>
#include <utility>

#include "core/file_io.h"
#include "checkpoint/json_sax.h"
#include "checkpoint/names.h"
#include "checkpoint/safetensors.h"
#include "core/error.h"

namespace tessera {
namespace {

static_assert(std::endian::native == std::endian::little,
              "safetensors data is little-endian and used in place");

constexpr std::pair<std::string_view, at::ScalarType> kDtypes[] = {
    {"F64", at::kDouble},
    {"F32", at::kFloat},
    {"F16", at::kHalf},
    {"BF16", at::kBFloat16},
    {"I64", at::kLong},
    {"I32", at::kInt},
    {"I16", at::kShort},
    {"I8", at::kChar},
    {"U8", at::kByte},
    {"U16", at::kUInt16},
    {"U32", at::kUInt32},
    {"U64", at::kUInt64},
    {"BOOL", at::kBool},
    {"F8_E4M3", at::kFloat8_e4m3fn},
    {"F8_E5M2", at::kFloat8_e5m2},
    {"F8_E4M3FNUZ", at::kFloat8_e4m3fnuz},
    {"F8_E5M2FNUZ", at::kFloat8_e5m2fnuz},
    {"F8_E8M0", at::kFloat8_e8m0fnu},
    {"C64", at::kComplexFloat},
};

// More dims than any tensor has; LibTorch itself stops at 64 in places.
constexpr size_t kMaxDims = 64;

class HeaderSax : public StrictSax {
 public:
  std::vector<TensorEntry> take() { return std::move(entries_); }

 private:
  enum class Field { none, dtype, shape, offsets, other };

  void on_open(bool array) override {
    if (skipped_ > 0 || (depth_ == 2 && field_ == Field::other)) {
      ++skipped_;
      return;
    }
    if (depth_ < 2) {
      TESSERA_CHECK(!array, format,
                    depth_ == 0 ? std::string("not a json object") : where() + " is not an object");
      if (depth_ == 1 && !metadata_) current_ = TensorEntry{entry_name_};
    } else {
      TESSERA_CHECK(!metadata_, format, "a value of __metadata__ is not a string");
      const bool list = field_ == Field::shape || field_ == Field::offsets;
      TESSERA_CHECK(depth_ == 2 && array && list, format, where(), " has a nested value where none belongs");
    }
    ++depth_;
  }

  void on_close() override {
    if (skipped_ > 0) {
      if (--skipped_ == 0) field_ = Field::none;
      return;
    }
    --depth_;
    if (depth_ == 2) field_ = Field::none;
    if (depth_ == 1) finish_entry();
  }

  void on_key(std::string& name) override {
    if (skipped_ > 0) return;
    if (depth_ == 1) {
      metadata_ = name == "__metadata__";
      TESSERA_CHECK(name.find('\0') == std::string::npos, format,
                    "a tensor name holds a zero byte: ", printable(name));
      TESSERA_CHECK(names_.insert(name).second, format, "tensor ", printable(name), " appears twice");
      entry_name_ = name;
      seen_ = 0;
      return;
    }
    if (metadata_) return;
    field_ = name == "dtype"          ? Field::dtype
             : name == "shape"        ? Field::shape
             : name == "data_offsets" ? Field::offsets
                                      : Field::other;
    if (field_ == Field::other) return;  // additions to the format are none of our business
    const int bit = 1 << static_cast<int>(field_);
    TESSERA_CHECK((seen_ & bit) == 0, format, where(), " has ", printable(name), " twice");
    seen_ |= bit;
  }

  void on_scalar(const Scalar& value) override {
    if (skipped_ > 0) return;
    TESSERA_CHECK(depth_ > 0, format, "not a json object");
    TESSERA_CHECK(depth_ > 1, format, where(), " is not an object");
    if (metadata_) {
      TESSERA_CHECK(value.kind == Kind::string, format, "a value of __metadata__ is not a string");
      return;
    }
    if (depth_ == 3) return list_value(value);
    if (field_ == Field::other) {
      field_ = Field::none;
      return;
    }
    TESSERA_CHECK(field_ == Field::dtype && value.kind == Kind::string, format, where(), " has ",
                  field_ == Field::shape     ? "a shape that is not a list"
                  : field_ == Field::offsets ? "data_offsets that are not a list"
                                             : "a dtype that is not a string");
    const std::optional<at::ScalarType> dtype = dtype_from_safetensors(*value.text);
    if (!dtype) {
      const bool sub_byte = value.text->starts_with("F4") || value.text->starts_with("F6");
      throw Error(sub_byte ? Code::unsupported : Code::format,
                  cat(where(), " has ", sub_byte ? "the unsupported" : "an unknown", " dtype ",
                      printable(*value.text)));
    }
    current_.dtype = *dtype;
    field_ = Field::none;
  }

  void list_value(const Scalar& value) {
    const char* what = field_ == Field::shape ? "shape" : "data_offsets";
    TESSERA_CHECK(value.kind != Kind::too_large, format, where(), " has a number beyond 64 bits in its ",
                  what);
    TESSERA_CHECK(value.kind == Kind::integer && value.integer >= 0, format, where(),
                  " has something else than a whole number >= 0 in its ", what);
    if (field_ == Field::shape) {
      TESSERA_CHECK(current_.shape.size() < kMaxDims, format, where(), " has more than ", kMaxDims, " dims");
      current_.shape.push_back(value.integer);
    } else {
      TESSERA_CHECK(offset_count_ < 2, format, where(), " has more than two data_offsets");
      (offset_count_++ == 0 ? current_.begin : current_.end) = value.integer;
    }
  }

  void finish_entry() {
    const size_t offsets = std::exchange(offset_count_, 0);
    if (std::exchange(metadata_, false)) return;
    const auto has = [&](Field field) { return (seen_ & (1 << static_cast<int>(field))) != 0; };
    TESSERA_CHECK(has(Field::dtype), format, where(), " has no dtype");
    TESSERA_CHECK(has(Field::shape), format, where(), " has no shape");
    TESSERA_CHECK(has(Field::offsets) && offsets == 2, format, where(), " does not have two data_offsets");
    entries_.push_back(std::move(current_));
  }

  std::string where() const { return metadata_ ? "__metadata__" : "tensor " + printable(entry_name_); }

  std::vector<TensorEntry> entries_;
  std::unordered_set<std::string> names_;
  TensorEntry current_;
  std::string entry_name_;
  bool metadata_ = false;
  Field field_ = Field::none;
  int seen_ = 0;  // fields of the current entry
  size_t offset_count_ = 0;
  int depth_ = 0;        // 1: file, 2: entry, 3: list
  int64_t skipped_ = 0;  // open brackets inside an unknown field
};

// The ranges must follow each other from 0 to the end of the data: no hole in which something could hide, no
// overlap.
void check_ranges(std::vector<TensorEntry>& entries, int64_t data_bytes) {
  std::stable_sort(entries.begin(), entries.end(), [](const TensorEntry& a, const TensorEntry& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  int64_t next = 0;
  for (const TensorEntry& entry : entries) {
    const std::string name = "tensor " + printable(entry.name);
    TESSERA_CHECK(entry.begin <= entry.end, format, name, " ends at ", entry.end, " before it begins at ",
                  entry.begin);
    TESSERA_CHECK(entry.end <= data_bytes, format, name, " ends at byte ", entry.end, " of ", data_bytes,
                  " data bytes");
    TESSERA_CHECK(entry.begin == next, format, name, " begins at byte ", entry.begin, ", expected ", next,
                  entry.begin < next ? " (overlap)" : " (hole)");
    // A dim of size 0 must not hide an overflow in the strides of the dims before it.
    int64_t bytes = static_cast<int64_t>(c10::elementSize(entry.dtype));
    bool overflow = false, none = false;
    for (int64_t size : entry.shape) {
      none |= size == 0;
      overflow |= __builtin_mul_overflow(bytes, std::max<int64_t>(size, 1), &bytes);
    }
    TESSERA_CHECK(!overflow, format, name, " has a shape whose size does not fit into 64 bits");
    if (none) bytes = 0;
    TESSERA_CHECK(bytes == entry.end - entry.begin, format, name, " has ", entry.end - entry.begin,
                  " bytes of data, its shape and dtype need ", bytes);
    next = entry.end;
  }
  TESSERA_CHECK(next == data_bytes, format, "tensors cover ", next, " of ", data_bytes, " data bytes");
}

class WeightMapSax : public StrictSax {
 public:
  std::map<std::string, std::string> files;
  bool found = false;

 private:
  void on_open(bool array) override {
    if (skipped_ > 0 || (depth_ == 1 && key_ != "weight_map")) {
      ++skipped_;
      return;
    }
    TESSERA_CHECK(!array, format,
                  depth_ == 0 ? "not a json object" : "weight_map is not an object of strings");
    TESSERA_CHECK(depth_ < 2, format, "weight_map is not an object of strings");
    if (depth_ == 1) {
      TESSERA_CHECK(!found, format, "weight_map appears twice");
      found = true;
    }
    ++depth_;
  }
  void on_close() override {
    if (skipped_ > 0) {
      --skipped_;
    } else {
      --depth_;
    }
  }
  void on_key(std::string& name) override {
    if (skipped_ == 0) key_ = std::move(name);
  }
  void on_scalar(const Scalar& value) override {
    if (skipped_ > 0) return;
    if (depth_ == 1) {
      TESSERA_CHECK(key_ != "weight_map", format, "weight_map is not an object of strings");
      return;
    }
    TESSERA_CHECK(value.kind == Kind::string, format, "weight_map is not an object of strings");
    TESSERA_CHECK(is_plain_name(*value.text), format, "weight_map sends tensor ", printable(key_), " to ",
                  printable(*value.text), ", which is not a plain file name");
    const bool fresh = files.emplace(key_, std::move(*value.text)).second;
    TESSERA_CHECK(fresh, format, "weight_map has tensor ", printable(key_), " twice");
  }

  std::string key_;
  int depth_ = 0;
  int64_t skipped_ = 0;
};

}  // namespace

std::optional<at::ScalarType> dtype_from_safetensors(std::string_view name) {
  for (const auto& [known, dtype] : kDtypes) {
    if (known == name) return dtype;
  }
  return std::nullopt;
}

std::string_view safetensors_dtype(at::ScalarType dtype) {
  for (const auto& [name, known] : kDtypes) {
    if (known == dtype) return name;
  }
  throw Error(Code::unsupported, cat("safetensors files have no dtype for ", c10::toString(dtype)));
}

std::vector<TensorEntry> parse_safetensors_header(std::string_view json, int64_t data_bytes) {
  HeaderSax sax;
  sax.parse(json);
  std::vector<TensorEntry> entries = sax.take();
  check_ranges(entries, data_bytes);
  return entries;
}

std::string build_safetensors_header(const std::vector<TensorEntry>& entries,
                                     const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  if (!metadata.empty()) json["__metadata__"] = metadata;
  // Entry by entry and not through one ordered_json, whose insertion searches all earlier keys.
  std::string text = json.dump();
  text.pop_back();
  for (const TensorEntry& entry : entries) {
    if (text.size() > 1) text += ',';
    const nlohmann::ordered_json value = {{"dtype", safetensors_dtype(entry.dtype)},
                                          {"shape", entry.shape},
                                          {"data_offsets", {entry.begin, entry.end}}};
    text += nlohmann::json(entry.name).dump() + ':' + value.dump();
  }
  text += '}';
  text.resize((text.size() + 7) / 8 * 8, ' ');
  TESSERA_CHECK(static_cast<int64_t>(text.size()) <= kMaxHeaderBytes, unsupported, "a safetensors header of ",
                text.size(), " bytes is above the limit of ", kMaxHeaderBytes);
  std::string out(8, '\0');
  for (int i = 0; i < 8; ++i) out[i] = static_cast<char>(text.size() >> (8 * i));
  return out + text;
}

std::map<std::string, std::string> parse_weight_map(std::string_view json) {
  WeightMapSax sax;
  sax.parse(json);
  TESSERA_CHECK(sax.found, format, "no weight_map");
  return std::move(sax.files);
}

}  // namespace tessera
