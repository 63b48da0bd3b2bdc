// The C ABI as C++ values: handles that destroy themselves, statuses that throw, text that is a std::string.
#pragma once

#include <tessera/tessera.h>

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace cli {

/// A failed call of the library, or a mistake on the command line.
class Failure : public std::runtime_error {
 public:
  explicit Failure(const std::string& message, tessera_status status = TESSERA_E_ARGUMENT, int rank = -1)
      : std::runtime_error(message), status_(status), rank_(rank) {}
  tessera_status status() const { return status_; }
  int rank() const { return rank_; }  ///< the rank that failed first, or -1

 private:
  tessera_status status_;
  int rank_;
};

/// Calls `function(arguments..., &error)` and throws what it reports. Returns the status for those that are
/// not failures: check_or(TESSERA_E_END, ...) passes TESSERA_E_END through.
template <class Function, class... Arguments>
tessera_status check_or(tessera_status accepted, Function function, Arguments... arguments) {
  tessera_error error{};
  const tessera_status status = function(arguments..., &error);
  if (status != TESSERA_OK && status != accepted) throw Failure(error.message, status, error.rank);
  return status;
}
template <class Function, class... Arguments>
void check(Function function, Arguments... arguments) {
  check_or(TESSERA_OK, function, arguments...);
}

/// Reads text through the (buf, cap, &len) convention: `call(buf, cap, &len, &error)`.
template <class Call>
std::string read_text(Call call) {
  std::string text(256, '\0');
  for (;;) {
    size_t length = 0;
    tessera_error error{};
    const tessera_status status = call(text.data(), text.size(), &length, &error);
    if (status == TESSERA_OK) {
      text.resize(length);
      return text;
    }
    if (status != TESSERA_E_BUFFER) throw Failure(error.message, status, error.rank);
    text.resize(length + 1);
  }
}

/// Owns one handle.
template <class T, tessera_status (*destroy)(T)>
class Handle {
 public:
  Handle() = default;
  Handle(Handle&& other) noexcept : value_(std::exchange(other.value_, T{0})) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(value_, other.value_);
    return *this;
  }
  ~Handle() {
    if (value_.id) destroy(value_);
  }

  T get() const { return value_; }
  /// For an output argument; the handle must be empty.
  T* out() { return &value_; }

 private:
  T value_{0};
};

using Config = Handle<tessera_config, tessera_config_destroy>;
using World = Handle<tessera_world, tessera_world_destroy>;
using Mesh = Handle<tessera_mesh, tessera_mesh_destroy>;
using Model = Handle<tessera_model, tessera_model_destroy>;
using Dataset = Handle<tessera_dataset, tessera_dataset_destroy>;
using Batch = Handle<tessera_batch, tessera_batch_destroy>;
using Trainer = Handle<tessera_trainer, tessera_trainer_destroy>;

inline std::string config_get(tessera_config config, const char* key) {
  return read_text([&](char* buf, size_t cap, size_t* len, tessera_error* err) {
    return tessera_config_get(config, key, buf, cap, len, err);
  });
}

}  // namespace cli
