// The one exception type of the library, and the checks that throw it.
#pragma once

#include <cstdint>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>

namespace tessera {

/// Status codes; the numbers are those of tessera_status in the C header and are never renumbered.
enum class Code : int32_t {
  ok = 0,
  argument = 1,             ///< a value that the call cannot accept
  handle_null = 2,
  handle_stale = 3,
  handle_type = 4,
  buffer = 5,               ///< the caller's buffer is too small; the needed size is reported
  busy = 6,                 ///< a one-at-a-time object is in use by another thread
  timeout = 7,
  cancelled = 8,
  peer_failed = 9,          ///< another rank died, left or reported an error
  collective_mismatch = 10, ///< ranks called different collectives
  io = 11,
  format = 12,              ///< a file or text that breaks its format
  not_found = 13,
  unsupported = 14,
  out_of_memory = 15,
  numeric = 16,             ///< NaN or infinity where a finite number is needed
  end = 17,                 ///< no more data or events
  state = 18,               ///< the object is not in a state that allows the call
  forked = 19,              ///< the handle was made before fork()
  device = 20,
  internal = 21,
};

enum class Domain : int32_t { none = 0, os = 1, cuda = 2, nccl = 3, torch = 4 };

/// Joins its arguments into one string: cat("tp=", 3, " does not divide n_heads=", 32).
template <class... Parts>
std::string cat(Parts&&... parts) {
  std::ostringstream out;
  (out << ... << std::forward<Parts>(parts));
  return out.str();
}

/// What the library throws. `rank` is the rank that failed first, or -1 when that is this rank or unknown.
/// Messages are one line, lower case, without a final period, and name the argument and its value.
class Error : public std::runtime_error {
 public:
  Error(Code code, const std::string& message, int rank = -1, Domain domain = Domain::none, int native = 0)
      : std::runtime_error(message), code_(code), domain_(domain), native_(native), rank_(rank) {}

  Code code() const { return code_; }
  Domain domain() const { return domain_; }
  int native() const { return native_; }
  int rank() const { return rank_; }

 private:
  Code code_;
  Domain domain_;
  int native_;
  int rank_;
};

/// An Error with code io and the text of `errnum`.
Error os_error(const std::string& what, int errnum);

}  // namespace tessera

/// TESSERA_CHECK(heads % tp == 0, argument, "tp=", tp, " does not divide n_heads=", heads);
#define TESSERA_CHECK(condition, code_name, ...)                                                \
  do {                                                                                          \
    if (!(condition)) throw ::tessera::Error(::tessera::Code::code_name, ::tessera::cat(__VA_ARGS__)); \
  } while (0)
