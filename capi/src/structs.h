// The rules for structs that start with struct_size, and for text and arrays out.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "firewall.h"

namespace tessera::capi {

/// The library's own copy of a caller's options: fields that an older caller does not know are zero, and a
/// newer caller's unknown rest must be zero. `options` may be null: all defaults.
template <class Options>
Options read_options(const Options* options, const char* name) {
  Options copy{};
  copy.struct_size = sizeof(Options);
  if (options == nullptr) return copy;
  const size_t size = options->struct_size;
  TESSERA_CHECK(size >= sizeof(size_t), argument, name, ".struct_size=", size, ", call ", name,
                "_init first");
  TESSERA_CHECK(size <= size_t{1} << 16, argument, name, ".struct_size=", size, " is too large");
  const auto* bytes = reinterpret_cast<const unsigned char*>(options);
  for (size_t i = sizeof(Options); i < size; ++i) {
    TESSERA_CHECK(bytes[i] == 0, unsupported, name,
                  " has fields that this version of the library does not know");
  }
  std::memcpy(&copy, options, std::min(size, sizeof(Options)));
  copy.struct_size = sizeof(Options);
  return copy;
}

/// Writes as much of `value` as the caller's struct has room for; the rest of a larger struct becomes zero.
template <class Struct>
void write_struct(Struct* out, const Struct& value) {
  const size_t size = out->struct_size;
  std::memcpy(out, &value, std::min(size, sizeof(Struct)));
  if (size > sizeof(Struct))
    std::memset(reinterpret_cast<unsigned char*>(out) + sizeof(Struct), 0, size - sizeof(Struct));
  out->struct_size = size;
}

/// Checks a struct that will be written, before any work is done.
template <class Struct>
void check_out_struct(const Struct* out, const char* name) {
  const size_t size = out->struct_size;
  TESSERA_CHECK(size >= sizeof(size_t) && size <= size_t{1} << 16, argument, name, ".struct_size=", size,
                ", call its init function first");
}

/// The body of every `_init` function.
template <class Struct>
tessera_status init_struct(Struct* out, size_t struct_size, const Struct& defaults) noexcept {
  return guard(nullptr, [&] {
    TESSERA_CHECK(out != nullptr && struct_size >= sizeof(size_t) && struct_size <= size_t{1} << 16, argument,
                  "struct_size=", struct_size);
    out->struct_size = struct_size;
    write_struct(out, defaults);
  });
}

inline void check_buffer(const void* buf, size_t cap, const size_t* out_len) {
  TESSERA_NOT_NULL(out_len);
  TESSERA_CHECK(buf != nullptr || cap == 0, argument, "buf is null but cap=", cap);
}

inline void write_text(std::string_view text, char* buf, size_t cap, size_t* out_len) {
  *out_len = text.size();
  TESSERA_CHECK(cap > text.size(), buffer, "cap=", cap, " is too small for ", text.size(),
                " bytes and a NUL");
  std::memcpy(buf, text.data(), text.size());
  buf[text.size()] = '\0';
}

template <class To, class From>
void write_array(std::span<const From> values, To* buf, size_t cap, size_t* out_len) {
  *out_len = values.size();
  TESSERA_CHECK(cap >= values.size(), buffer, "cap=", cap, " is too small for ", values.size(), " elements");
  std::copy(values.begin(), values.end(), buf);
}
template <class To, class From>
void write_array(const std::vector<From>& values, To* buf, size_t cap, size_t* out_len) {
  write_array(std::span<const From>(values), buf, cap, out_len);
}

/// For text in: a null pointer is an error that names the parameter.
inline std::string_view text_in(const char* text, const char* name) {
  TESSERA_CHECK(text != nullptr, argument, name, " is null");
  return text;
}

inline bool flag_in(int32_t value, const char* name) {
  TESSERA_CHECK(value == 0 || value == 1, argument, name, "=", value, " is not 0 or 1");
  return value == 1;
}

}  // namespace tessera::capi
