// tessera/plan.h
#include "train/plan.h"

#include "objects.h"
#include "train/recipe.h"

using namespace tessera::capi;  // NOLINT: entry points live in the global namespace

tessera_status tessera_plan_get_text(tessera_model model, tessera_config config, int64_t world_size,
                                     int32_t part, char* buf, size_t cap, size_t* out_len,
                                     tessera_error* err) {
  return guard(err, [&] {
    check_buffer(buf, cap, out_len);
    const auto model_object = find<ModelObject>(model, "model");
    const auto config_object = find<ConfigObject>(config, "config");
    TESSERA_CHECK(part == TESSERA_PLAN_SUMMARY || part == TESSERA_PLAN_PROGRAM, argument, "part=", part,
                  " is not a tessera_plan_part");
    TESSERA_CHECK(world_size >= 1 && world_size <= INT32_MAX, argument, "world_size=", world_size,
                  " must be at least 1 and fit into 32 bits");
    const tessera::Config values = config_object->snapshot();
    const tessera::Mesh mesh(tessera::mesh_spec(values), static_cast<int>(world_size));
    const tessera::TrainingPlan plan = tessera::plan_training(
        model_object->config, tessera::trainer_options(values), mesh, tessera::step_shape(values, mesh));
    write_text(part == TESSERA_PLAN_SUMMARY ? to_text(plan) : to_text(plan.program), buf, cap, out_len);
  });
}
