// What the search found, as a table and as JSON.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "train/plan_search.h"

namespace tessera {
namespace {

std::string recompute_name(Recompute recompute) {
  switch (recompute) {
    case Recompute::none:
      return "none";
    case Recompute::selective:
      return "selective";
    case Recompute::mlp:
      return "mlp";
    case Recompute::full:
      return "full";
  }
  return "none";
}

std::string reshard_name(const ReshardPolicy& policy) {
  switch (policy.kind) {
    case ReshardPolicy::Kind::always:
      return "true";
    case ReshardPolicy::Kind::never:
      return "false";
    case ReshardPolicy::Kind::keep_last:
      return "keep_last";
    case ReshardPolicy::Kind::group:
      return std::to_string(policy.group);
  }
  return "keep_last";
}

std::string pipeline_name(const PlanCandidate& plan) {
  if (plan.mesh.pp <= 1) return "-";
  std::string name(schedule_name(plan.options.pipeline.schedule));
  const int stages = stages_per_rank(plan.options.pipeline.schedule, plan.options.pipeline.per_rank);
  if (stages > 1) name += cat(" x", stages);
  return name;
}

template <class... Values>
std::string format(const char* pattern, Values... values) {
  char text[256];
  std::snprintf(text, sizeof text, pattern, values...);
  return text;
}

// What happens to weights and gradients between micro-batches.
std::string storage_name(const PlanCandidate& plan) {
  const bool kept = plan.mesh.pp > 1 || plan.options.reshard.kind == ReshardPolicy::Kind::never;
  const bool summed = plan.options.defer_gradient_sync && plan.microbatches > 1;
  return cat(kept ? "keep" : "gather", summed ? ", sum" : "");
}

std::string row(const PlanCandidate& plan, int64_t index, int world) {
  const MeshSpec& m = plan.mesh;
  return format(
      "%3lld  %4lld %5lld %6lld %4lld %3lld %3lld  %-17s %-10s %5lld %6lld  %-12s %9.4g %9.6g %6.1f %8.1f "
      "%7.1f "
      "%8.1f\n",
      static_cast<long long>(index), static_cast<long long>(m.pp), static_cast<long long>(m.dp_replicate),
      static_cast<long long>(m.dp_shard), static_cast<long long>(m.cp), static_cast<long long>(m.tp),
      static_cast<long long>(m.ep), pipeline_name(plan).c_str(),
      recompute_name(plan.options.recompute).c_str(), static_cast<long long>(plan.micro_batch),
      static_cast<long long>(plan.microbatches), storage_name(plan).c_str(), plan.time.seconds,
      plan.time.tokens_per_second / world, 100 * plan.time.mfu, 100 * plan.time.exposed,
      100 * plan.time.bubble, static_cast<double>(plan.memory.peak) / 1e9);
}

constexpr const char* kHeader =
    "  #    pp   rep  shard   cp  tp  ep  pipeline          recompute  micro  count  storage       step s  "
    "tok/s/dev   MFU % exposed % bubble %   memory\n";

nlohmann::ordered_json plan_json(const PlanCandidate& plan, const SearchReport& report) {
  const MeshSpec& m = plan.mesh;
  nlohmann::ordered_json json;
  json["mesh"] = {
      {"pp", m.pp}, {"dp_replicate", m.dp_replicate}, {"dp_shard", m.dp_shard}, {"cp", m.cp}, {"tp", m.tp},
      {"ep", m.ep}};
  nlohmann::ordered_json& recipe = json["recipe"];
  recipe["parallel.pp"] = m.pp;
  recipe["parallel.dp_replicate"] = m.dp_replicate;
  recipe["parallel.dp_shard"] = m.dp_shard;
  recipe["parallel.cp"] = m.cp;
  recipe["parallel.tp"] = m.tp;
  if (m.ep > 1) recipe["parallel.ep"] = m.ep;
  recipe["parallel.sequence_parallel"] = plan.options.sequence_parallel;
  if (m.pp > 1) {
    recipe["parallel.pp_schedule"] = std::string(schedule_name(plan.options.pipeline.schedule));
    if (plan.options.pipeline.per_rank > 0) recipe["parallel.pp_virtual"] = plan.options.pipeline.per_rank;
  }
  recipe["parallel.defer_gradient_sync"] = plan.options.defer_gradient_sync;
  recipe["memory.recompute"] = recompute_name(plan.options.recompute);
  recipe["memory.reshard_after_forward"] = reshard_name(plan.options.reshard);
  recipe["train.micro_batch"] = plan.micro_batch;
  recipe["train.global_batch"] = report.global_batch;
  json["microbatches"] = plan.microbatches;
  json["step_seconds"] = plan.time.seconds;
  json["tokens_per_second"] = plan.time.tokens_per_second;
  json["mfu"] = plan.time.mfu;
  json["computing"] = plan.time.computing;
  json["exposed_communication"] = plan.time.exposed;
  json["bubble"] = plan.time.bubble;
  const MemoryEstimate& b = plan.memory;
  json["memory_bytes"] = {
      {"weights", b.weights},     {"masters", b.masters},         {"optimizer", b.optimizer},
      {"gradients", b.gradients}, {"buffers", b.buffers},         {"gathered", b.gathered},
      {"float8", b.float8},       {"activations", b.activations}, {"peak", b.peak}};
  return json;
}

}  // namespace

std::string to_text(const SearchReport& report) {
  std::string out =
      format("%lld ranks of %s, %.1f GB each; %.2f B parameters; %lld rows of %lld tokens a step\n",
             static_cast<long long>(report.world), report.cluster.name.c_str(),
             report.cluster.memory_bytes / 1e9, static_cast<double>(report.parameters) / 1e9,
             static_cast<long long>(report.global_batch), static_cast<long long>(report.seq_len));
  out += format("%lld ways considered, %lld fit, %lld walked\n", static_cast<long long>(report.considered),
                static_cast<long long>(report.fitting), static_cast<long long>(report.walked));
  if (report.best.empty() && !report.smallest) return out + "no mesh is possible\n";
  out += kHeader;
  int64_t index = 0;
  for (const PlanCandidate& plan : report.best) out += row(plan, ++index, report.world);
  if (report.best.empty()) {
    out += row(*report.smallest, 0, report.world);
    out += format("nothing fits: this needs the least memory, %.1f GB of %.1f GB\n",
                  static_cast<double>(report.smallest->memory.peak) / 1e9,
                  report.cluster.memory_bytes * (1 - report.cluster.reserved_fraction) / 1e9);
  }
  out +=
      "memory in GB of the fullest rank; storage: keep or gather weights for each micro-batch, sum gradients "
      "over them\n";
  return out;
}

std::string to_json(const SearchReport& report) {
  nlohmann::ordered_json json;
  json["world"] = report.world;
  json["cluster"] = nlohmann::ordered_json::parse(to_json(report.cluster));
  json["parameters"] = report.parameters;
  json["global_batch"] = report.global_batch;
  json["seq_len"] = report.seq_len;
  json["considered"] = report.considered;
  json["fitting"] = report.fitting;
  json["walked"] = report.walked;
  json["plans"] = nlohmann::ordered_json::array();
  for (const PlanCandidate& plan : report.best) json["plans"].push_back(plan_json(plan, report));
  json["smallest"] = nullptr;
  if (report.smallest) json["smallest"] = plan_json(*report.smallest, report);
  return json.dump(2);
}

}  // namespace tessera
