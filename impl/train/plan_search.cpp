// Enumeration of meshes and policies, the sieve, and the walk of what is left.
#include "train/plan_search.h"

#include <algorithm>
#include <thread>

#include "core/error.h"
#include "simulate/calibrate.h"
#include "train/plan_formulas.h"
#include "train/recipe.h"

namespace tessera {
namespace {

// Meshes whose best ways are planned and walked for each that is asked for, and ways of each mesh.
constexpr int64_t kMeshesWalked = 4;
constexpr size_t kWaysOfAMesh = 3;
// The sieve lets through what needs a little more than there is: it may be wrong by that.
constexpr double kSieveSlack = 1.15;

std::vector<int64_t> divisors(int64_t number) {
  std::vector<int64_t> low, high;
  for (int64_t d = 1; d * d <= number; ++d) {
    if (number % d != 0) continue;
    low.push_back(d);
    if (d != number / d) high.push_back(number / d);
  }
  low.insert(low.end(), high.rbegin(), high.rend());
  return low;
}

template <class T>
std::vector<T> either(const std::vector<T>& asked, std::vector<T> otherwise) {
  return asked.empty() ? std::move(otherwise) : asked;
}

std::vector<int64_t> at_most(std::vector<int64_t> values, int64_t limit) {
  std::erase_if(values, [&](int64_t value) { return value > limit; });
  return values;
}

bool is_default(const std::vector<int64_t>& asked, int64_t value) {
  return asked.empty() || std::find(asked.begin(), asked.end(), value) != asked.end();
}

// How much memory a device has for a plan.
double room(const Cluster& cluster) {
  return cluster.memory_bytes * (1 - cluster.reserved_fraction);
}

struct Way {
  PlanCandidate candidate;
  double seconds;
  double bytes;
};

struct MeshWays {
  MeshSpec mesh;
  std::vector<Way> fitting;   // the fastest first
  std::vector<Way> smallest;  // at most one
};

class Search {
 public:
  Search(const ModelConfig& config, const SearchOptions& options, const Cluster& cluster)
      : config_(config), options_(options), cluster_(cluster), formulas_(config, options_, cluster) {
    options_.shared_memory = options.shared_memory && cluster.shares_memory;
    if (options_.global_batch == 0) options_.global_batch = chosen_batch();
  }

  SearchReport run() {
    SearchReport report;
    report.cluster = cluster_;
    report.world = options_.world;
    report.parameters = static_cast<int64_t>(formulas_.parameters());
    report.global_batch = options_.global_batch;
    report.seq_len = options_.seq_len;
    enumerate();
    report.considered = considered_;
    report.fitting = fitting_;
    walk(report);
    return report;
  }

 private:
  // Four million tokens, as large models are trained with, or a row a rank if that is more.
  int64_t chosen_batch() const {
    constexpr int64_t kTokens = int64_t{4} << 20;
    const int64_t rows = (kTokens + options_.seq_len - 1) / options_.seq_len;
    return (rows + options_.world - 1) / options_.world * options_.world;
  }

  void enumerate() {
    const SearchSpace& space = options_.space;
    const std::vector<int64_t> all = divisors(options_.world);
    const int64_t node = std::min<int64_t>(cluster_.node_devices, 64);
    for (const int64_t tp : either(space.tp, at_most(all, std::min(node, config_.num_heads)))) {
      if (tp < 1 || config_.num_heads % tp != 0) continue;
      for (const int64_t pp : either(space.pp, at_most(all, std::min<int64_t>(64, config_.num_layers)))) {
        // Fewer than 512 tokens a rank and row are no longer worth an exchange.
        for (const int64_t cp :
             either(space.cp, at_most(all, std::clamp<int64_t>(options_.seq_len / 512, 1, 64)))) {
          if (pp < 1 || cp < 1 || options_.world % (pp * cp * tp) != 0) continue;
          shardings(pp, cp, tp, options_.world / (pp * cp * tp));
        }
      }
    }
  }

