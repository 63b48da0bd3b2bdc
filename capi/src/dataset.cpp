// tessera/dataset.h
#include <nlohmann/json.hpp>

#include "arrow_rows.h"
#include "pushed_dataset.h"

#include "objects.h"
#include "structs.h"
#include "train/recipe.h"

using namespace tessera::capi;  // NOLINT: entry points live in the global namespace
using tessera::DatasetOptions;

namespace {

DatasetOptions read_dataset_options(tessera_config config, tessera_mesh mesh, tessera_model model) {
  const tessera::Config values = find<ConfigObject>(config, "config")->snapshot();
  const auto mesh_object = find_optional<MeshObject>(mesh, "mesh");
  const auto model_object = find_optional<ModelObject>(model, "model");
  int64_t dp_rank = 0;
  int64_t dp_size = 1;
  int64_t replica = 0;
  if (mesh_object != nullptr) {
    dp_rank = mesh_object->mesh->index("dp");
    dp_size = mesh_object->mesh->size("dp");
    const tessera::Mesh& layout = mesh_object->mesh->layout();
    const auto dp = tessera::submesh_axes("dp");
    for (int rank = 0; rank < mesh_object->mesh->rank(); ++rank)
      replica += layout.group_index(rank, dp) == dp_rank ? 1 : 0;
  }
  DatasetOptions options = tessera::dataset_options(values, dp_rank, dp_size);
  options.replica = replica;
  if (mesh_object != nullptr && values.flag("data.pad_cp")) options.cp = mesh_object->mesh->size("cp");
  if (model_object != nullptr) {
    options.vocab_size = model_object->config.vocab_size;
    if (options.tokenizer.empty()) options.tokenizer = model_object->directory;
  }
  return options;
}

PushedDataset& pushed(DatasetObject& object) {
  TESSERA_CHECK(object.pushed != nullptr, state,
                "the dataset reads files: only tessera_dataset_create makes one "
                "that documents are pushed into");
  return *object.pushed;
}

std::string report_text(const tessera::DatasetReport& report) {
  nlohmann::json sources = nlohmann::json::array();
  for (const tessera::SourceReport& source : report.sources) {
    sources.push_back({{"name", source.name},
                       {"documents", source.documents},
                       {"tokens", source.tokens},
                       {"draws", source.draws}});
  }
  const nlohmann::json json = {{"documents", report.documents},
                               {"tokens", report.tokens},
                               {"label_tokens", report.labels},
                               {"rows", report.rows},
                               {"lower_bound", report.lower_bound},
                               {"efficiency", report.efficiency},
                               {"pack_seconds", report.pack_seconds},
                               {"bad_rows", report.bad_rows},
                               {"dropped", report.dropped},
                               {"truncated", report.truncated},
                               {"split", report.split},
                               {"unlabelled", report.unlabelled},
                               {"sources", std::move(sources)}};
  // Names of files need not be UTF-8.
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

tessera_status tessera_dataset_open(tessera_config config, tessera_mesh mesh, tessera_model model,
                                    tessera_dataset* out_dataset, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_dataset);
    const DatasetOptions options = read_dataset_options(config, mesh, model);
    TESSERA_CHECK(!options.paths.empty(), argument, "data.path is not set");
    auto object = std::make_shared<DatasetObject>();
    object->dataset = tessera::open_dataset(options);
    give(std::move(object), out_dataset);
  });
}

tessera_status tessera_dataset_create(tessera_config config, tessera_mesh mesh, tessera_model model,
                                      tessera_dataset* out_dataset, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_dataset);
    auto made = std::make_unique<PushedDataset>(read_dataset_options(config, mesh, model));
    auto object = std::make_shared<DatasetObject>();
    object->pushed = made.get();
    object->dataset = std::move(made);
    give(std::move(object), out_dataset);
  });
}

tessera_status tessera_dataset_destroy(tessera_dataset dataset) {
  return destroy<DatasetObject>(dataset);
}

tessera_status tessera_dataset_push(tessera_dataset dataset, const int64_t* tokens, const int64_t* labels,
                                    int64_t count, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(tokens);
    const auto object = find<DatasetObject>(dataset, "dataset");
    const auto lease = object->use.lease("dataset");
    TESSERA_CHECK(count >= 1, argument, "count=", count, " must be at least 1");
    const auto length = static_cast<size_t>(count);
    pushed(*object).push({tokens, length}, {labels == nullptr ? tokens : labels, length});
  });
}

tessera_status tessera_dataset_push_end(tessera_dataset dataset, tessera_error* err) {
  return guard(err, [&] {
    const auto object = find<DatasetObject>(dataset, "dataset");
    const auto lease = object->use.lease("dataset");
    pushed(*object).end();
  });
}

tessera_status tessera_dataset_next(tessera_dataset dataset, tessera_batch* out_batch, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_batch);
    const auto object = find<DatasetObject>(dataset, "dataset");
    const auto lease = object->use.lease("dataset");
    auto batch = std::make_shared<BatchObject>();
    TESSERA_CHECK(object->dataset->next(batch->microbatches), end, "the data is used up");
    give(std::move(batch), out_batch);
  });
}

tessera_status tessera_dataset_get_state(tessera_dataset dataset, char* buf, size_t cap, size_t* out_len,
                                         tessera_error* err) {
  return guard(err, [&] {
    check_buffer(buf, cap, out_len);
    const auto object = find<DatasetObject>(dataset, "dataset");
    const auto lease = object->use.lease("dataset");
    write_text(object->dataset->state(), buf, cap, out_len);
  });
}

tessera_status tessera_dataset_set_state(tessera_dataset dataset, const char* state, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(state);
    const auto object = find<DatasetObject>(dataset, "dataset");
    const auto lease = object->use.lease("dataset");
    object->dataset->restore(state);
  });
}

tessera_status tessera_dataset_count_steps(tessera_dataset dataset, int64_t* out_steps, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_steps);
    const auto object = find<DatasetObject>(dataset, "dataset");
    const auto lease = object->use.lease("dataset");
    *out_steps = object->dataset->steps_per_epoch();
  });
}

tessera_status tessera_dataset_get_report(tessera_dataset dataset, char* buf, size_t cap, size_t* out_len,
                                          tessera_error* err) {
  return guard(err, [&] {
    check_buffer(buf, cap, out_len);
    const auto object = find<DatasetObject>(dataset, "dataset");
    const auto lease = object->use.lease("dataset");
    write_text(report_text(object->dataset->report()), buf, cap, out_len);
  });
}

tessera_status tessera_dataset_get_lengths(tessera_dataset dataset, int64_t* buf, size_t cap, size_t* out_len,
                                           tessera_error* err) {
  return guard(err, [&] {
    check_buffer(buf, cap, out_len);
    const auto object = find<DatasetObject>(dataset, "dataset");
    const auto lease = object->use.lease("dataset");
    write_array(object->dataset->lengths(), buf, cap, out_len);
  });
}

tessera_status tessera_dataset_push_arrow(tessera_dataset dataset, void* schema, void* array,
                                          tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(schema);
    TESSERA_NOT_NULL(array);
    const auto object = find<DatasetObject>(dataset, "dataset");
    const ArrowOwner schema_owner(static_cast<ArrowSchema*>(schema));
    const ArrowOwner array_owner(static_cast<ArrowArray*>(array));
    const auto lease = object->use.lease("dataset");
    pushed(*object).push(
        rows_of_arrow(*static_cast<const ArrowSchema*>(schema), *static_cast<const ArrowArray*>(array)));
  });
}
