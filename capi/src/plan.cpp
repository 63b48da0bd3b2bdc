// tessera/plan.h
#include "train/plan.h"

#include "objects.h"
#include "schedule/timeline_draw.h"
#include "structs.h"
#include "train/plan_search.h"
#include "train/plan_timeline.h"
#include "train/recipe.h"

using namespace tessera::capi;  // NOLINT: entry points live in the global namespace

namespace {

void check_world(int64_t world_size) {
  TESSERA_CHECK(world_size >= 1 && world_size <= INT32_MAX, argument, "world_size=", world_size,
                " must be at least 1 and fit into 32 bits");
}

tessera::TrainingPlan plan_of(const ModelObject& model, const ConfigObject& config, int64_t world_size) {
  check_world(world_size);
  const tessera::Config values = config.snapshot();
  const tessera::Mesh mesh(tessera::mesh_spec(values), static_cast<int>(world_size));
  return tessera::plan_training(model.snapshot(), tessera::trainer_options(values), mesh,
                                tessera::step_shape(values, mesh));
}

std::string summary(const ModelObject& model, const ConfigObject& config, int64_t world_size) {
  const tessera::TrainingPlan plan = plan_of(model, config, world_size);
  const tessera::Config values = config.snapshot();
  if (!values.has("cluster")) return to_text(plan);
  const tessera::Cluster cluster = tessera::plan_cluster(values, world_size);
  const tessera::TrainerOptions options = tessera::trainer_options(values);
  return to_text(plan) + to_text(time_plan(plan, model.config, options, cluster), cluster);
}

std::string search(const ModelObject& model, const ConfigObject& config, int64_t world_size, bool json) {
  check_world(world_size);
  const tessera::Config values = config.snapshot();
  const tessera::SearchReport report = search_plans(model.config, tessera::search_options(values, world_size),
                                                    tessera::plan_cluster(values, world_size));
  return json ? to_json(report) : to_text(report);
}

std::string text_of(const ModelObject& model, const ConfigObject& config, int64_t world_size, int32_t part) {
  switch (part) {
    case TESSERA_PLAN_PROGRAM:
      return to_text(plan_of(model, config, world_size).program);
    case TESSERA_PLAN_SEARCH:
    case TESSERA_PLAN_SEARCH_JSON:
      return search(model, config, world_size, part == TESSERA_PLAN_SEARCH_JSON);
    default:
      return summary(model, config, world_size);
  }
}

std::string draw(const tessera::TrainingPlan& plan, const tessera_timeline_options& options) {
  tessera::TimelineRates rates;
  if (options.backward != 0) rates.backward = options.backward;
  rates.collective = options.collective;
  rates.transfer = options.transfer;
  const tessera::Timeline timeline = tessera::plan_timeline(plan, rates);
  const std::string title = tessera::timeline_title(plan, rates);
  switch (options.format) {
    case TESSERA_TIMELINE_SVG:
      return tessera::draw_svg(timeline, title);
    case TESSERA_TIMELINE_TRACE:
      return tessera::draw_trace(timeline);
    default:
      return title + "\n" +
             tessera::draw_text(timeline, options.columns == 0 ? 100 : options.columns,
                                options.format == TESSERA_TIMELINE_COLOUR);
  }
}

}  // namespace

tessera_status tessera_plan_get_text(tessera_model model, tessera_config config, int64_t world_size,
                                     int32_t part, char* buf, size_t cap, size_t* out_len,
                                     tessera_error* err) {
  return guard(err, [&] {
    check_buffer(buf, cap, out_len);
    const auto model_object = find<ModelObject>(model, "model");
    const auto config_object = find<ConfigObject>(config, "config");
    TESSERA_CHECK(part >= TESSERA_PLAN_SUMMARY && part <= TESSERA_PLAN_SEARCH_JSON, argument, "part=", part,
                  " is not a tessera_plan_part");
    // A search takes work, and a measured cluster is another one each time: whoever asks for the size first
    // gets the text of that size.
    const std::string question =
        tessera::cat(model.id, " ", world_size, " ", part, "\n", config_object->snapshot().to_yaml());
    std::string text;
    {
      const std::lock_guard lock(config_object->kept_mutex);
      if (config_object->kept.question == question) text = config_object->kept.text;
    }
    if (text.empty()) text = text_of(*model_object, *config_object, world_size, part);
    const std::lock_guard lock(config_object->kept_mutex);
    config_object->kept = {question, text};
    write_text(text, buf, cap, out_len);
    config_object->kept = {};
  });
}

tessera_status tessera_timeline_options_init(tessera_timeline_options* options, size_t struct_size) {
  return init_struct(options, struct_size, tessera_timeline_options{});
}

tessera_status tessera_plan_get_timeline(tessera_model model, tessera_config config, int64_t world_size,
                                         const tessera_timeline_options* options, char* buf, size_t cap,
                                         size_t* out_len, tessera_error* err) {
  return guard(err, [&] {
    check_buffer(buf, cap, out_len);
    const auto model_object = find<ModelObject>(model, "model");
    const auto config_object = find<ConfigObject>(config, "config");
    const tessera_timeline_options given = read_options(options, "tessera_timeline_options");
    TESSERA_CHECK(given.format >= TESSERA_TIMELINE_TEXT && given.format <= TESSERA_TIMELINE_TRACE, argument,
                  "format=", given.format, " is not a tessera_timeline_format");
    write_text(draw(plan_of(*model_object, *config_object, world_size), given), buf, cap, out_len);
  });
}
