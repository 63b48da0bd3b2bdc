// tessera/config.h
#include "objects.h"

using namespace tessera::capi;  // NOLINT: entry points live in the global namespace
using tessera::Config;
using tessera::ConfigKey;
using tessera::recipe_keys;

namespace {

tessera_key_info to_c(const ConfigKey& key) {
  tessera_key_info info{};
  info.type = static_cast<int32_t>(key.type);
  info.has_min = std::isfinite(key.min) ? 1 : 0;
  info.has_max = std::isfinite(key.max) ? 1 : 0;
  info.min = info.has_min != 0 ? key.min : 0;
  info.max = info.has_max != 0 ? key.max : 0;
  copy_text(info.name, key.name);
  copy_text(info.default_value, key.default_value);
  copy_text(info.choices, tessera::join_list(key.choices));
  copy_text(info.doc, key.doc);
  return info;
}

}  // namespace

tessera_status tessera_key_info_init(tessera_key_info* info, size_t struct_size) {
  return init_struct(info, struct_size, tessera_key_info{});
}

tessera_status tessera_config_create(tessera_config* out_config, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_config);
    give(std::make_shared<ConfigObject>(), out_config);
  });
}

tessera_status tessera_config_destroy(tessera_config config) {
  return destroy<ConfigObject>(config);
}

tessera_status tessera_config_set(tessera_config config, const char* key, const char* value,
                                  tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(key);
    TESSERA_NOT_NULL(value);
    const auto object = find<ConfigObject>(config, "config");
    const std::lock_guard lock(object->mutex);
    object->config.set(key, value);
  });
}

tessera_status tessera_config_get(tessera_config config, const char* key, char* buf, size_t cap,
                                  size_t* out_len, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(key);
    check_buffer(buf, cap, out_len);
    write_text(find<ConfigObject>(config, "config")->snapshot().get(key), buf, cap, out_len);
  });
}

tessera_status tessera_config_load(tessera_config config, const char* path, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(path);
    const auto object = find<ConfigObject>(config, "config");
    const std::lock_guard lock(object->mutex);
    object->config.load_file(path);
  });
}

tessera_status tessera_config_load_text(tessera_config config, const char* yaml, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(yaml);
    const auto object = find<ConfigObject>(config, "config");
    const std::lock_guard lock(object->mutex);
    object->config.load_yaml(yaml);
  });
}

tessera_status tessera_config_get_text(tessera_config config, char* buf, size_t cap, size_t* out_len,
                                       tessera_error* err) {
  return guard(err, [&] {
    check_buffer(buf, cap, out_len);
    write_text(find<ConfigObject>(config, "config")->snapshot().to_yaml(), buf, cap, out_len);
  });
}

tessera_status tessera_key_count(int64_t* out_count, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_count);
    *out_count = static_cast<int64_t>(recipe_keys().keys().size());
  });
}

tessera_status tessera_key_get(int64_t index, tessera_key_info* out_info, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_info);
    check_out_struct(out_info, "out_info");
    const auto& keys = recipe_keys().keys();
    TESSERA_CHECK(index >= 0 && index < static_cast<int64_t>(keys.size()), argument, "index=", index,
                  " is not below the ", keys.size(), " keys");
    write_struct(out_info, to_c(keys[static_cast<size_t>(index)]));
  });
}

tessera_status tessera_key_describe(const char* key, tessera_key_info* out_info, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(key);
    TESSERA_NOT_NULL(out_info);
    check_out_struct(out_info, "out_info");
    write_struct(out_info, to_c(recipe_keys().find(key)));
  });
}
