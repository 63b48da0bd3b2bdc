// Costs of a plan's units, and the walk over its programs with them.
#include "train/plan_time.h"

#include <algorithm>
#include <cstdio>

#include "core/error.h"
#include "train/step_program.h"

namespace tessera {
namespace {

int64_t element_size(at::ScalarType dtype) {
  return static_cast<int64_t>(c10::elementSize(dtype));
}

UnitWork unit_work(const TrainingPlan& plan, const TrainerOptions& options, const CostModel& cost) {
  UnitWork work;
  work.tokens = plan.shape.tokens;
  work.tp = cost.group(plan.mesh, Axis::tp);
  work.cp = cost.group(plan.mesh, Axis::cp);
  work.document = plan.shape.document > 0 ? plan.shape.document : plan.shape.tokens * work.cp.size;
  work.ep = cost.expert_group(plan.mesh, options.experts.split_width);
  work.expert_exchange = parse_expert_exchange(options.experts.exchange);
  work.sequence_parallel = options.sequence_parallel && work.tp.size > 1;
  work.context = options.context;
  work.recompute = options.recompute;
  work.loss_chunk = {options.loss_chunk, plan.shape.on_device};
  const bool alone = plan.mesh.size_of({Axis::dp_shard, Axis::cp}) == 1;
  work.accumulate = options.precision.param != at::kFloat && plan.shape.microbatches > 1 &&
                    (options.defer_gradient_sync || alone);
  return work;
}

// A unit of several members makes the activations of all but the last again inside its backward.
void add_member(UnitTimes& unit, const UnitTimes& member, bool again) {
  if (again) unit.input += unit.again;
  unit += member;
}

// What the storage of a unit costs over the shards and the replicas of its domains, one after the other.
class StorageClock {
 public:
  StorageClock(const TrainingPlan& plan, const TrainerOptions& options, const CostModel& cost)
      : plan_(plan), options_(options), cost_(cost) {
    const bool cut = options.experts.split_width;
    shards_ = {cost.shard_group(plan.mesh), cost.expert_shards(plan.mesh, cut)};
    replicas_ = {cost.group(plan.mesh, Axis::dp_replicate), cost.expert_replicas(plan.mesh, cut)};
  }

  double gather(const UnitSizes& sizes) const {
    if (in_place()) return 0;
    const int64_t element = element_size(options_.precision.param);
    const bool cast = casts_weights(options_, plan_.shape.on_device);
    const int64_t moved = element + element_size(options_.precision.master);
    return over(sizes, [&](size_t d, const StorageSizes& storage) {
      return cost_.all_gather(shards_[d], bytes(storage.full, element)) +
             (cast ? cost_.pass(bytes(storage.shard, moved)) : 0);
    });
  }

  double reduce(const UnitSizes& sizes) const {
    const bool wide = options_.defer_gradient_sync && plan_.shape.microbatches > 1;
    const int64_t source = wide ? 4 : element_size(options_.precision.param);
    return over(sizes, [&](size_t d, const StorageSizes& storage) {
      // Alone it is in place already; in shared memory it is one pass over the peers' rows.
      if (shards_[d].size == 1) return 0.0;
      if (in_place()) {
        return cost_.pass(bytes(storage.full, source) + bytes(storage.shard, 4));
      }
      return cost_.reduce_scatter(shards_[d], bytes(storage.full, element_size(options_.precision.reduce)));
    });
  }

  double replicas(const UnitSizes& sizes) const {
    return over(sizes, [&](size_t d, const StorageSizes& storage) {
      return cost_.all_reduce(replicas_[d], bytes(storage.shard, 4));
    });
  }

 private:
  static double bytes(int64_t elements, int64_t element) {
    return static_cast<double>(elements) * static_cast<double>(element);
  }
  bool in_place() const { return cost_.cluster().shares_memory && plan_.shape.shared_memory; }