  // Weights shared by all data-parallel ranks, by those of one node, or by those of a few nodes.
  void shardings(int64_t pp, int64_t cp, int64_t tp, int64_t dp) {
    const SearchSpace& space = options_.space;
    const int64_t in_node = std::max<int64_t>(1, cluster_.node_devices / (cp * tp));
    for (const int64_t shard : divisors(dp)) {
      const int64_t replicate = dp / shard;
      if (!is_default(space.dp_shard, shard) || !is_default(space.dp_replicate, replicate)) continue;
      const bool asked = !space.dp_shard.empty() || !space.dp_replicate.empty();
      const bool usual =
          shard == dp || (shard >= in_node && shard % in_node == 0 && shard <= 64 * in_node) || shard == 1;
      if (!asked && !usual) continue;
      for (const int64_t ep : expert_ways({pp, replicate, shard, cp, tp})) {
        ways({pp, replicate, shard, cp, tp, ep});
      }
    }
  }

  // Degrees of ep over which a mesh can spread the experts.
  std::vector<int64_t> expert_ways(const MeshSpec& mesh) const {
    if (config_.moe.experts == 0) return {1};
    const int64_t tp = options_.base.experts.split_width ? 1 : mesh.tp;
    const int64_t ranks = mesh.dp_replicate * mesh.dp_shard * mesh.cp * tp;
    std::vector<int64_t> degrees = either(options_.space.ep, divisors(config_.moe.experts));
    std::erase_if(degrees, [&](int64_t ep) { return config_.moe.experts % ep != 0 || ranks % ep != 0; });
    return degrees;
  }

  void ways(const MeshSpec& spec) {
    const SearchSpace& space = options_.space;
    const Mesh mesh(spec, options_.world);
    const int64_t dp = spec.dp_replicate * spec.dp_shard;
    MeshWays found{spec, {}, {}};
    PlanCandidate candidate;
    candidate.mesh = spec;
    candidate.options = options_.base;
    TrainerOptions& o = candidate.options;
    std::vector<PipelineOptions> pipelines = {options_.base.pipeline};
    if (spec.pp > 1) pipelines = either(space.pipelines, usual_pipelines(spec.pp));
    std::vector<ReshardPolicy> reshards = {options_.base.reshard};
    if (spec.pp == 1 && spec.dp_shard * spec.cp > 1) reshards = either(space.reshard, usual_reshards());
    for (const int64_t micro : either(space.micro_batch, std::vector<int64_t>{1, 2, 4, 8, 16})) {
      if (micro > options_.global_batch / dp || options_.global_batch % (micro * dp) != 0) continue;
      candidate.micro_batch = micro;
      candidate.microbatches = options_.global_batch / (micro * dp);
      const bool rounds = candidate.microbatches > 1;
      for (const Recompute recompute :
           either(space.recompute, {Recompute::none, Recompute::selective, Recompute::full})) {
        o.recompute = recompute;
        for (const bool sequence : either(space.sequence_parallel, {true})) {
          o.sequence_parallel = sequence && spec.tp > 1;
          for (const bool defer : either(space.defer_gradient_sync,
                                         rounds ? std::vector<bool>{true, false} : std::vector<bool>{true})) {
            o.defer_gradient_sync = defer;
            for (const ReshardPolicy& reshard : reshards) {
              o.reshard = reshard;
              for (const PipelineOptions& pipeline : pipelines) {
                o.pipeline = pipeline;
                consider(candidate, mesh, found);
              }
            }
          }
        }
      }
    }
    if (!found.fitting.empty() || !found.smallest.empty()) meshes_.push_back(std::move(found));
  }

  std::vector<PipelineOptions> usual_pipelines(int64_t pp) const {
    std::vector<PipelineOptions> all;
    const auto add = [&](PipelineSchedule schedule, int per_rank) {
      PipelineOptions options = options_.base.pipeline;
      options.schedule = schedule;
      options.per_rank = per_rank;
      all.push_back(options);
    };
    add(PipelineSchedule::one_f_one_b, 0);
    add(PipelineSchedule::zero_bubble, 0);
    for (const int per_rank : {2, 4}) {
      if (pp * per_rank <= config_.num_layers) add(PipelineSchedule::interleaved, per_rank);
    }
    return all;
  }

  std::vector<ReshardPolicy> usual_reshards() const {
    return {{ReshardPolicy::Kind::keep_last, 0}, {ReshardPolicy::Kind::never, 0}};
  }

