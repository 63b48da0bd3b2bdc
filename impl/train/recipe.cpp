// The recipe keys one by one.
#include "train/recipe.h"

#include <algorithm>

#include <charconv>
#include <cmath>
#include <fstream>

#include "train/recipe_keys.h"

namespace tessera {
namespace {

at::ScalarType dtype(const Config& config, const char* key) {
  const std::string name = config.text(key);
  if (name == "fp32") return at::kFloat;
  if (name == "bf16") return at::kBFloat16;
  return at::kHalf;
}

UnitPolicy unit_policy(const Config& config) {
  UnitPolicy policy;
  const std::string kind = config.text("parallel.units");
  if (kind == "size") {
    policy.kind = UnitPolicy::Kind::size;
    policy.min_parameters = config.integer("parallel.unit_parameters");
    TESSERA_CHECK(policy.min_parameters > 0, argument,
                  "parallel.units=size needs parallel.unit_parameters of at least 1");
  } else if (kind == "names") {
    policy.kind = UnitPolicy::Kind::names;
    policy.names = config.text_list("parallel.unit_names");
  }
  return policy;
}

ContextOptions context_options(const Config& config) {
  using E = ContextExchange;
  using L = ContextLayoutKind;
  ContextOptions options;
  const std::string exchange = config.text("parallel.cp_exchange");
  for (const E known : {E::ring, E::all_gather, E::ulysses, E::ulysses_ring, E::ulysses_all_gather})
    if (context_exchange_name(known) == exchange) options.exchange = known;
  const std::string layout = config.text("parallel.cp_layout");
  options.layout = options.exchange == E::ulysses ? L::row : L::zigzag;
  for (const L known : {L::zigzag, L::document, L::row})
    if (context_layout_name(known) == layout) options.layout = known;
  options.ulysses = config.integer("parallel.cp_ulysses");
  options.heads_k_stride = config.integer("parallel.cp_heads_k_stride");
  return options;
}

OptimizerOptions optimizer_options(const Config& config) {
  OptimizerOptions options;
  options.name = config.text("optimizer.name");
  const std::vector<double> betas = config.real_list("optimizer.betas");
  TESSERA_CHECK(betas.size() == 2, argument, "optimizer.betas=", config.get("optimizer.betas"), " has ",
                betas.size(), " values instead of 2");
  options.beta1 = betas[0];
  options.beta2 = betas[1];
  options.eps = config.real("optimizer.eps");
  options.weight_decay = config.real("optimizer.weight_decay");
  options.momentum = config.real("optimizer.momentum");
  return options;
}

ScheduleOptions schedule_options(const Config& config) {
  ScheduleOptions options;
  options.name = config.text("schedule.name");
  options.warmup_steps = config.integer("schedule.warmup_steps");
  options.total_steps = config.has("train.steps") ? config.integer("train.steps") : 0;
  options.decay_steps = config.integer("schedule.decay_steps");
  options.min_lr = config.real("schedule.min_lr");
  TESSERA_CHECK(options.name == "constant" || options.total_steps > 0, argument,
                "schedule.name=", options.name, " needs train.steps");
  return options;
}

}  // namespace

ReshardPolicy parse_reshard(const std::string& text) {
  if (text == "true") return {ReshardPolicy::Kind::always, 0};
  if (text == "false") return {ReshardPolicy::Kind::never, 0};
  if (text == "keep_last") return {ReshardPolicy::Kind::keep_last, 0};
  int64_t group = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), group);
  TESSERA_CHECK(error == std::errc() && end == text.data() + text.size() && group >= 2, argument,
                "memory.reshard_after_forward=", text,
                " is not true, false, keep_last or a group size of at least 2");
  return {ReshardPolicy::Kind::group, group};
}

WorldOptions world_options(const Config& config) {
  WorldOptions options;
  options.backend = config.text("backend");
  options.device = config.text("device");
  options.intra_op_threads = static_cast<int>(config.integer("threads"));
  options.allocator = config.text("allocator");
  options.register_buffers = config.text("comm.register_buffers");
  options.expandable_segments = config.text("cuda.expandable_segments");
  options.timeout = std::chrono::milliseconds(std::llround(config.real("timeout") * 1000));
  return options;
}