  template <class Function>
  static double over(const UnitSizes& sizes, const Function& seconds) {
    double sum = 0;
    for (size_t d = 0; d < sizes.storage.size(); ++d) {
      if (sizes.storage[d].full > 0) sum += seconds(d, sizes.storage[d]);
    }
    return sum;
  }

  const TrainingPlan& plan_;
  const TrainerOptions& options_;
  const CostModel& cost_;
  ByDomain<GroupShape> shards_, replicas_;
};

double optimizer_seconds(const TrainerOptions& options, bool cast, const CostModel& cost, double elements) {
  const bool separate = options.precision.master != options.precision.param && !cast;
  // Master and state are read and written, the gradient is read, the computing copy written.
  const bool adam = options.optimizer.name == "adamw";
  const double states = adam ? 2 : (options.optimizer.momentum != 0 ? 1 : 0);
  const double bytes = 8 * (1 + states) + 4 + (separate ? element_size(options.precision.param) : 0);
  return cost.update(elements * bytes);
}

const PhaseTime* phase_of(const UnitTimes& unit, Phase phase) {
  switch (phase) {
    case Phase::forward:
      return &unit.forward;
    case Phase::recompute:
      return &unit.again;
    case Phase::backward_input:
      return &unit.input;
    case Phase::backward_weight:
      return &unit.weight;
    default:
      return nullptr;
  }
}

std::string percent(double share) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f %%", 100 * share);
  return text;
}

}  // namespace

PlanTimes plan_times(const TrainingPlan& plan, const ModelConfig& config, const TrainerOptions& options,
                     const CostModel& cost) {
  const UnitWork work = unit_work(plan, options, cost);
  const LayerCut cut = layer_cut(plan.mesh, options);
  const StorageClock storage(plan, options, cost);
  int64_t members = 0;
  for (const PlannedUnit& unit : plan.units) members += unit.members;
  TESSERA_CHECK(members == config.num_layers + 2, internal, "a plan of ", members, " units for ",
                config.num_layers, " layers");

  PlanTimes times;
  std::vector<double> elements(plan.stage_memory.size(), 0);
  int64_t member = 0;
  for (const PlannedUnit& planned : plan.units) {
    UnitTimes unit;
    for (int i = 0; i < planned.members; ++i, ++member) {
      const int64_t layer = std::clamp<int64_t>(member - 1, 0, config.num_layers - 1);
      const LayerShape shape = layer_shape(config, layer, cut);
      if (member == 0) {
        unit += embedding_times(cost, shape, work);
      } else if (member == members - 1) {
        unit += head_times(cost, shape, work);
      } else {
        const bool again = options.recompute == Recompute::full && i > 0;
        add_member(unit, layer_times(cost, shape, work), again);
      }
    }
    times.units.push_back(unit);
    times.gathers.push_back(storage.gather(planned.sizes));
    times.reduces.push_back(storage.reduce(planned.sizes));
    times.replicas.push_back(storage.replicas(planned.sizes));
    elements.at(planned.stage_rank) += static_cast<double>(planned.sizes.shard_elements());
  }
  const LayerShape first = layer_shape(config, 0, cut);
  const double message =
      static_cast<double>(work.tokens * first.resident) * static_cast<double>(cost.element());
  times.transfer = cost.send(cost.group(plan.mesh, Axis::pp), message);
  const double most = *std::max_element(elements.begin(), elements.end());
  times.norm = cost.pass(4 * most) + cost.all_reduce({plan.mesh.world_size(), 1}, 64);
  const bool cast = casts_weights(options, plan.shape.on_device);
  for (const double shard : elements) {
    times.optimizer.push_back(optimizer_seconds(options, cast, cost, shard));
  }
  return times;
}

TimelineCost plan_cost(const PlanTimes& times) {
  return [&times](int rank, Phase phase, const Instruction& now) -> double {
    if (phase == Phase::norm) return times.norm;
    if (phase == Phase::optimizer) return times.optimizer.at(rank);
    if (phase == Phase::transfer) return times.transfer;
    if (phase == Phase::gather) return times.gathers.at(now.unit);
    if (phase == Phase::reduce) {
      return now.op == Op::reduce_replicas ? times.replicas.at(now.unit) : times.reduces.at(now.unit);
    }
    const UnitTimes& unit = times.units.at(now.unit);
    if (phase == Phase::backward) return unit.input.total() + unit.weight.total();
    return phase_of(unit, phase)->total();
  };
}

