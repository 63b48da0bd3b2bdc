// Plans: layouts without memory, programs without tensors, and their sizes.
#include "train/plan.h"

#include <algorithm>
#include <cstdio>

#include "core/error.h"
#include "mesh/expert_layout.h"
#include "models/tp_plan.h"
#include "parallel/fsdp_layout.h"
#include "schedule/executor.h"
#include "train/step_program.h"

namespace tessera {
namespace {

std::string megabytes(int64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f MB", static_cast<double>(bytes) / 1e6);
  return text;
}

std::string count_text(int64_t count) {
  char text[32];
  const auto value = static_cast<double>(count);
  if (count >= 1'000'000'000) {
    std::snprintf(text, sizeof text, "%.2f B", value / 1e9);
  } else if (count >= 1'000'000) {
    std::snprintf(text, sizeof text, "%.1f M", value / 1e6);
  } else {
    std::snprintf(text, sizeof text, "%lld", static_cast<long long>(count));
  }
  return text;
}

std::string padded(const std::string& text, size_t width) {
  return text.size() < width ? text + std::string(width - text.size(), ' ') : text;
}

void append_line(std::string& out, const std::string& label, const std::string& value) {
  out += "  " + padded(label, 28) + value + "\n";
}

// Units of equal size, one after the other, share a line.
void append_units(std::string& out, const std::vector<PlannedUnit>& units) {
  for (size_t i = 0; i < units.size();) {
    size_t end = i + 1;
    while (end < units.size() && units[end].parameters == units[i].parameters &&
           units[end].members == units[i].members) {
      ++end;
    }
    const std::string range = end - i > 1 ? cat("u", i, "..u", end - 1) : cat("u", i);
    std::string name = units[i].name;
    if (units[i].members > 1) name += cat(" (", units[i].members, " parts)");
    if (end - i > 1) name += cat(" .. ", units[end - 1].name);
    append_line(out, range, padded(count_text(units[i].parameters), 12) + name);
    i = end;
  }
}

}  // namespace

StepShape step_shape(const Mesh& mesh, int64_t global_batch, int64_t micro_batch, int64_t seq_len) {
  TESSERA_CHECK(global_batch >= 1 && micro_batch >= 1 && seq_len >= 1, argument,
                "global_batch=", global_batch, ", micro_batch=", micro_batch, " and seq_len=", seq_len,
                " must be positive");
  const int64_t dp = mesh.size_of({Axis::dp_replicate, Axis::dp_shard});
  TESSERA_CHECK(micro_batch <= global_batch / dp && global_batch % (micro_batch * dp) == 0, argument,
                "global_batch=", global_batch, " is not a multiple of micro_batch*dp=", micro_batch, "*", dp);
  StepShape shape;
  shape.microbatches = global_batch / (micro_batch * dp);
  const int64_t cp = mesh.size(Axis::cp);
  shape.tokens = (micro_batch * seq_len + cp - 1) / cp;
  shape.document = seq_len;
  return shape;
}

namespace {

// The bytes of one FSDP unit's activations.
UnitSizes unit_sizes(const FsdpLayout& layout, int members, const std::vector<LayerShape>& layers,
                     const TrainerOptions& options, const StepShape& shape, int64_t element) {
  const int64_t tokens = shape.tokens;
  UnitSizes sizes;
  for (const FsdpParam& param : layout.params) {
    StorageSizes& storage = sizes.storage.at(param.domain);
    storage.full += aligned_numel(param.full_numel());
    storage.shard += aligned_numel(param.shard.padded_numel());
    if (param.spec.float8) sizes.float8_weights += checked_numel(param.part_shape);
    if (!param.spec.float8_gather) continue;
    sizes.float8_gather.full += aligned_numel(param.full_numel());
    sizes.float8_gather.shard += aligned_numel(param.shard.padded_numel());
  }
  int64_t again = 0;
  for (int m = layout.first_member; m < layout.first_member + layout.members; ++m) {
    if (m == 0) continue;  // an embedding keeps nothing
    if (m + 1 == members) {
      sizes.working_bytes +=
          head_working_bytes(layers.back(), {options.loss_chunk, shape.on_device}, tokens, element);
      continue;
    }
    const LayerShape& layer = layers[m - 1];
    sizes.saved_bytes += tokens * layer_saved_bytes(layer, options.recompute, element);
    sizes.recorded_bytes += tokens * layer_recorded_bytes(layer, element);
    int64_t working = tokens * layer_working_bytes(layer, options.recompute, element);
    if (sizes.float8_weights > 0)
      working += float8_working_bytes(layer, options.float8.recipe, tokens, element);
    sizes.working_bytes = std::max(sizes.working_bytes, working);
    again = std::max(again, tokens * layer_saved_bytes(layer, Recompute::selective, element));
  }
  sizes.input_bytes = sizes.saved_bytes;
  // One member's activations exist again at a time.
  if (options.recompute == Recompute::full) sizes.saved_bytes += again;
  return sizes;
}

MemoryRates memory_rates(const TrainerOptions& options, const StepShape& shape,
                         const std::vector<ShardPosition>& positions, int64_t message_bytes) {
  MemoryRates rates;
  rates.param_bytes = static_cast<int64_t>(c10::elementSize(options.precision.param));
  const bool shares = shape.shared_memory && !shape.on_device && !options.copy_weights;
  rates.cast_weights = casts_weights(options, shape.on_device);
  const bool separate_master = options.precision.master != options.precision.param;
  rates.master_bytes = separate_master ? static_cast<int64_t>(c10::elementSize(options.precision.master)) : 0;
  const bool adam = options.optimizer.name == "adamw";
  rates.optimizer_bytes = adam ? 8 : (options.optimizer.momentum != 0 ? 4 : 0);
  rates.gradient_bytes = options.defer_gradient_sync && shape.microbatches > 1 ? 4 : rates.param_bytes;
  rates.gradients_late = shape.on_device && !options.offload && !options.graphs;
  rates.shared_weights.fill(true);
  for (size_t d = 0; d < positions.size(); ++d) {
    const bool alone = positions[d].shards == 1;
    rates.shards[d] = positions[d].shards;
    rates.shared_weights[d] = shares || alone;
    rates.cast_weights = rates.cast_weights && (alone || !shares);
  }
  rates.float8_gather = options.float8.fsdp_all_gather && !rates.shared_weights[0];
  rates.recompute = options.recompute == Recompute::full;
  if (options.reshard.kind == ReshardPolicy::Kind::group) rates.reshard_group = options.reshard.group;
  rates.transfer_bytes = message_bytes;
  return rates;
}

// Where the rank with the largest shards stands among those that hold the same experts.
ShardPosition expert_position(const Mesh& mesh, bool split_width) {
  const ExpertLayout layout = expert_layout(mesh, 0, split_width);
  ShardPosition position;
  position.shards = layout.shards;
  position.tp_size = split_width ? mesh.size(Axis::tp) : 1;
  return position;
}

// What the members of one pp rank are, in the order of the model.
std::vector<bool> held_by(const StagePlacement& stages, size_t members, int rank) {
  std::vector<bool> held;
  for (size_t m = 0; m < members; ++m) held.push_back(stages.rank_of_unit(static_cast<int>(m)) == rank);
  return held;
}

}  // namespace

LayerCut layer_cut(const Mesh& mesh, const TrainerOptions& options) {
  const int64_t tp = mesh.size(Axis::tp);
  return {tp, options.sequence_parallel && tp > 1, mesh.ep(), options.experts.split_width};
}

TrainingPlan plan_training(const ModelConfig& config, const TrainerOptions& options, const Mesh& mesh,
                           const StepShape& shape) {
  check_trainer_options(options, mesh, config);
  check_context_options(options.context, mesh.size(Axis::cp), mesh.size(Axis::tp), config.num_heads,
                        config.num_kv_heads);
  TESSERA_CHECK(shape.microbatches >= 1 && shape.tokens >= 1, argument, "microbatches=", shape.microbatches,
                " and tokens=", shape.tokens, " must be positive");
  const auto ranks = static_cast<int>(mesh.size(Axis::pp));
  ParallelContext parallel{mesh.size(Axis::tp), nullptr, options.sequence_parallel,
                           has_split_ends(options.pipeline, ranks), options.tp_plan};
  std::vector<ShardPosition> positions(1);
  positions[0].shards = mesh.size_of({Axis::dp_shard, Axis::cp});
  positions[0].tp_size = mesh.size(Axis::tp);
  if (config.moe.experts > 0) {
    parallel.experts.split_width = options.experts.split_width;
    parallel.experts.size = mesh.ep();
    positions.push_back(expert_position(mesh, options.experts.split_width));
  }
  const std::vector<std::unique_ptr<Unit>> members = build_units(config, parallel);
  use_float8(members, options.float8, mesh.size(Axis::tp));
  const Pipeline pipeline(options.pipeline, ranks, members);
  const StagePlacement& stages = pipeline.stages();
  const std::vector<int> starts = group_starts(members, options.units, stages.starts);
  const std::vector<FsdpLayout> all = make_layouts(members, starts, positions);

  TrainingPlan plan{mesh, {}, 0, shape, {}, {}, {}, {}, {}, {}, {}, 0, {}};
  plan.stage_starts = stage_units(starts, stages.starts);
  plan.schedule = schedule_name(options.pipeline.schedule);
  const ShardPosition& position = positions[0];
  if (position.tp_size > 1) plan.tp_plan = to_text(TpPlan::choose(config, options.tp_plan), members);
  std::vector<LayerShape> layers;
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    layers.push_back(layer_shape(config, layer, layer_cut(mesh, options)));
  }
  const auto element = static_cast<int64_t>(c10::elementSize(options.precision.param));
  for (const FsdpLayout& layout : all) {
    PlannedUnit unit;
    unit.name = members[layout.first_member]->name();
    unit.members = layout.members;
    unit.stage_rank = stages.rank_of_unit(layout.first_member);
    for (const FsdpParam& param : layout.params) {
      if (param.spec.primary) unit.parameters += checked_numel(param.spec.shape);
    }
    for (int m = layout.first_member; m < layout.first_member + layout.members; ++m)
      unit.work += unit_work(members, m);
    unit.sizes = unit_sizes(layout, static_cast<int>(members.size()), layers, options, shape, element);
    plan.parameters += unit.parameters;
    plan.units.push_back(std::move(unit));
  }