MeshSpec mesh_spec(const Config& config) {
  MeshSpec spec;
  spec.pp = config.integer("parallel.pp");
  spec.dp_replicate = config.integer("parallel.dp_replicate");
  spec.dp_shard = config.integer("parallel.dp_shard");
  spec.cp = config.integer("parallel.cp");
  spec.tp = config.integer("parallel.tp");
  spec.ep = config.integer("parallel.ep");
  return spec;
}

namespace {

std::string read_program(const std::string& path) {
  constexpr size_t kMost = size_t{64} << 20;
  std::ifstream file(path, std::ios::binary);
  TESSERA_CHECK(file, io, "parallel.pp_program=", path, " cannot be read");
  std::string text;
  char buffer[65536];
  while (text.size() <= kMost && (file.read(buffer, sizeof buffer), file.gcount() > 0)) {
    text.append(buffer, static_cast<size_t>(file.gcount()));
  }
  TESSERA_CHECK(text.size() <= kMost, format, "parallel.pp_program=", path, " is longer than ", kMost,
                " bytes");
  return text;
}

ExpertOptions expert_options(const Config& config) {
  ExpertOptions options;
  options.split_width = config.flag("parallel.expert_tp");
  options.exchange = config.text("parallel.ep_exchange");
  options.balance_loss = config.real("moe.balance_loss");
  options.z_loss = config.real("moe.z_loss");
  options.global_balance = config.text("moe.balance_scope") == "global";
  options.capacity_factor = config.real("moe.capacity_factor");
  options.bias_update_speed = config.real("moe.bias_update_speed");
  return options;
}

PipelineOptions pipeline_options(const Config& config) {
  PipelineOptions options;
  options.schedule = parse_pipeline_schedule(config.text("parallel.pp_schedule"));
  options.per_rank = static_cast<int>(config.integer("parallel.pp_virtual"));
  if (config.has("parallel.pp_split")) {
    for (const double layers : config.real_list("parallel.pp_split")) {
      TESSERA_CHECK(layers == std::floor(layers), argument, "parallel.pp_split: ", layers,
                    " is no number of layers");
      options.stage_layers.push_back(static_cast<int64_t>(layers));
    }
  }
  if (config.has("parallel.pp_program")) options.program = read_program(config.text("parallel.pp_program"));
  return options;
}

}  // namespace

TrainerOptions trainer_options(const Config& config) {
  TrainerOptions options;
  options.precision.param = dtype(config, "precision.param");
  options.precision.reduce = dtype(config, "precision.reduce");
  options.precision.output = dtype(config, "precision.output");
  options.precision.master = dtype(config, "precision.master");
  const std::string recompute = config.text("memory.recompute");
  options.recompute = recompute == "full"        ? Recompute::full
                      : recompute == "mlp"       ? Recompute::mlp
                      : recompute == "selective" ? Recompute::selective
                                                 : Recompute::none;
  const std::string cast = config.text("memory.cast_weights");
  if (cast != "auto") options.cast_weights = cast == "on";
  options.float8.recipe = kernels::parse_float8_recipe(config.text("float8.recipe_name"));
  options.float8.fsdp_all_gather = config.flag("float8.enable_fsdp_float8_all_gather");
  if (config.has("float8.filter_fqns")) options.float8.filter_fqns = config.text_list("float8.filter_fqns");
  options.graphs = config.flag("cuda.graphs");
  options.offload = config.flag("memory.offload");
  options.offload_activations = config.flag("memory.offload_activations");
  options.reshard = parse_reshard(config.text("memory.reshard_after_forward"));
  options.units = unit_policy(config);
  options.prefetch = config.integer("memory.prefetch");
  options.defer_gradient_sync = config.flag("parallel.defer_gradient_sync");
  options.sequence_parallel = config.flag("parallel.sequence_parallel");
  options.tp_plan = config.text("parallel.tp_plan");
  options.experts = expert_options(config);
  options.context = context_options(config);
  options.pipeline = pipeline_options(config);
  options.optimizer = optimizer_options(config);
  options.schedule = schedule_options(config);
  options.lr = config.real("optimizer.lr");
  options.clip = config.real("optimizer.clip");
  options.seed = config.integer("train.seed");
  options.load_from_rank0 = config.flag("model.load_from_rank0");
  options.loss_chunk = config.integer("train.loss_chunk");
  return options;
}

