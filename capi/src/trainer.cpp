// tessera/trainer.h: creation, steps, evaluation.
#include "train/trainer.h"

#include "train/recipe.h"
#include "trainer_work.h"

using namespace tessera::capi;  // NOLINT: entry points live in the global namespace
using tessera::GenerateOptions;
using tessera::PackedBatch;
using tessera::StepMetrics;
using tessera::Trainer;

namespace {

auto start_create(tessera_mesh mesh, tessera_model model, tessera_config config) {
  const auto mesh_object = find<MeshObject>(mesh, "mesh");
  const auto model_object = find<ModelObject>(model, "model");
  const auto config_object = find_optional<ConfigObject>(config, "config");
  const tessera::TrainerOptions options = tessera::trainer_options(
      config_object ? config_object->snapshot() : tessera::Config(tessera::recipe_keys()));
  return start<std::shared_ptr<TrainerObject>>(
      *mesh_object->world, mesh_object->use.lease("mesh"),
      [mesh_object, model_object, options, model_config = model_object->snapshot()] {
        auto object = std::make_shared<TrainerObject>();
        object->mesh = mesh_object;
        object->trainer =
            std::make_unique<Trainer>(mesh_object->mesh, model_config, model_object->directory, options);
        object->names = object->trainer->parameter_names();
        return object;
      });
}

std::vector<PackedBatch> microbatches_of(tessera_batch batch) {
  auto parts = find<BatchObject>(batch, "batch")->snapshot();
  TESSERA_CHECK(!parts.empty(), argument, "batch has no micro-batches");
  return parts;
}

void publish(TrainerObject& object, const StepMetrics& metrics) {
  if (const auto queue = object.event_queue()) queue->push_metrics(object.rank(), metrics);
}

auto start_step(tessera_trainer trainer, tessera_batch batch) {
  const auto object = find<TrainerObject>(trainer, "trainer");
  return start_work<StepMetrics>(object, [parts = microbatches_of(batch)](TrainerObject& self) {
    const StepMetrics metrics = self.trainer->step(parts);
    publish(self, metrics);
    return metrics;
  });
}

auto start_forward_backward(tessera_trainer trainer, tessera_batch batch, int64_t label_tokens) {
  const auto object = find<TrainerObject>(trainer, "trainer");
  auto parts = microbatches_of(batch);
  TESSERA_CHECK(label_tokens >= 0, argument, "label_tokens=", label_tokens, " is negative");
  return start_work<StepMetrics>(object, [parts = std::move(parts), label_tokens](TrainerObject& self) {
    return self.trainer->forward_backward(parts, label_tokens);
  });
}

auto start_optimizer_step(tessera_trainer trainer) {
  return start_work<StepMetrics>(find<TrainerObject>(trainer, "trainer"), [](TrainerObject& self) {
    const StepMetrics metrics = self.trainer->optimizer_step();
    publish(self, metrics);
    return metrics;
  });
}

auto start_evaluate(tessera_trainer trainer, tessera_batch batch) {
  const auto object = find<TrainerObject>(trainer, "trainer");
  return start_work<StepMetrics>(object, [parts = microbatches_of(batch)](TrainerObject& self) {
    const tessera::EvalMetrics result = self.trainer->evaluate(parts);
    StepMetrics metrics;
    metrics.loss = result.loss;
    metrics.label_tokens = result.label_tokens;
    return metrics;
  });
}

GenerateOptions to_cpp(const tessera_generate_options* given) {
  const tessera_generate_options options = read_options(given, "tessera_generate_options");
  GenerateOptions out;
  TESSERA_CHECK(options.max_new_tokens >= 0, argument, "max_new_tokens=", options.max_new_tokens,
                " is negative");
  TESSERA_CHECK(options.top_k >= 0, argument, "top_k=", options.top_k, " is negative");
  TESSERA_CHECK(options.temperature >= 0 && std::isfinite(options.temperature), argument,
                "temperature=", options.temperature, " must be at least 0");
  TESSERA_CHECK(options.top_p >= 0 && options.top_p <= 1, argument, "top_p=", options.top_p,
                " must be between 0 and 1");
  if (options.max_new_tokens > 0) out.max_new_tokens = options.max_new_tokens;
  out.top_k = options.top_k;
  out.seed = options.seed;
  out.temperature = options.temperature;
  if (options.top_p > 0) out.top_p = options.top_p;
  return out;
}

auto start_generate(tessera_trainer trainer, const int64_t* prompt, int64_t n_prompt,
                    const GenerateOptions& options) {
  const auto object = find<TrainerObject>(trainer, "trainer");
  constexpr int64_t kMost = int64_t{1} << 32;
  TESSERA_CHECK(n_prompt >= 1 && n_prompt <= kMost, argument, "n_prompt=", n_prompt, " must be at least 1");
  return start_work<Tokens>(object,
                            [tokens = Tokens(prompt, prompt + n_prompt), options](TrainerObject& self) {
                              return self.trainer->generate(tokens, options);
                            });
}

auto start_logits(tessera_trainer trainer, tessera_batch batch) {
  const auto object = find<TrainerObject>(trainer, "trainer");
  return start_work<at::Tensor>(object, [parts = microbatches_of(batch)](TrainerObject& self) {
    return self.trainer->logits(parts.front());
  });
}

void write_metrics(const StepMetrics& metrics, tessera_metrics* out) {
  if (out != nullptr) write_struct(out, to_c(metrics));
}

void check_metrics(const tessera_metrics* out) {
  if (out != nullptr) check_out_struct(out, "out_metrics");
}

}  // namespace

