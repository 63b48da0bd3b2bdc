// Trainer: set-up, programs, and the doors to its parts.
#include "train/trainer.h"

#include "comm/device_world.h"
#include "core/caught.h"
#include "core/log.h"
#include "nn/decoder_layer.h"
#include "parallel/initialize.h"
#include "schedule/checker.h"
#include "train/step_graphs.h"
#include "train/step_program.h"
#include "train/trainer_impl.h"

namespace tessera {
namespace {

ShardingOptions sharding_options(const TrainerOptions& options, bool on_device) {
  ShardingOptions sharding;
  sharding.units = options.units;
  sharding.param = options.precision.param;
  sharding.reduce = options.precision.reduce;
  sharding.master = options.precision.master;
  sharding.reshard_group = options.reshard.kind == ReshardPolicy::Kind::group ? options.reshard.group : 0;
  sharding.force_copy = options.copy_weights;
  sharding.offload = options.offload;
  sharding.float8_gather = options.float8.fsdp_all_gather;
  sharding.keep_gradients = options.graphs;
  sharding.cast_weights = casts_weights(options, on_device);
  return sharding;
}

// The ranks over `axes` and, unless each rank of tp sees all tokens, over tp; null for one.
GroupPtr token_group(const DeviceMesh& mesh, const char* name, std::vector<Axis> axes, bool split_width) {
  if (!split_width) axes.push_back(Axis::tp);
  const std::vector<int> ranks = mesh.layout().group_ranks(mesh.rank(), axes);
  return ranks.size() > 1 ? mesh.world()->group(name, ranks) : nullptr;
}

ExpertContext expert_context(const DeviceMesh& mesh, const ShardDomain& domain,
                             const ExpertOptions& options) {
  ExpertContext context;
  context.size = domain.ep->size();
  context.group = domain.ep;
  context.split_width = options.split_width;
  context.exchange = options.exchange;
  context.balance_loss = options.balance_loss;
  context.z_loss = options.z_loss;
  context.sharers = token_group(mesh, "microbatch", {Axis::cp}, options.split_width);
  context.capacity_factor = options.capacity_factor;
  context.global_balance = options.global_balance;
  if (options.global_balance && options.balance_loss != 0) {
    context.everyone =
        token_group(mesh, "step_tokens", {Axis::dp_replicate, Axis::dp_shard, Axis::cp}, options.split_width);
  }
  return context;
}

std::unique_ptr<StepGraphs> make_graphs(const DeviceMesh& mesh, const ModelConfig& config,
                                        const TrainerOptions& options) {
  const at::Device device = device_of(*mesh.world());
  const std::string obstacle = graph_obstacle(options, config, mesh.world()->size(), device);
  TESSERA_CHECK(obstacle.empty(), unsupported, "cuda.graphs=true does not go with ", obstacle);
  return std::make_unique<StepGraphs>(options.graph_engine ? options.graph_engine
                                                           : cuda_graph_engine(device));
}

}  // namespace

Trainer::Impl::Impl(DeviceMeshPtr mesh_, const ModelConfig& config_, const std::string& checkpoint,
                    const TrainerOptions& options_)
    : mesh(std::move(mesh_)), config(config_), options(options_), source(checkpoint) {
  TESSERA_CHECK(mesh != nullptr, argument, "the mesh is null");
  mesh->world()->bind_thread();
  thread = std::this_thread::get_id();
  check_trainer_options(options, mesh->layout(), config);
  optimizer = make_optimizer(options.optimizer);
  if (mesh->world()->options().device == "cpu") {
    tp_exposed = std::make_shared<ExposedTime>();
    cp_exposed = std::make_shared<ExposedTime>();
  }
  check_context_options(options.context, mesh->size("cp"), mesh->size("tp"), config.num_heads,
                        config.num_kv_heads);
  if (mesh->size("cp") > 1) context = std::make_unique<ContextParallel>(*mesh, options.context, cp_exposed);
  ParallelContext parallel;
  parallel.tp = mesh->size("tp") > 1 ? metered(mesh->group("tp"), tp_exposed) : mesh->group("tp");
  parallel.tp_size = mesh->size("tp");
  parallel.sequence_parallel = options.sequence_parallel;
  parallel.tp_plan = options.tp_plan;
  const auto stages = static_cast<int>(mesh->size("pp"));
  parallel.split_ends = has_split_ends(options.pipeline, stages);
  const std::vector<ShardDomain> domains =
      make_domains(*mesh, config.moe.experts > 0, options.experts.split_width);
  if (domains.size() > 1) parallel.experts = expert_context(*mesh, domains.back(), options.experts);
  std::vector<std::unique_ptr<Unit>> units = build_units(config, parallel);
  kernels::check_float8(device_of(*mesh->world()), options.float8.recipe);
  use_float8(units, options.float8, mesh->size("tp"));
  pipeline = std::make_unique<Pipeline>(options.pipeline, stages, units);
  ShardingOptions sharding = sharding_options(options, !device_of(*mesh->world()).is_cpu());
  sharding.stages = pipeline->stages();
  sharding.domains = domains;
  model = std::make_unique<ShardedModel>(mesh, std::move(units), sharding);
  loads = std::make_unique<ExpertLoads>(*model, config.moe.experts,
                                        !options.experts.split_width || mesh->index("tp") == 0);
  executor = std::make_unique<Executor>(*model);
  if (options.graphs) graphs = make_graphs(*mesh, config, options);
  traits = executor->traits();
  if (checkpoint.empty()) {
    initialize(*model, options.seed);
  } else if (options.load_from_rank0) {
    load_weights_from_rank0(*model, checkpoint);
  } else {
    load_weights(*model, checkpoint);
  }
}

Trainer::Impl::~Impl() = default;

StepOptions Trainer::Impl::options_of_step(int64_t microbatches, bool update) const {
  return step_options(options, mesh->layout(), traits, microbatches, update);
}

Program Trainer::Impl::compile_step(const StepOptions& step) const {
  const auto ranks = static_cast<int>(mesh->size("pp"));
  std::vector<Program> programs = tessera::compile_step(step, *pipeline, ranks, model->stage_starts());
  return std::move(programs[mesh->index("pp")]);
}

Program Trainer::Impl::compile_forward_step(int64_t microbatches, Op head, bool keep) const {
  const StepOptions step = options_of_step(microbatches, false);
  if (mesh->size("pp") == 1) return compile_forward(step, head, keep);
  std::vector<Program> programs =
      compile_pipeline_forward(step, head, keep, pipeline->stages().rank_of_stage, model->stage_starts());
  check_transfers(programs);
  return std::move(programs[mesh->index("pp")]);
}

void Trainer::Impl::describe_transfers(ExecutionInput& input) const {
  input.hidden = config.hidden_size;
  input.row_parts = options.sequence_parallel ? mesh->size("tp") : 1;
}

const Program& Trainer::Impl::step_program(int64_t microbatches, bool update) {
  const auto key = std::pair(microbatches, update);
  const auto found = programs.find(key);
  if (found != programs.end()) return found->second;
  try {
    return programs.emplace(key, compile_step(options_of_step(microbatches, update))).first->second;
  } catch (const Error& error) {
    throw AgreedError(error);  // every rank compiles the same
  }
}

void Trainer::Impl::publish_weights() {
  if (!weights_written) return;
  model->weights().meet();
  model->weights().publish();
  weights_written = false;
}

void Trainer::Impl::abandon(const std::string& reason) noexcept {
  gradients_readable = false;
  pending_labels = 0;
  try {
    if (mesh->world()->size() > 1) mesh->world()->abort(reason);
    loads->clear();
    model->gradients().abandon();
    // What the broken program had gathered may be other weights by the next one. With peers there is none.
    if (mesh->world()->size() == 1) executor->release_all();
  } catch (const std::exception& error) {  // a device that has failed fails at everything; the cause is told
    log_debug("while a step was given up: ", text_of(error));
  }
}

void Trainer::Impl::forget_gradients() {
  model->gradients().zero();
  gradients_readable = false;
  pending_labels = 0;
  loads->clear();
}

Trainer::Trainer(DeviceMeshPtr mesh, const ModelConfig& config, const std::string& checkpoint,
                 const TrainerOptions& options) {
  const WorldPtr world = mesh ? mesh->world() : nullptr;
  try {
    impl_ = std::make_unique<Impl>(std::move(mesh), config, checkpoint, options);
  } catch (const std::exception& error) {
    // Bad options and bad files are mostly seen by all ranks alike; when only this one saw it, or its memory
    // ran out, the others learn here.
    if (world && world->size() > 1) world->abort(text_of(error));
    throw;
  }
}

Trainer::~Trainer() = default;

const ModelConfig& Trainer::config() const {
  return impl_->config;
}
const TrainerOptions& Trainer::options() const {
  return impl_->options;
}
const DeviceMeshPtr& Trainer::mesh() const {
  return impl_->mesh;
}
int64_t Trainer::step_count() const {
  return impl_->steps;
}

StepMetrics Trainer::step(const std::vector<PackedBatch>& microbatches) {
  TESSERA_CHECK(impl_->model->gradients().empty(), state,
                "gradients of forward_backward wait for optimizer_step or zero_grad");
  return impl_->collective([&] { return impl_->run_step(microbatches, true, 0); });
}

StepMetrics Trainer::forward_backward(const std::vector<PackedBatch>& microbatches,
                                      int64_t loss_denominator) {
  TESSERA_CHECK(loss_denominator >= 0, argument, "loss_denominator=", loss_denominator, " is negative");
  return impl_->collective([&] { return impl_->run_step(microbatches, false, loss_denominator); });
}

StepMetrics Trainer::optimizer_step() {
  TESSERA_CHECK(!impl_->model->gradients().empty(), state,
                "optimizer_step without a forward_backward before it");
  return impl_->collective([&] { return impl_->update_alone(); });
}

void Trainer::zero_grad() {
  impl_->forget_gradients();
}

EvalMetrics Trainer::evaluate(const std::vector<PackedBatch>& microbatches) {
  return impl_->collective([&] { return impl_->evaluate(microbatches); });
}

std::vector<int64_t> Trainer::generate(const std::vector<int64_t>& prompt, const GenerateOptions& options) {
  return impl_->collective([&] { return impl_->generate(prompt, options); });
}

at::Tensor Trainer::logits(const PackedBatch& batch) {
  return impl_->collective([&] { return impl_->logits(batch); });
}

std::vector<std::string> Trainer::parameter_names() const {
  return impl_->model->names();
}

at::Tensor Trainer::parameter(const std::string& name) {
  return impl_->collective([&] { return impl_->parameter(name); });
}

at::Tensor Trainer::gradient(const std::string& name) {
  return impl_->collective([&] { return impl_->gradient(name); });
}

void Trainer::set_parameter(const std::string& name, const at::Tensor& full) {
  impl_->collective([&] { impl_->set_parameter(name, full); });
}

Program Trainer::program(int64_t microbatches) const {
  TESSERA_CHECK(microbatches >= 1, argument, "microbatches=", microbatches, " is not positive");
  return impl_->step_program(microbatches, true);
}

}  // namespace tessera
