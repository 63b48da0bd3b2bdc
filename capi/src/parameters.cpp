// tessera/trainer.h: weights and gradients by name, and the program.
#include "schedule/program.h"
#include "trainer_work.h"

using namespace tessera::capi;  // NOLINT: entry points live in the global namespace

namespace {

auto start_get_parameter(tessera_trainer trainer, const char* name) {
  TESSERA_NOT_NULL(name);
  return start_work<at::Tensor>(
      find<TrainerObject>(trainer, "trainer"),
      [name = std::string(name)](TrainerObject& self) { return self.trainer->parameter(name); });
}

auto start_get_gradient(tessera_trainer trainer, const char* name) {
  TESSERA_NOT_NULL(name);
  return start_work<at::Tensor>(
      find<TrainerObject>(trainer, "trainer"),
      [name = std::string(name)](TrainerObject& self) { return self.trainer->gradient(name); });
}

auto start_set_parameter(tessera_trainer trainer, const char* name, tessera_tensor tensor) {
  TESSERA_NOT_NULL(name);
  const auto object = find<TrainerObject>(trainer, "trainer");
  const auto value = find<TensorObject>(tensor, "tensor");
  return start_work<Nothing>(object, [name = std::string(name), value](TrainerObject& self) {
    self.trainer->set_parameter(name, value->tensor);
    return Nothing{};
  });
}

void give_tensor(at::Tensor tensor, tessera_tensor* out) {
  give(std::make_shared<TensorObject>(TensorObject{std::move(tensor)}), out);
}

}  // namespace

tessera_status tessera_trainer_count_parameters(tessera_trainer trainer, int64_t* out_count,
                                                tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_count);
    *out_count = static_cast<int64_t>(find<TrainerObject>(trainer, "trainer")->names.size());
  });
}

tessera_status tessera_trainer_get_parameter_name(tessera_trainer trainer, int64_t index, char* buf,
                                                  size_t cap, size_t* out_len, tessera_error* err) {
  return guard(err, [&] {
    check_buffer(buf, cap, out_len);
    const auto object = find<TrainerObject>(trainer, "trainer");
    const auto& names = object->names;
    TESSERA_CHECK(index >= 0 && index < static_cast<int64_t>(names.size()), argument, "index=", index,
                  " is not below the ", names.size(), " parameters");
    write_text(names[static_cast<size_t>(index)], buf, cap, out_len);
  });
}

tessera_status tessera_trainer_get_parameter(tessera_trainer trainer, const char* name,
                                             tessera_tensor* out_tensor, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_tensor);
    give_tensor(finish(start_get_parameter(trainer, name)), out_tensor);
  });
}

tessera_status tessera_trainer_get_parameter_async(tessera_trainer trainer, const char* name,
                                                   tessera_future* out_future, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_future);
    give_future(start_get_parameter(trainer, name), out_future);
  });
}

tessera_status tessera_trainer_get_gradient(tessera_trainer trainer, const char* name,
                                            tessera_tensor* out_tensor, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_tensor);
    give_tensor(finish(start_get_gradient(trainer, name)), out_tensor);
  });
}

tessera_status tessera_trainer_get_gradient_async(tessera_trainer trainer, const char* name,
                                                  tessera_future* out_future, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_future);
    give_future(start_get_gradient(trainer, name), out_future);
  });
}

tessera_status tessera_trainer_set_parameter(tessera_trainer trainer, const char* name, tessera_tensor tensor,
                                             tessera_error* err) {
  return guard(err, [&] { finish(start_set_parameter(trainer, name, tensor)); });
}

tessera_status tessera_trainer_set_parameter_async(tessera_trainer trainer, const char* name,
                                                   tessera_tensor tensor, tessera_future* out_future,
                                                   tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_future);
    give_future(start_set_parameter(trainer, name, tensor), out_future);
  });
}

tessera_status tessera_trainer_get_program(tessera_trainer trainer, int64_t microbatches, char* buf,
                                           size_t cap, size_t* out_len, tessera_error* err) {
  return guard(err, [&] {
    check_buffer(buf, cap, out_len);
    const auto object = find<TrainerObject>(trainer, "trainer");
    constexpr int64_t kMost = 1 << 16;
    TESSERA_CHECK(microbatches >= 1 && microbatches <= kMost, argument, "microbatches=", microbatches,
                  " must be between 1 and ", kMost);
    const auto lease = object->use.lease("trainer");
    write_text(tessera::to_text(object->trainer->program(microbatches)), buf, cap, out_len);
  });
}
