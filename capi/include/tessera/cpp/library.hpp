// The library itself: its version, live handles, and how much it logs.
#ifndef TESSERA_CPP_LIBRARY_HPP
#define TESSERA_CPP_LIBRARY_HPP

#include <cstdint>
#include <string>

#include "tessera/log.h"
#include "tessera/version.h"
#include "tessera/cpp/handle.hpp"

namespace tessera {
inline namespace cpp0 {

inline std::string version() { return tessera_version_string(); }
inline std::string build_info() { return detail::read_text(tessera_build_info); }
/// Throws when the library that runs is not one that this header can speak to.
inline void check_abi() {
    if (tessera_abi_version() != TESSERA_ABI_VERSION)
        throw Error(TESSERA_E_UNSUPPORTED, "the library's abi=" + std::to_string(tessera_abi_version()) +
                                               " is not the header's " + std::to_string(TESSERA_ABI_VERSION));
}
inline std::string status_text(tessera_status status) { return tessera_status_string(status); }
/// Live handles of a kind, to find leaks.
inline std::int64_t handle_count(std::int32_t kind = TESSERA_KIND_ANY) {
    std::int64_t count = 0;
    detail::call(tessera_handle_count, kind, &count);
    return count;
}
inline void set_log_level(std::int32_t level) { detail::call(tessera_log_set_level, level); }
inline std::int32_t log_level() {
    std::int32_t level = 0;
    detail::call(tessera_log_get_level, &level);
    return level;
}

}  // namespace cpp0
}  // namespace tessera

#endif  // TESSERA_CPP_LIBRARY_HPP