tessera_metrics tessera::capi::to_c(const StepMetrics& metrics) {
  tessera_metrics out{};
  out.struct_size = sizeof out;
  out.step = metrics.step;
  out.loss = metrics.loss;
  out.grad_norm = metrics.grad_norm;
  out.lr = metrics.lr;
  out.tokens = metrics.tokens;
  out.label_tokens = metrics.label_tokens;
  out.seconds = metrics.seconds;
  out.tokens_per_s = metrics.tokens_per_s;
  out.communication_seconds = metrics.communication_seconds;
  out.memory = metrics.memory;
  out.expert_load_ratio = metrics.experts.load_ratio;
  out.expert_idle = metrics.experts.idle;
  out.expert_balance_loss = metrics.experts.balance_loss;
  out.expert_z_loss = metrics.experts.z_loss;
  out.memory_reserved = metrics.memory_reserved;
  return out;
}

tessera_status tessera_metrics_init(tessera_metrics* metrics, size_t struct_size) {
  return init_struct(metrics, struct_size, tessera_metrics{});
}

tessera_status tessera_generate_options_init(tessera_generate_options* options, size_t struct_size) {
  return init_struct(options, struct_size, tessera_generate_options{});
}

tessera_status tessera_trainer_create(tessera_mesh mesh, tessera_model model, tessera_config config,
                                      tessera_trainer* out_trainer, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_trainer);
    give(finish(start_create(mesh, model, config)), out_trainer);
  });
}

tessera_status tessera_trainer_create_async(tessera_mesh mesh, tessera_model model, tessera_config config,
                                            tessera_future* out_future, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_future);
    give_future(start_create(mesh, model, config), out_future);
  });
}

tessera_status tessera_trainer_destroy(tessera_trainer trainer) {
  return destroy<TrainerObject>(trainer);
}

tessera_status tessera_trainer_set_events(tessera_trainer trainer, tessera_events events,
                                          tessera_error* err) {
  return guard(err, [&] {
    const auto object = find<TrainerObject>(trainer, "trainer");
    const auto target = find_optional<EventsObject>(events, "events");
    const std::lock_guard lock(object->events_mutex);
    object->events = target == nullptr ? std::weak_ptr<EventQueue>() : target->queue;
  });
}

tessera_status tessera_trainer_step(tessera_trainer trainer, tessera_batch batch,
                                    tessera_metrics* out_metrics, tessera_error* err) {
  return guard(err, [&] {
    check_metrics(out_metrics);
    write_metrics(finish(start_step(trainer, batch)), out_metrics);
  });
}

tessera_status tessera_trainer_step_async(tessera_trainer trainer, tessera_batch batch,
                                          tessera_future* out_future, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_future);
    give_future(start_step(trainer, batch), out_future);
  });
}