  const std::vector<UnitTraits> traits = unit_traits(all, members);
  const StepOptions step = step_options(options, mesh, traits, shape.microbatches, true);
  plan.programs = compile_step(step, pipeline, ranks, plan.stage_starts);
  const MemoryRates rates =
      memory_rates(options, shape, positions, shape.tokens * layers.front().resident * element);
  for (int rank = 0; rank < ranks; ++rank) {
    std::vector<UnitSizes> sizes(plan.units.size());
    const std::vector<FsdpLayout> layouts =
        make_layouts(members, starts, positions, held_by(stages, members.size(), rank));
    for (size_t u = 0; u < layouts.size(); ++u) {
      if (layouts[u].full_numel > 0) sizes[u] = plan.units[u].sizes;
    }
    const MemoryEstimate memory = estimate_memory(plan.programs[rank], traits, sizes, rates);
    plan.stage_memory.push_back(memory.peak);
    if (rank > 0 && memory.peak <= plan.memory.peak) continue;
    plan.memory = memory;
    plan.program = plan.programs[rank];
    plan.report = check(plan.program, check_options(step));
    plan.pp_rank = rank;
  }
  return plan;
}

std::string to_text(const TrainingPlan& plan) {
  std::string out = cat("mesh    ", plan.mesh.describe(), "\n");
  out += cat("model   ", count_text(plan.parameters), " parameters in ", plan.units.size(), " units\n");
  append_units(out, plan.units);
  out += plan.tp_plan;
  out += plan.stage_memory.size() > 1 ? cat("step    of pp rank ", plan.pp_rank, ", the fullest\n")
                                      : std::string("step    of one rank\n");
  append_line(out, "micro-batches", cat(plan.shape.microbatches, " of ", plan.shape.tokens, " tokens"));
  append_line(out, "instructions", cat(plan.program.instructions.size()));
  append_line(out, "gathers, reductions", cat(plan.report.gathers, ", ", plan.report.reductions));
  append_line(out, "full units at a time", cat(plan.report.peak_gathered));
  out += "memory  of one rank\n";
  const MemoryEstimate& memory = plan.memory;
  append_line(out, "weights", megabytes(memory.weights));
  append_line(out, "master weights", megabytes(memory.masters));
  append_line(out, "optimizer", megabytes(memory.optimizer));
  append_line(out, "gradients", megabytes(memory.gradients));
  append_line(out, "gradient buffers", megabytes(memory.buffers));
  append_line(out, "gathered weights", megabytes(memory.gathered));
  if (memory.float8 > 0) append_line(out, "weights in float8", megabytes(memory.float8));
  append_line(out, "activations", megabytes(memory.activations));
  append_line(out, "peak", megabytes(memory.peak));
  for (size_t rank = 0; plan.stage_memory.size() > 1 && rank < plan.stage_memory.size(); ++rank) {
    append_line(out, cat("peak of pp rank ", rank), megabytes(plan.stage_memory[rank]));
  }
  return out;
}

}  // namespace tessera
