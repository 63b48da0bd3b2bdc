// A failed call as an exception.
#ifndef TESSERA_CPP_ERROR_HPP
#define TESSERA_CPP_ERROR_HPP

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>

#include "tessera/error.h"

namespace tessera {
inline namespace cpp0 {

/// A failed call. what() is the library's one line, which names the argument and its value.
class Error : public std::runtime_error {
   public:
    explicit Error(const tessera_error &error) : std::runtime_error(error.message), error_(error) {}
    Error(tessera_status code, const std::string &message, std::int32_t rank = -1)
        : std::runtime_error(message), error_() {
        error_.code = code;
        error_.rank = rank;
        std::strncpy(error_.message, message.c_str(), sizeof error_.message - 1);
    }
    tessera_status code() const noexcept { return error_.code; }
    const char *name() const noexcept { return tessera_status_name(error_.code); }  ///< "E_ARGUMENT"
    std::int32_t rank() const noexcept { return error_.rank; }  ///< the rank that failed first; -1: this one or unknown
    std::int32_t domain() const noexcept { return error_.domain; }  ///< a tessera_domain
    std::int32_t native_code() const noexcept { return error_.native_code; }

   private:
    tessera_error error_;
};

namespace detail {

/// Calls `function(arguments..., &error)`; returns true, or false for the one status that is no failure, or throws.
template <class Function, class... Arguments>
bool call_or(tessera_status accepted, Function function, Arguments... arguments) {
    tessera_error error = tessera_error();
    const tessera_status status = function(arguments..., &error);
    if (status != TESSERA_OK && status != accepted) throw Error(error);
    return status == TESSERA_OK;
}
template <class Function, class... Arguments>
void call(Function function, Arguments... arguments) {
    call_or(TESSERA_OK, function, arguments...);
}

}  // namespace detail

}  // namespace cpp0
}  // namespace tessera

#endif  // TESSERA_CPP_ERROR_HPP
