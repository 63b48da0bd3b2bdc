// Options of a trainer checked and turned into options of a program.
#include "train/step_program.h"

#include "core/error.h"
#include "nn/decoder_layer.h"

namespace tessera {
namespace {

void check_dtype(const char* key, at::ScalarType dtype) {
  TESSERA_CHECK(dtype == at::kFloat || dtype == at::kBFloat16, unsupported, key, "=", c10::toString(dtype),
                " is not supported: use float32 or bfloat16");
}

}  // namespace

void check_trainer_options(const TrainerOptions& options, const Mesh& mesh, const ModelConfig& config) {
  TESSERA_CHECK(mesh.ep() == 1 || config.moe.experts > 0, argument, "ep=", mesh.ep(), ": ",
                config.architecture, " has no experts to spread");
  TESSERA_CHECK(options.experts.balance_loss >= 0, argument, "balance_loss=", options.experts.balance_loss,
                " is negative");
  TESSERA_CHECK(options.experts.z_loss >= 0, argument, "z_loss=", options.experts.z_loss, " is negative");
  TESSERA_CHECK(options.experts.capacity_factor >= 0, argument,
                "capacity_factor=", options.experts.capacity_factor, " is negative");
  TESSERA_CHECK(options.experts.bias_update_speed >= 0, argument,
                "bias_update_speed=", options.experts.bias_update_speed, " is negative");
  TESSERA_CHECK(options.experts.bias_update_speed == 0 || !config.moe.selection_bias_name.empty(), argument,
                "bias_update_speed=", options.experts.bias_update_speed, ": the routers of ",
                config.architecture, " have no selection bias");
  check_dtype("precision.param", options.precision.param);
  check_dtype("precision.reduce", options.precision.reduce);
  check_dtype("precision.output", options.precision.output);
  check_dtype("precision.master", options.precision.master);
  if (options.float8.fsdp_all_gather) {
    TESSERA_CHECK(options.float8.recipe == kernels::Float8Recipe::tensorwise, argument,
                  "enable_fsdp_float8_all_gather goes with the recipe tensorwise alone");
    TESSERA_CHECK(!options.offload, unsupported, "enable_fsdp_float8_all_gather does not go with offload");
  }
  TESSERA_CHECK(!options.offload || !options.cast_weights.value_or(false), unsupported,
                "cast_weights=on does not go with offload, which keeps masters in host memory");
  TESSERA_CHECK(options.prefetch >= 0 && options.prefetch <= 1024, argument, "prefetch=", options.prefetch,
                " is not within 0..1024");
  TESSERA_CHECK(options.reshard.kind != ReshardPolicy::Kind::group || options.reshard.group >= 1, argument,
                "reshard_after_forward=", options.reshard.group, " is not a positive number of ranks");
  TESSERA_CHECK(options.clip >= 0, argument, "clip=", options.clip, " is negative");
  TESSERA_CHECK(options.loss_chunk >= 0, argument, "loss_chunk=", options.loss_chunk, " is negative");
  validate_schedule(options.schedule, options.lr);
}

// Casting for each use costs a pass over the weights twice a micro-batch, some 2 % of a step on one GPU. Who
// recomputes anything wants memory for time; who does not gets the time.
bool casts_weights(const TrainerOptions& options, bool on_device) {
  if (options.offload || options.precision.master == options.precision.param) return false;
  return options.cast_weights.value_or(on_device && options.recompute != Recompute::none);
}

void use_float8(const std::vector<std::unique_ptr<Unit>>& units, const Float8Options& options,
                int64_t tp_size) {
  if (options.recipe == kernels::Float8Recipe::none) return;
  int layers = 0;
  for (const std::unique_ptr<Unit>& unit : units) {
    auto* decoder = dynamic_cast<DecoderLayer*>(unit.get());
    if (decoder != nullptr) layers += decoder->use_float8(options.recipe, options.filter_fqns, tp_size);
  }
  TESSERA_CHECK(layers > 0, argument, "float8: no linear layer has sizes that are multiples of ",
                kernels::kFloat8Multiple, " and a name that float8.filter_fqns leaves");
}

StepOptions step_options(const TrainerOptions& options, const Mesh& mesh,
                         const std::vector<UnitTraits>& units, int64_t microbatches, bool update) {
  StepOptions step;
  step.units = units;
  step.microbatches = static_cast<int>(microbatches);
  step.storage.reshard = options.reshard;
  // A stage comes back to its units for every micro-batch: between them they stay, unless the user asks for
  // less memory.
  if (mesh.size(Axis::pp) > 1 && options.reshard.kind == ReshardPolicy::Kind::keep_last) {
    step.storage.reshard.kind = ReshardPolicy::Kind::never;
  }
  step.storage.prefetch = static_cast<int>(options.prefetch);
  step.storage.defer_reduce = options.defer_gradient_sync;
  step.storage.replicas = mesh.size(Axis::dp_replicate) > 1;
  step.storage.offload = options.offload;
  step.recompute = options.recompute == Recompute::full;
  step.update = update;
  return step;
}

CheckOptions check_options(const StepOptions& step) {
  CheckOptions rules;
  rules.units = step.units;
  rules.recompute = step.recompute;
  rules.replicas = step.storage.replicas;
  rules.defer_reduce = step.storage.defer_reduce;
  rules.prefetch = step.storage.prefetch;
  return rules;
}

std::vector<Program> compile_step(const StepOptions& step, const Pipeline& pipeline, int ranks,
                                  const std::vector<int>& stage_units) {
  std::vector<Program> programs;
  if (ranks == 1) {
    programs.push_back(compile_fsdp(step));
  } else {
    programs = compile_pipeline(step, pipeline.order(step.microbatches), stage_units);
    check_transfers(programs);
  }
  for (const Program& program : programs) check(program, check_options(step));
  return programs;
}

}  // namespace tessera
