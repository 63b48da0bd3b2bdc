// A strict JSON event reader: what the parsers of hostile checkpoint files derive from.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "core/error.h"
#include "core/json_depth.h"

namespace tessera {

/// Turns nlohmann's events into four: scalar, key, open and close. Nothing is stored and nothing recurses, so
/// memory is bounded by what the derived class keeps, whatever the text says.
class StrictSax : public nlohmann::json_sax<nlohmann::json> {
 public:
  /// Reads all of `text`, which must be one JSON value and nothing else but trailing white space.
  void parse(std::string_view text);

 protected:
  enum class Kind { null, boolean, integer, too_large, real, string };
  struct Scalar {
    Kind kind;
    int64_t integer = 0;
    std::string* text = nullptr;
  };

  virtual void on_scalar(const Scalar& value) = 0;
  virtual void on_key(std::string& name) = 0;
  virtual void on_open(bool array) = 0;
  virtual void on_close() = 0;

 private:
  bool null() final { return scalar({Kind::null}); }
  bool boolean(bool) final { return scalar({Kind::boolean}); }
  bool number_integer(number_integer_t value) final { return scalar({Kind::integer, value}); }
  bool number_unsigned(number_unsigned_t value) final {
    if (value > INT64_MAX) return scalar({Kind::too_large});
    return scalar({Kind::integer, static_cast<int64_t>(value)});
  }
  bool number_float(number_float_t, const string_t&) final { return scalar({Kind::real}); }
  bool string(string_t& value) final { return scalar({Kind::string, 0, &value}); }
  bool binary(binary_t&) final { return false; }
  bool start_object(std::size_t) final { return open(false); }
  bool end_object() final { return close(); }
  bool start_array(std::size_t) final { return open(true); }
  bool end_array() final { return close(); }
  bool key(string_t& name) final {
    on_key(name);
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) final {
    throw Error(Code::format, cat("not valid json at byte ", position));
  }

  bool scalar(const Scalar& value) {
    on_scalar(value);
    return true;
  }
  bool open(bool array) {
    on_open(array);
    return true;
  }
  bool close() {
    on_close();
    return true;
  }
};

}  // namespace tessera