StepTime time_plan(const TrainingPlan& plan, const ModelConfig& config, const TrainerOptions& options,
                   const Cluster& cluster) {
  const CostModel cost(cluster, options.precision.param == at::kFloat);
  const PlanTimes times = plan_times(plan, config, options, cost);
  double inside = 0;  // exposed communication in units, over all ranks
  const TimelineCost seconds = plan_cost(times);
  const TimelineCost counted = [&](int rank, Phase phase, const Instruction& now) {
    if (phase == Phase::backward) {
      inside += times.units.at(now.unit).input.exposed + times.units.at(now.unit).weight.exposed;
    } else if (now.unit >= 0) {
      const PhaseTime* part = phase_of(times.units.at(now.unit), phase);
      if (part) inside += part->exposed;
    }
    return seconds(rank, phase, now);
  };
  TimelineOptions walk;
  walk.events = false;
  walk.overlap = !cluster.shares_memory;
  const Timeline timeline = make_timeline(plan.programs, counted, walk);

  StepTime time;
  time.seconds = timeline.length;
  const auto ranks = static_cast<double>(timeline.ranks.size());
  double computing = 0;
  double waiting = 0;
  for (const RankTime& rank : timeline.ranks) {
    computing += rank.computing + times.norm;
    waiting += rank.waiting_collectives;
  }
  const double whole = timeline.length * ranks;
  time.computing = (computing - inside) / whole;
  time.exposed = (waiting + inside) / whole;
  time.bubble = std::max(0.0, 1 - time.computing - time.exposed);
  const auto world = static_cast<double>(plan.mesh.world_size());
  const double tokens = static_cast<double>(plan.shape.tokens * plan.shape.microbatches) * world /
                        static_cast<double>(plan.mesh.size_of({Axis::pp, Axis::tp}));
  const int64_t document = unit_work(plan, options, cost).document;
  time.tokens_per_second = tokens / time.seconds;
  time.mfu = time.tokens_per_second * model_flops_per_token(config, document) / (world * cost.peak_flops());
  return time;
}

StepTime continued(const StepTime& shorter, const StepTime& longer, int64_t more) {
  const auto rounds = static_cast<double>(more);
  const auto carried = [&](double before, double after) { return after + rounds * (after - before); };
  StepTime time = longer;
  time.seconds = carried(shorter.seconds, longer.seconds);
  const auto share = [&](double StepTime::* part) {
    const double seconds = carried(shorter.*part * shorter.seconds, longer.*part * longer.seconds);
    return std::clamp(seconds / time.seconds, 0.0, 1.0);
  };
  time.computing = share(&StepTime::computing);
  time.exposed = share(&StepTime::exposed);
  time.bubble = share(&StepTime::bubble);
  // The model's operations in seconds of the peak are a share of the step as well.
  time.mfu = share(&StepTime::mfu);
  time.tokens_per_second = longer.tokens_per_second * longer.seconds / time.seconds;
  return time;
}

std::string to_text(const StepTime& time, const Cluster& cluster) {
  char line[96];
  std::string out = cat("time    on ", cluster.name, "\n");
  std::snprintf(line, sizeof line, "  %-28s%.4g s\n", "step", time.seconds);
  out += line;
  std::snprintf(line, sizeof line, "  %-28s%.6g\n", "tokens a second", time.tokens_per_second);
  out += line;
  out += cat("  MFU                         ", percent(time.mfu), "\n");
  out += cat("  computing                   ", percent(time.computing), "\n");
  out += cat("  exposed communication       ", percent(time.exposed), "\n");
  out += cat("  bubble                      ", percent(time.bubble), "\n");
  return out;
}

}  // namespace tessera