  void consider(const PlanCandidate& candidate, const Mesh& mesh, MeshWays& found) {
    ++considered_;
    const PlanFormulas::Estimate estimate = formulas_.estimate(candidate, mesh);
    const Way way{candidate, estimate.seconds, estimate.bytes};
    if (found.smallest.empty() || way.bytes < found.smallest[0].bytes) found.smallest = {way};
    if (estimate.bytes > room(cluster_) * kSieveSlack) return;
    ++fitting_;
    std::vector<Way>& ways = found.fitting;
    const auto place = std::upper_bound(ways.begin(), ways.end(), way,
                                        [](const Way& a, const Way& b) { return a.seconds < b.seconds; });
    if (ways.size() == kWaysOfAMesh && place == ways.end()) return;
    ways.insert(place, way);
    if (ways.size() > kWaysOfAMesh) ways.pop_back();
  }

  // Null when the trainer would refuse it.
  std::optional<PlanCandidate> evaluate(const PlanCandidate& candidate, SearchReport& report) {
    try {
      ++report.walked;
      return evaluate_plan(config_, options_, cluster_, candidate);
    } catch (const Error& error) {
      refusal_ = error;
      return std::nullopt;
    }
  }

  void walk(SearchReport& report) {
    TESSERA_CHECK(considered_ > 0, argument, "no mesh of ", options_.world, " ranks divides ",
                  options_.global_batch, " rows as the recipe fixes it");
    std::vector<const MeshWays*> order;
    for (const MeshWays& mesh : meshes_) {
      if (!mesh.fitting.empty()) order.push_back(&mesh);
    }
    std::stable_sort(order.begin(), order.end(), [](const MeshWays* a, const MeshWays* b) {
      return a->fitting[0].seconds < b->fitting[0].seconds;
    });
    int64_t meshes = 0;
    for (const MeshWays* mesh : order) {
      if (meshes >= kMeshesWalked * options_.top &&
          static_cast<int64_t>(report.best.size()) >= options_.top) {
        break;
      }
      ++meshes;
      std::optional<PlanCandidate> best;
      for (const Way& way : mesh->fitting) {
        const std::optional<PlanCandidate> plan = evaluate(way.candidate, report);
        if (!plan || static_cast<double>(plan->memory.peak) > room(cluster_)) continue;
        if (!best || plan->time.seconds < best->time.seconds) best = plan;
      }
      // What the sieve thought the fastest may not fit: then what needs the least may.
      if (!best && !mesh->smallest.empty()) {
        const std::optional<PlanCandidate> plan = evaluate(mesh->smallest[0].candidate, report);
        if (plan && static_cast<double>(plan->memory.peak) <= room(cluster_)) best = plan;
      }
      if (best) report.best.push_back(*best);
    }
    std::stable_sort(
        report.best.begin(), report.best.end(),
        [](const PlanCandidate& a, const PlanCandidate& b) { return a.time.seconds < b.time.seconds; });
    if (static_cast<int64_t>(report.best.size()) > options_.top) report.best.resize(options_.top);
    if (report.best.empty()) find_smallest(report);
  }

  void find_smallest(SearchReport& report) {
    std::vector<const Way*> order;
    for (const MeshWays& mesh : meshes_) order.push_back(&mesh.smallest[0]);
    std::stable_sort(order.begin(), order.end(),
                     [](const Way* a, const Way* b) { return a->bytes < b->bytes; });
    if (order.size() > 8) order.resize(8);
    for (const Way* way : order) {
      const std::optional<PlanCandidate> plan = evaluate(way->candidate, report);
      if (!plan) continue;
      if (static_cast<double>(plan->memory.peak) <= room(cluster_)) report.best.push_back(*plan);
      if (!report.smallest || plan->memory.peak < report.smallest->memory.peak) report.smallest = plan;
    }
    if (!report.best.empty()) report.smallest.reset();
    if (report.best.empty() && !report.smallest && refusal_) throw Error(*refusal_);
  }

