// All settings by key and text value.
#ifndef TESSERA_CPP_CONFIG_HPP
#define TESSERA_CPP_CONFIG_HPP

#include <cstdint>
#include <string>
#include <vector>

#include "tessera/config.h"
#include "tessera/cpp/handle.hpp"

namespace tessera {
inline namespace cpp0 {

/// Settings; a key that is not set has its default.
class Config : public detail::Handle<tessera_config, tessera_config_destroy> {
   public:
    Config() { detail::call(tessera_config_create, out()); }
    Config &set(const std::string &key, const std::string &value) {
        detail::call(tessera_config_set, Handle::get(), key.c_str(), value.c_str());
        return *this;
    }
    Config &load(const std::string &path) {
        detail::call(tessera_config_load, Handle::get(), path.c_str());
        return *this;
    }
    Config &load_text(const std::string &yaml) {
        detail::call(tessera_config_load_text, Handle::get(), yaml.c_str());
        return *this;
    }
    std::string text(const std::string &key) const {
        return detail::read_text(tessera_config_get, Handle::get(), key.c_str());
    }
    std::string yaml() const { return detail::read_text(tessera_config_get_text, Handle::get()); }
};

/// What is known of a key, by its name.
inline tessera_key_info describe_key(const std::string &key) {
    tessera_key_info info = detail::initialised(tessera_key_info_init);
    detail::call(tessera_key_describe, key.c_str(), &info);
    return info;
}
inline std::vector<tessera_key_info> keys() {
    std::int64_t count = 0;
    detail::call(tessera_key_count, &count);
    std::vector<tessera_key_info> out;
    for (std::int64_t i = 0; i < count; ++i) {
        out.push_back(detail::initialised(tessera_key_info_init));
        detail::call(tessera_key_get, i, &out.back());
    }
    return out;
}

}  // namespace cpp0
}  // namespace tessera

#endif  // TESSERA_CPP_CONFIG_HPP
