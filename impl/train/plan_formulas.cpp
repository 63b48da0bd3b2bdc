// The sieve's formulas.
#include "train/plan_formulas.h"

#include <algorithm>
#include <cmath>

#include "train/step_program.h"

namespace tessera {
namespace {

double whole(const PhaseTime& a, const PhaseTime& b) {
  return a.total() + b.total();
}

}  // namespace

PlanFormulas::PlanFormulas(const ModelConfig& config, const SearchOptions& options, const Cluster& cluster)
    : config_(config), options_(options), cost_(cluster, options.base.precision.param == at::kFloat) {
  const std::vector<std::unique_ptr<Unit>> units = build_units(config, ParallelContext{});
  for (size_t u = 0; u < units.size(); ++u) {
    const bool layer = u > 0 && u + 1 < units.size();
    for (const ParamSpec& spec : units[u]->params()) {
      const auto elements = static_cast<double>(checked_numel(spec.shape));
      parameters_ += elements;
      if (spec.ep_index >= 0) {
        expert_parameters_ += elements;
      } else if (layer) {
        layer_parameters_ += elements;
      }
    }
  }
}

const PlanFormulas::Parts& PlanFormulas::parts(const PlanCandidate& candidate, const Mesh& mesh) {
  const int64_t tp = mesh.size(Axis::tp);
  const int64_t cp = mesh.size(Axis::cp);
  const bool sequence = candidate.options.sequence_parallel && tp > 1;
  const auto key = std::tuple(tp, cp, mesh.ep(), candidate.micro_batch,
                              static_cast<int>(candidate.options.recompute), sequence);
  const auto found = parts_.find(key);
  if (found != parts_.end()) return found->second;

  UnitWork work;
  work.tokens = (candidate.micro_batch * options_.seq_len + cp - 1) / cp;
  work.document = options_.seq_len;
  work.tp = cost_.group(mesh, Axis::tp);
  work.cp = cost_.group(mesh, Axis::cp);
  work.ep = cost_.expert_group(mesh, candidate.options.experts.split_width);
  work.expert_exchange = parse_expert_exchange(candidate.options.experts.exchange);
  work.sequence_parallel = sequence;
  work.context = candidate.options.context;
  work.recompute = candidate.options.recompute;
  work.loss_chunk = {candidate.options.loss_chunk, !cost_.cluster().shares_memory};

  Parts parts;
  const int64_t element = cost_.element();
  const LayerCut cut = layer_cut(mesh, candidate.options);
  std::map<std::pair<int64_t, bool>, UnitTimes> known;  // by window and whether there are experts
  for (int64_t layer = 0; layer < config_.num_layers; ++layer) {
    const LayerShape shape = layer_shape(config_, layer, cut);
    const auto kind = std::pair(shape.window, shape.experts.count > 0);
    auto times = known.find(kind);
    if (times == known.end()) times = known.emplace(kind, layer_times(cost_, shape, work)).first;
    parts.layers += times->second;
    const Recompute recompute = candidate.options.recompute;
    const auto tokens = static_cast<double>(work.tokens);
    parts.saved += tokens * static_cast<double>(layer_saved_bytes(shape, recompute, element));
    double working = static_cast<double>(layer_working_bytes(shape, recompute, element));
    if (recompute == Recompute::full) {
      working += static_cast<double>(layer_saved_bytes(shape, Recompute::selective, element));
    }
    parts.working = std::max(parts.working, tokens * working);
  }
  const LayerShape shape = layer_shape(config_, 0, cut);
  parts.ends += embedding_times(cost_, shape, work);
  parts.ends += head_times(cost_, shape, work);
  parts.working = std::max(
      parts.working, static_cast<double>(head_working_bytes(shape, work.loss_chunk, work.tokens, element)));
  return parts_.emplace(key, parts).first->second;
}

// The stage that all others wait for: the last has the head and so fewer layers.
PlanFormulas::Stage PlanFormulas::slowest_stage(int64_t pp, double layers, double ends) const {
  if (pp == 1) return {layers + ends, 1};
  const double layer = layers / static_cast<double>(config_.num_layers);
  Stage best{layers + ends, 1};
  for (int64_t with_head = 0; with_head <= config_.num_layers / pp + 1; ++with_head) {
    const int64_t others = std::max<int64_t>(0, config_.num_layers - with_head);
    const auto most = static_cast<double>((others + pp - 2) / (pp - 1));
    const double seconds = std::max(most * layer, static_cast<double>(with_head) * layer + ends);
    if (seconds >= best.seconds) continue;
    best = {seconds,
            std::max(most, static_cast<double>(with_head)) / static_cast<double>(config_.num_layers)};
  }
  return best;
}

PlanFormulas::Estimate PlanFormulas::estimate(const PlanCandidate& candidate, const Mesh& mesh) {
  const Parts& p = parts(candidate, mesh);
  const TrainerOptions& o = candidate.options;
  const auto pp = static_cast<double>(mesh.size(Axis::pp));
  const auto tp = static_cast<double>(mesh.size(Axis::tp));
  const auto m = static_cast<double>(candidate.microbatches);
  const auto shards = static_cast<double>(mesh.size_of({Axis::dp_shard, Axis::cp}));
  const auto layers = static_cast<double>(config_.num_layers);
  const bool full = o.recompute == Recompute::full;

  // Computing of one micro-batch on one stage.
  const UnitTimes& l = p.layers;
  const double layer_seconds = whole(l.forward, l.input) + l.weight.total() + (full ? l.again.total() : 0);
  const double end_seconds = whole(p.ends.forward, p.ends.input) + p.ends.weight.total();
  const auto [stage, fullest] = slowest_stage(mesh.size(Axis::pp), layer_seconds, end_seconds);
  const double per_rank =
      pp > 1 ? static_cast<double>(stages_per_rank(o.pipeline.schedule, o.pipeline.per_rank)) : 1;
  double bubble = pp > 1 ? (pp - 1) * stage / per_rank : 0;
  if (o.pipeline.schedule == PipelineSchedule::zero_bubble) {
    bubble = std::max(0.0, bubble - (pp - 1) * 2 * l.weight.total() / pp);
  }

  // Storage: what is gathered and reduced for one micro-batch or for the step.
  const double end_elements = (parameters_ - layer_parameters_ - expert_parameters_) / (pp > 1 ? 2 : 1) / tp;
  const bool cut_width = o.experts.split_width;
  const double expert_cut = static_cast<double>(mesh.ep()) * (cut_width ? tp : 1);
  const Storage held{fullest * layer_parameters_ / tp + end_elements,
                     fullest * expert_parameters_ / expert_cut};
  const double stage_elements = held.dense + held.experts;
  const double param_bytes = static_cast<double>(c10::elementSize(o.precision.param));
  const bool keeps = pp > 1 || o.reshard.kind == ReshardPolicy::Kind::never;
  const bool defers = o.defer_gradient_sync && candidate.microbatches > 1;
  const GroupShape group = cost_.shard_group(mesh);
  const GroupShape expert_group = cost_.expert_shards(mesh, cut_width);
  const double units = layers / pp;
  const bool in_place = cost_.cluster().shares_memory && options_.shared_memory;
  const auto by_unit = [&](double element) {
    return units * (cost_.all_gather(group, held.dense * element / units) +
                    cost_.all_gather(expert_group, held.experts * element / units));
  };
  const bool alone = group.size == 1 && expert_group.size == 1;
  double gather = in_place ? 0 : by_unit(param_bytes);
  double reduce = alone      ? 0
                  : in_place ? cost_.pass(stage_elements * (defers ? 4 : param_bytes))
                             : by_unit(static_cast<double>(c10::elementSize(o.precision.reduce)));
  double exposed = 0;
  const double rounds_gather = keeps ? 1 : 2 * m;
  const double rounds_reduce = defers ? 1 : m;
  if (cost_.cluster().shares_memory) {
    exposed = rounds_gather * gather + rounds_reduce * reduce;
  } else if (!keeps || !defers) {
    const double beside = (keeps ? 0 : 2 * gather) + (defers ? 0 : reduce);
    exposed = m * std::max(0.0, beside - stage) + (keeps ? std::max(0.0, gather - stage) : 0) +
              (defers ? std::max(0.0, reduce - stage / 2) : 0) + (gather + reduce) / units;
  } else {
    exposed =
        std::max(0.0, gather - stage / 3) + std::max(0.0, reduce - stage * 2 / 3) + (gather + reduce) / units;
  }
  const double shard_elements = held.dense / shards + held.experts / static_cast<double>(expert_group.size);
  exposed += cost_.all_reduce(cost_.group(mesh, Axis::dp_replicate), 4 * shard_elements / units);
  const double update = cost_.pass(shard_elements * 34);

  Estimate result;
  result.seconds = m * stage + bubble + exposed + update;

  // Memory of the first stage, which has the most micro-batches under way.
  const bool separate = o.precision.master != o.precision.param;
  const double state = o.optimizer.name == "adamw" ? 8 : (o.optimizer.momentum != 0 ? 4 : 0);
  const bool cast = !in_place && casts_weights(o, !cost_.cluster().shares_memory);
  double bytes = shard_elements * ((cast ? 0 : param_bytes) + (separate ? 4 : 0) + state + 4);
  // Buffers: two or three of a layer's size, and one of each end's.
  const double unit_elements = (layer_parameters_ / tp + expert_parameters_ / expert_cut) / layers;
  if (!in_place && !alone) {
    bytes += (keeps ? stage_elements : 2 * unit_elements + end_elements) * param_bytes;
    // Shards on their way into a gather.
    if (cast) bytes += (2 * unit_elements + end_elements) / static_cast<double>(group.size) * param_bytes;
  }
  if (!alone) bytes += defers ? 4 * stage_elements : (3 * unit_elements + end_elements) * param_bytes;
  double in_flight = 1;
  if (pp > 1) {
    in_flight = std::min(m, pp);
    if (o.pipeline.schedule == PipelineSchedule::gpipe) in_flight = m;
    if (o.pipeline.schedule == PipelineSchedule::interleaved) {
      in_flight = std::min(m, pp * (1 + 1 / per_rank));
    }
  }
  bytes += in_flight * p.saved * fullest + p.working;
  result.bytes = bytes;
  return result;
}

}  // namespace tessera
