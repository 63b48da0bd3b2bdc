// tessera/model.h
#include "models/model.h"

#include "models/plugin.h"
#include "models/tp_plan.h"
#include "objects.h"

using namespace tessera::capi;  // NOLINT: entry points live in the global namespace

namespace {

using Families = std::vector<const tessera::Family*>;

void open(const char* directory, const Families& families, tessera_model* out_model) {
  TESSERA_CHECK(*directory != '\0', argument, "directory is empty");
  auto object = std::make_shared<ModelObject>();
  object->config = tessera::load_model_config(directory, families);
  object->directory = directory;
  give(std::move(object), out_model);
}

void create(const char* config_json, const Families& families, tessera_model* out_model) {
  auto object = std::make_shared<ModelObject>();
  object->config = tessera::parse_model_config(config_json, families);
  give(std::move(object), out_model);
}

}  // namespace

tessera_status tessera_model_open(const char* directory, tessera_model* out_model, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(directory);
    TESSERA_NOT_NULL(out_model);
    open(directory, {}, out_model);
  });
}

tessera_status tessera_model_create(const char* config_json, tessera_model* out_model, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(config_json);
    TESSERA_NOT_NULL(out_model);
    create(config_json, {}, out_model);
  });
}

tessera_status tessera_model_open_plugin(const char* directory, const char* plugin, tessera_model* out_model,
                                         tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(directory);
    TESSERA_NOT_NULL(plugin);
    TESSERA_NOT_NULL(out_model);
    open(directory, tessera::load_model_plugin(plugin), out_model);
  });
}

tessera_status tessera_model_create_plugin(const char* config_json, const char* plugin,
                                           tessera_model* out_model, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(config_json);
    TESSERA_NOT_NULL(plugin);
    TESSERA_NOT_NULL(out_model);
    create(config_json, tessera::load_model_plugin(plugin), out_model);
  });
}

tessera_status tessera_model_destroy(tessera_model model) {
  return destroy<ModelObject>(model);
}

tessera_status tessera_model_get_text(tessera_model model, char* buf, size_t cap, size_t* out_len,
                                      tessera_error* err) {
  return guard(err, [&] {
    check_buffer(buf, cap, out_len);
    write_text(find<ModelObject>(model, "model")->config.raw, buf, cap, out_len);
  });
}

tessera_status tessera_model_get_parameter_count(tessera_model model, int64_t* out_count,
                                                 tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_count);
    const auto object = find<ModelObject>(model, "model");
    int64_t count = 0;
    for (const auto& unit : tessera::build_units(object->config, {})) {
      for (const auto& param : unit->params()) {
        int64_t elements = 1;
        for (const int64_t size : param.shape) elements *= size;
        count += elements;
      }
    }
    *out_count = count;
  });
}

tessera_status tessera_model_set_tp_plan(tessera_model model, const char* name, const char* plan,
                                         tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(name);
    TESSERA_NOT_NULL(plan);
    const auto object = find<ModelObject>(model, "model");
    const std::lock_guard lock(object->mutex);
    tessera::register_tp_plan(object->tp_plans, name, plan);
  });
}
