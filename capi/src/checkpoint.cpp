// tessera/checkpoint.h
#include "trainer_work.h"

using namespace tessera::capi;  // NOLINT: entry points live in the global namespace

namespace {

std::string directory_in(const char* directory) {
  TESSERA_NOT_NULL(directory);
  TESSERA_CHECK(*directory != '\0', argument, "directory is empty");
  return directory;
}

auto start_save(tessera_trainer trainer, const char* directory, tessera_dataset dataset) {
  const std::string path = directory_in(directory);
  const auto object = find<TrainerObject>(trainer, "trainer");
  std::string data_state;
  if (const auto data = find_optional<DatasetObject>(dataset, "dataset")) {
    const auto lease = data->use.lease("dataset");
    data_state = data->dataset->state();
  }
  return start_work<Nothing>(object, [path, data_state](TrainerObject& self) {
    self.trainer->save_checkpoint(path, data_state);
    if (const auto queue = self.event_queue()) queue->push_checkpoint(self.rank(), path);
    return Nothing{};
  });
}

auto start_load(tessera_trainer trainer, const char* directory, tessera_dataset dataset) {
  const std::string path = directory_in(directory);
  const auto object = find<TrainerObject>(trainer, "trainer");
  const auto data = find_optional<DatasetObject>(dataset, "dataset");
  auto data_lease = data == nullptr ? Exclusive::Lease() : data->use.lease("dataset");
  // The dataset's lease travels with the work, which moves the dataset after the weights are in.
  auto shared_lease = std::make_shared<Exclusive::Lease>(std::move(data_lease));
  return start_work<Nothing>(object, [path, data, shared_lease](TrainerObject& self) {
    const std::string data_state = self.trainer->load_checkpoint(path);
    if (data != nullptr) {
      TESSERA_CHECK(!data_state.empty(), state, "checkpoint ", path, " holds no position of a dataset");
      data->dataset->restore(data_state);
    }
    return Nothing{};
  });
}

std::optional<at::ScalarType> dtype_in(const char* dtype) {
  if (dtype == nullptr) return std::nullopt;
  const std::string name = dtype;
  if (name == "fp32") return at::kFloat;
  if (name == "bf16") return at::kBFloat16;
  TESSERA_CHECK(name == "fp16", argument, "dtype=", name.substr(0, 32), " is not fp32, bf16 or fp16");
  return at::kHalf;
}

auto start_export(tessera_trainer trainer, const char* directory, const char* dtype) {
  const std::string path = directory_in(directory);
  const auto object = find<TrainerObject>(trainer, "trainer");
  return start_work<Nothing>(object, [path, type = dtype_in(dtype)](TrainerObject& self) {
    self.trainer->export_hf(path, type);
    return Nothing{};
  });
}

}  // namespace

tessera_status tessera_checkpoint_save(tessera_trainer trainer, const char* directory,
                                       tessera_dataset dataset, tessera_error* err) {
  return guard(err, [&] { finish(start_save(trainer, directory, dataset)); });
}

tessera_status tessera_checkpoint_save_async(tessera_trainer trainer, const char* directory,
                                             tessera_dataset dataset, tessera_future* out_future,
                                             tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_future);
    give_future(start_save(trainer, directory, dataset), out_future);
  });
}

tessera_status tessera_checkpoint_load(tessera_trainer trainer, const char* directory,
                                       tessera_dataset dataset, tessera_error* err) {
  return guard(err, [&] { finish(start_load(trainer, directory, dataset)); });
}

tessera_status tessera_checkpoint_load_async(tessera_trainer trainer, const char* directory,
                                             tessera_dataset dataset, tessera_future* out_future,
                                             tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_future);
    give_future(start_load(trainer, directory, dataset), out_future);
  });
}

tessera_status tessera_checkpoint_export(tessera_trainer trainer, const char* directory, const char* dtype,
                                         tessera_error* err) {
  return guard(err, [&] { finish(start_export(trainer, directory, dtype)); });
}

tessera_status tessera_checkpoint_export_async(tessera_trainer trainer, const char* directory,
                                               const char* dtype, tessera_future* out_future,
                                               tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_future);
    give_future(start_export(trainer, directory, dtype), out_future);
  });
}