  const ModelConfig& config_;
  SearchOptions options_;
  const Cluster& cluster_;
  PlanFormulas formulas_;
  std::vector<MeshWays> meshes_;
  int64_t considered_ = 0;
  int64_t fitting_ = 0;
  std::optional<Error> refusal_;
};

void check_options(const SearchOptions& options, const Cluster& cluster) {
  check_cluster(cluster);
  TESSERA_CHECK(options.world >= 1, argument, "world=", options.world, " is not positive");
  TESSERA_CHECK(options.seq_len >= 1, argument, "seq_len=", options.seq_len, " is not positive");
  TESSERA_CHECK(options.global_batch >= 0, argument, "global_batch=", options.global_batch, " is negative");
  TESSERA_CHECK(options.top >= 1 && options.top <= 1000, argument, "plan.top=", options.top,
                " is not within 1..1000");
}

}  // namespace

PlanCandidate evaluate_plan(const ModelConfig& config, const SearchOptions& options, const Cluster& cluster,
                            PlanCandidate candidate) {
  const Mesh mesh(candidate.mesh, options.world);
  const int64_t pp = mesh.size(Axis::pp);
  StepShape shape = step_shape(
      mesh,
      candidate.microbatches * candidate.micro_batch * mesh.size_of({Axis::dp_replicate, Axis::dp_shard}),
      candidate.micro_batch, options.seq_len);
  shape.shared_memory = options.shared_memory && cluster.shares_memory;
  shape.on_device = !cluster.shares_memory;
  // A schedule repeats itself every pp micro-batches once the pipeline is full.
  const int64_t period = pp;
  const int64_t most = shape.microbatches % period + (pp > 1 ? 4 : 3) * period;
  StepShape walked = shape;
  walked.microbatches = std::min(shape.microbatches, most);
  const TrainingPlan plan = plan_training(config, candidate.options, mesh, walked);
  candidate.memory = plan.memory;
  candidate.time = time_plan(plan, config, candidate.options, cluster);
  if (walked.microbatches == shape.microbatches) return candidate;

  StepShape shorter = walked;
  shorter.microbatches -= period;
  const StepTime before =
      time_plan(plan_training(config, candidate.options, mesh, shorter), config, candidate.options, cluster);
  candidate.time = continued(before, candidate.time, (shape.microbatches - walked.microbatches) / period);
  candidate.time.tokens_per_second *=
      static_cast<double>(shape.microbatches) / static_cast<double>(walked.microbatches);
  return candidate;
}

SearchReport search_plans(const ModelConfig& config, const SearchOptions& options, const Cluster& cluster) {
  check_options(options, cluster);
  return Search(config, options, cluster).run();
}

Cluster plan_cluster(const Config& config, int64_t world) {
  TESSERA_CHECK(config.has("cluster"), argument,
                "cluster is not set: name one, or here to measure this machine");
  const std::string name = config.text("cluster");
  if (name != "here") return find_cluster(name);
  CalibrationOptions calibration;
  const int64_t cores = std::max<int64_t>(1, std::thread::hardware_concurrency());
  calibration.ranks = static_cast<int>(std::min(world, cores));
  calibration.threads = static_cast<int>(config.integer("threads"));
  calibration.wide = config.text("precision.param") == "fp32";
  calibration.allocator = config.text("allocator");
  return calibrate(calibration);
}

SearchOptions search_options(const Config& config, int64_t world) {
  SearchOptions options;
  TESSERA_CHECK(world >= 1 && world <= (1 << 20), argument, "world=", world, " is not within 1..", 1 << 20);
  options.world = static_cast<int>(world);
  options.seq_len = config.integer("data.seq_len");
  options.top = config.integer("plan.top");
  if (config.is_set("train.global_batch")) options.global_batch = config.integer("train.global_batch");
  const std::string backend = config.text("backend");
  options.shared_memory = backend == "auto" || backend == "local";
  options.base = trainer_options(config);
  SearchSpace& space = options.space;
  const auto fix = [&](const char* key, std::vector<int64_t>& values) {
    if (config.is_set(key) && config.integer(key) > 0) values = {config.integer(key)};
  };
  fix("parallel.pp", space.pp);
  fix("parallel.dp_replicate", space.dp_replicate);
  fix("parallel.dp_shard", space.dp_shard);
  fix("parallel.cp", space.cp);
  fix("parallel.tp", space.tp);
  fix("parallel.ep", space.ep);
  fix("train.micro_batch", space.micro_batch);
  if (config.is_set("memory.recompute")) space.recompute = {options.base.recompute};
  if (config.is_set("parallel.pp_schedule")) space.pipelines = {options.base.pipeline};
  if (config.is_set("parallel.defer_gradient_sync")) {
    space.defer_gradient_sync = {options.base.defer_gradient_sync};
  }
  if (config.is_set("parallel.sequence_parallel")) space.sequence_parallel = {options.base.sequence_parallel};
  if (config.is_set("memory.reshard_after_forward")) space.reshard = {options.base.reshard};
  return options;
}

}  // namespace tessera