GenerateOptions generate_options(const Config& config) {
  GenerateOptions options;
  options.max_new_tokens = config.integer("generate.max_new_tokens");
  options.temperature = config.real("generate.temperature");
  options.top_p = config.real("generate.top_p");
  options.top_k = config.integer("generate.top_k");
  options.seed = config.integer("train.seed");
  return options;
}

StepShape step_shape(const Config& config, const Mesh& mesh) {
  StepShape shape = step_shape(mesh, config.integer("train.global_batch"),
                               config.integer("train.micro_batch"), config.integer("data.seq_len"));
  const std::string backend = config.text("backend");
  shape.shared_memory = backend == "auto" || backend == "local";
  shape.on_device = config.text("device") == "cuda";
  return shape;
}

DatasetOptions dataset_options(const Config& config, int64_t dp_rank, int64_t dp_size) {
  DatasetOptions options;
  if (config.has("data.path")) options.paths = config.text_list("data.path");
  if (config.has("data.weights")) options.weights = config.real_list("data.weights");
  options.weights_of = config.text("data.weights_of");
  if (config.has("data.formats")) options.formats = config.text_list("data.formats");
  options.validation_split = config.real("data.validation_split");
  if (config.has("data.validation_path")) options.validation_paths = config.text_list("data.validation_path");
  options.part = config.text("data.part");
  if (config.has("data.cache")) options.cache = config.text("data.cache");
  options.streaming = config.flag("data.streaming");
  options.stream_buffer = config.integer("data.stream_buffer");
  options.prefetch = config.integer("data.prefetch");
  options.format = config.text("data.format");
  options.tokenizer = config.get(config.has("data.tokenizer") ? "data.tokenizer" : "model.path");
  options.seq_len = config.integer("data.seq_len");
  options.packing = config.text("data.packing");
  options.long_documents = config.text("data.long_documents");
  options.shuffle = config.flag("data.shuffle");
  options.seed = config.integer("train.seed");
  options.micro_batch = config.integer("train.micro_batch");
  options.global_batch = config.integer("train.global_batch");
  options.dp_rank = dp_rank;
  options.dp_size = dp_size;
  options.on_error = config.text("data.on_error");
  options.epochs = config.integer("data.epochs");
  options.column_prompt = config.text("data.columns.prompt");
  options.column_completion = config.text("data.columns.completion");
  options.column_chosen = config.text("data.columns.chosen");
  options.column_rejected = config.text("data.columns.rejected");
  options.preference = config.text("data.preference");
  options.column_text = config.text("data.columns.text");
  options.column_messages = config.text("data.columns.messages");
  if (config.has("data.chat_template")) options.chat_template = config.text("data.chat_template");
  options.train_roles = config.text_list("data.train_roles");
  options.last_turn_only = config.flag("data.last_turn_only");
  options.train_on_eos = config.text("data.train_on_eos");
  options.append_eos = config.flag("data.append_eos");
  options.packing_group_size = config.integer("data.packing_group_size");
  options.packing_bin_size = config.integer("data.packing_bin_size");
  options.packing_effort = config.integer("data.packing_effort");
  options.order = config.text("data.order");
  options.balance = config.flag("data.balance");
  options.balance_window = config.integer("data.balance_window");
  options.group = config.integer("data.group");
  options.pad_rows = config.text("data.pad_rows");
  options.pad_multiple = config.integer("data.pad_multiple");
  // -1 is for a mesh to tell.
  if (config.flag("data.pad_cp")) options.cp = std::max<int64_t>(1, config.integer("parallel.cp"));
  options.pad_token = config.integer("data.pad_token");
  options.last_step = config.text("data.last_step");
  options.max_line_bytes = config.integer("data.max_line_bytes");
  options.workers = config.integer("data.workers");
  return options;
}

}  // namespace tessera