tessera_status tessera_trainer_forward_backward(tessera_trainer trainer, tessera_batch batch,
                                                int64_t label_tokens, tessera_metrics* out_metrics,
                                                tessera_error* err) {
  return guard(err, [&] {
    check_metrics(out_metrics);
    write_metrics(finish(start_forward_backward(trainer, batch, label_tokens)), out_metrics);
  });
}

tessera_status tessera_trainer_forward_backward_async(tessera_trainer trainer, tessera_batch batch,
                                                      int64_t label_tokens, tessera_future* out_future,
                                                      tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_future);
    give_future(start_forward_backward(trainer, batch, label_tokens), out_future);
  });
}

tessera_status tessera_trainer_optimizer_step(tessera_trainer trainer, tessera_metrics* out_metrics,
                                              tessera_error* err) {
  return guard(err, [&] {
    check_metrics(out_metrics);
    write_metrics(finish(start_optimizer_step(trainer)), out_metrics);
  });
}

tessera_status tessera_trainer_optimizer_step_async(tessera_trainer trainer, tessera_future* out_future,
                                                    tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_future);
    give_future(start_optimizer_step(trainer), out_future);
  });
}

tessera_status tessera_trainer_zero_grad(tessera_trainer trainer, tessera_error* err) {
  return guard(err, [&] {
    finish(start_work<Nothing>(find<TrainerObject>(trainer, "trainer"), [](TrainerObject& self) {
      self.trainer->zero_grad();
      return Nothing{};
    }));
  });
}

tessera_status tessera_trainer_get_step_count(tessera_trainer trainer, int64_t* out_steps,
                                              tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_steps);
    *out_steps = find<TrainerObject>(trainer, "trainer")->steps.load();
  });
}

tessera_status tessera_trainer_evaluate(tessera_trainer trainer, tessera_batch batch,
                                        tessera_metrics* out_metrics, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_metrics);
    check_metrics(out_metrics);
    write_metrics(finish(start_evaluate(trainer, batch)), out_metrics);
  });
}

tessera_status tessera_trainer_evaluate_async(tessera_trainer trainer, tessera_batch batch,
                                              tessera_future* out_future, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_future);
    give_future(start_evaluate(trainer, batch), out_future);
  });
}

tessera_status tessera_trainer_generate(tessera_trainer trainer, const int64_t* prompt, int64_t n_prompt,
                                        const tessera_generate_options* options, int64_t* buf, size_t cap,
                                        size_t* out_len, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(prompt);
    check_buffer(buf, cap, out_len);
    find<TrainerObject>(trainer, "trainer");
    const GenerateOptions choice = to_cpp(options);
    // Told before the work is done: on other ranks it would be done for nothing.
    if (cap < static_cast<size_t>(choice.max_new_tokens)) {
      *out_len = static_cast<size_t>(choice.max_new_tokens);
      throw tessera::Error(tessera::Code::buffer,
                           tessera::cat("cap=", cap, " is less than max_new_tokens=", choice.max_new_tokens));
    }
    write_array(finish(start_generate(trainer, prompt, n_prompt, choice)), buf, cap, out_len);
  });
}

tessera_status tessera_trainer_generate_async(tessera_trainer trainer, const int64_t* prompt,
                                              int64_t n_prompt, const tessera_generate_options* options,
                                              tessera_future* out_future, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(prompt);
    TESSERA_NOT_NULL(out_future);
    find<TrainerObject>(trainer, "trainer");
    give_future(start_generate(trainer, prompt, n_prompt, to_cpp(options)), out_future);
  });
}

tessera_status tessera_trainer_get_logits(tessera_trainer trainer, tessera_batch batch,
                                          tessera_tensor* out_logits, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_logits);
    give(std::make_shared<TensorObject>(TensorObject{finish(start_logits(trainer, batch))}), out_logits);
  });
}

tessera_status tessera_trainer_get_logits_async(tessera_trainer trainer, tessera_batch batch,
                                                tessera_future* out_future, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_future);
    give_future(start_logits(trainer, batch), out_future);
  });
}
