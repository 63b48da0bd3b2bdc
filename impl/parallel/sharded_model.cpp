// Wiring of units, layouts, weights, gradients and master shards.
#include "parallel/sharded_model.h"

#include <ATen/ops/zeros.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "comm/device_world.h"
#include "core/error.h"
#include "kernels/elementwise.h"
#include "kernels/multi_tensor.h"
#include "parallel/unit_grads.h"

namespace tessera {
namespace {

// n consecutive ranks of the sharding group, for reshard_after_forward = n.
GroupPtr make_reshard_group(const DeviceMesh& mesh, const GroupPtr& shard_group, int64_t n,
                            const char* ranks_name) {
  if (n <= 1 || n >= shard_group->size()) return nullptr;
  TESSERA_CHECK(shard_group->size() % n == 0, argument, "reshard_after_forward=", n, " does not divide ",
                ranks_name, "=", shard_group->size());
  const int64_t first = shard_group->rank() / n * n;
  const std::vector<int>& all = shard_group->world_ranks();
  const std::vector<int> ranks(all.begin() + first, all.begin() + first + n);
  return mesh.world()->group(cat("reshard_", shard_group->name(), "_", n), ranks);
}

// The ranks of the tp axis that hold the same part as this one, when each part has `copies` holders.
GroupPtr copies_group(const DeviceMesh& mesh, int64_t copies) {
  const GroupPtr& tp = mesh.group("tp");
  if (copies == tp->size()) return tp;
  const int64_t first = tp->rank() / copies * copies;
  const std::vector<int>& all = tp->world_ranks();
  return mesh.world()->group(cat("tp_copies_", copies), {all.begin() + first, all.begin() + first + copies});
}

// The ranks of the pp axis that hold the embedding and its copy.
GroupPtr tied_group(const DeviceMesh& mesh, const StagePlacement& stages) {
  const std::vector<int>& all = mesh.group("pp")->world_ranks();
  std::vector<int> ranks = {all[stages.rank_of_stage.front()], all[stages.rank_of_stage.back()]};
  std::sort(ranks.begin(), ranks.end());
  return mesh.world()->group("tied_embeddings", ranks);
}

// Trainable parameters with partial gradients, by the number of their copies, and tied embeddings.
std::vector<PartialGradients> partial_gradients(const DeviceMesh& mesh, const StagePlacement& stages,
                                                const std::vector<FsdpLayout>& layouts) {
  std::map<int64_t, PartialGradients> by_copies;
  PartialGradients tied;
  const int64_t tp = mesh.size("tp");
  for (size_t unit = 0; unit < layouts.size(); ++unit) {
    for (size_t p = 0; p < layouts[unit].params.size(); ++p) {
      const ParamSpec& spec = layouts[unit].params[p].spec;
      if (domain_of(spec) != 0 || !spec.trainable) continue;
      const int64_t copies = spec.tp.copies(tp);
      const size_t slot = layouts[unit].params[p].slot;
      if (spec.stage_copies > 1) tied.params.push_back({static_cast<int>(unit), slot});
      if (spec.tp_partial && copies > 1) by_copies[copies].params.push_back({static_cast<int>(unit), slot});
    }
  }
  std::vector<PartialGradients> list;
  for (auto& [copies, partial] : by_copies) {
    partial.group = copies_group(mesh, copies);
    list.push_back(std::move(partial));
  }
  if (!tied.params.empty()) {
    tied.group = tied_group(mesh, stages);
    list.push_back(std::move(tied));
  }
  return list;
}

}  // namespace

int StagePlacement::rank_of_unit(int unit) const {
  if (starts.empty()) return 0;
  const auto stage = std::upper_bound(starts.begin(), starts.end(), unit) - starts.begin() - 1;
  return rank_of_stage[stage];
}

ShardedModel::ShardedModel(DeviceMeshPtr mesh, std::vector<std::unique_ptr<Unit>> units,
                           const ShardingOptions& options)
    : mesh_(std::move(mesh)), options_(options), members_(std::move(units)) {
  head_ = dynamic_cast<HeadUnit*>(members_.back().get());
  TESSERA_CHECK(head_ != nullptr, internal, "the last unit (", members_.back()->name(), ") is no head");
  if (options_.domains.empty()) options_.domains = make_domains(*mesh_, false, false);
  const std::vector<int> starts = group_starts(members_, options.units, options.stages.starts);
  std::vector<ShardPosition> positions;
  for (const ShardDomain& domain : options_.domains) positions.push_back(domain.position);
  layouts_ = make_layouts(members_, starts, positions, held_members());
  stage_starts_ = stage_units(starts, options.stages.starts);
  bound_.assign(layouts_.size(), false);
  make_known();
  make_addresses();

  std::vector<WeightStorageOptions> weights;
  for (size_t d = 0; d < options_.domains.size(); ++d) {
    const GroupPtr reshard = make_reshard_group(*mesh_, options_.domains[d].shards, options.reshard_group,
                                                d == 0 ? "dp_shard*cp" : "ep_shard");
    weights.push_back({options.param, options.force_copy, reshard, options.offload, {}});
  }
  own_masters_ = options.master != options.param;
  bool cast = options.cast_weights && own_masters_;
  for (size_t d = 0; d < weights.size(); ++d) cast &= casts_weights(*options_.domains[d].shards, weights[d]);
  if (cast) {
    for (WeightStorageOptions& domain : weights) domain.rest = options.master;
    own_masters_ = false;
  }
  weights_ = std::make_unique<ModelWeights>(options_.domains, layouts_, weights, options.float8_gather);
  gradients_ = std::make_unique<ModelGradients>(
      options_.domains, layouts_,
      GradientOptions{options.param, options.reduce, partial_gradients(*mesh_, options.stages, layouts_),
                      options.offload, options.keep_gradients});
  make_masters();
}

std::vector<bool> ShardedModel::held_members() const {
  std::vector<bool> held;
  for (size_t m = 0; m < members_.size(); ++m) {
    held.push_back(options_.stages.rank_of_unit(static_cast<int>(m)) ==
                   (options_.stages.starts.empty() ? 0 : mesh_->index("pp")));
  }
  return held;
}

void ShardedModel::make_known() {
  for (size_t m = 0; m < members_.size(); ++m) {
    for (const ParamSpec& spec : members_[m]->params()) {
      if (!spec.primary) continue;
      const bool added = known_by_name_.emplace(spec.name, known_.size()).second;
      TESSERA_CHECK(added, internal, "two parameters are named ", spec.name);
      known_.push_back({&spec, options_.stages.rank_of_unit(static_cast<int>(m))});
    }
  }
}

void ShardedModel::make_addresses() {
  unit_of_member_.resize(members_.size());
  lenders_.resize(layouts_.size());
  for (int unit = 0; unit < this->units(); ++unit) {
    const FsdpLayout& layout = layouts_[unit];
    for (int m = 0; m < layout.members; ++m) unit_of_member_[layout.first_member + m] = unit;
    for (size_t p = 0; p < layout.params.size(); ++p) {
      if (!layout.params[p].held) continue;
      const bool added = by_name_.emplace(layout.params[p].spec.name, ParamAddress{unit, p}).second;
      TESSERA_CHECK(added, internal, "two parameters are named ", layout.params[p].spec.name);
    }
  }
  for (size_t m = 0; m < members_.size(); ++m) {
    const int unit = unit_of_member_[m];
    for (const Unit::Borrowed& borrowed : members_[m]->borrowed()) {
      const int lender = unit_of_member_[borrowed.unit];
      std::vector<int>& lenders = lenders_[unit];
      if (lender != unit && std::find(lenders.begin(), lenders.end(), lender) == lenders.end()) {
        lenders.push_back(lender);
      }
    }
  }
}

void ShardedModel::make_masters() {
  masters_.resize(layouts_.size());
  for (int unit = 0; unit < units(); ++unit) {
    if (own_masters_) {
      const std::vector<int64_t> size = {layouts_[unit].shard_numel};
      const at::Device device = options_.offload ? at::Device(at::kCPU) : device_of(*mesh_->world());
      masters_[unit] = kernels::zeros(size, at::dtype(options_.master).device(device));
    }
    for (size_t p = 0; p < layouts_[unit].params.size(); ++p) {
      const FsdpParam& param = layouts_[unit].params[p];
      if (param.spec.exact) exact_[{unit, p}] = at::zeros(param.spec.shape, at::dtype(at::kFloat));
      if (!param.held || !param.spec.trainable) continue;
      ParamShard shard;
      shard.name = param.spec.name;
      shard.master = master({unit, p});
      shard.grad = gradients_->shard(unit, p);
      if (own_masters_) shard.compute = weights_->own_chunk(unit, p);
      shard.decay = param.spec.decay;
      shards_.push_back(std::move(shard));
      addresses_.push_back({unit, p});
    }
  }
  for (size_t m = 0; m < members_.size(); ++m) {
    std::vector<UnitGrads::Target> targets;
    const auto add = [&](int member, int weight) {
      const int unit = unit_of_member_[member];
      const FsdpLayout& layout = layouts_[unit];
      const auto index = static_cast<size_t>(layout.first_param[member - layout.first_member] + weight);
      const FsdpParam& param = layout.params[index];
      targets.push_back({unit, index, param.held && param.spec.trainable});
    };
    grads_.push_back(nullptr);
    if (layouts_[unit_of_member_[m]].params.empty()) continue;  // another stage's
    for (size_t w = 0; w < members_[m]->params().size(); ++w) add(static_cast<int>(m), static_cast<int>(w));
    for (const Unit::Borrowed& borrowed : members_[m]->borrowed()) add(borrowed.unit, borrowed.weight);
    grads_.back() = std::make_unique<UnitGrads>(*gradients_, std::move(targets));
  }
}

std::vector<at::Tensor> ShardedModel::weights_of(int member) const {
  std::vector<at::Tensor> views;
  const auto add = [&](int owner, int weight) {
    const int unit = unit_of_member_[owner];
    const FsdpLayout& layout = layouts_[unit];
    const auto param = static_cast<size_t>(layout.first_param[owner - layout.first_member] + weight);
    const auto exact = exact_.find({unit, param});
    views.push_back(exact != exact_.end() ? exact->second : weights_->weight(unit, param));
  };
  for (size_t w = 0; w < members_[member]->params().size(); ++w) add(member, static_cast<int>(w));
  for (const Unit::Borrowed& borrowed : members_[member]->borrowed()) add(borrowed.unit, borrowed.weight);
  return views;
}

std::vector<at::Tensor> ShardedModel::scales_of(int member) const {
  if (!options_.float8_gather) return {};
  const int unit = unit_of_member_[member];
  const FsdpLayout& layout = layouts_[unit];
  const auto first = static_cast<size_t>(layout.first_param[member - layout.first_member]);
  std::vector<at::Tensor> scales;
  for (size_t w = 0; w < members_[member]->params().size(); ++w) {
    scales.push_back(weights_->scale(unit, first + w));
  }
  return scales;
}

void ShardedModel::bind(int unit) {
  if (bound_[unit]) return;
  const FsdpLayout& layout = layouts_[unit];
  for (int m = 0; m < layout.members; ++m) {
    Unit& member = *members_[layout.first_member + m];
    member.set_scales(scales_of(layout.first_member + m));
    member.bind(weights_of(layout.first_member + m));
  }
  bound_[unit] = true;
}

void ShardedModel::unbind(int unit) {
  if (weights_->persistent()) return;
  for (int other = 0; other < units(); ++other) {
    const std::vector<int>& lenders = lenders_[other];
    const bool affected = other == unit || std::find(lenders.begin(), lenders.end(), unit) != lenders.end();
    if (!affected || !bound_[other]) continue;
    for (int m = 0; m < layouts_[other].members; ++m) member(other, m).unbind();
    bound_[other] = false;
  }
}

std::optional<ParamAddress> ShardedModel::find_here(const std::string& name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? std::nullopt : std::optional(found->second);
}

const ShardedModel::Known& ShardedModel::find_known(const std::string& name) const {
  const auto found = known_by_name_.find(name);
  if (found != known_by_name_.end()) return known_[found->second];
  // The shortest of the names that share the longest tail: users mostly get the prefix wrong.
  std::string nearest;
  size_t best = 0;
  for (const auto& [spec, pp] : known_) {
    const std::string& known = spec->name;
    const auto [a, b] = std::mismatch(known.rbegin(), known.rend(), name.rbegin(), name.rend());
    const auto shared = static_cast<size_t>(a - known.rbegin());
    const auto rank = [](size_t tail, const std::string& text) {
      return std::tuple(tail, -std::ssize(text), text);
    };
    if (rank(shared, known) > rank(best, nearest)) {
      best = shared;
      nearest = known;
    }
  }
  throw Error(Code::not_found, cat("no parameter \"", name, "\"",
                                   best > 0 ? cat(": did you mean \"", nearest, "\"") : std::string()));
}

std::vector<std::string> ShardedModel::names() const {
  std::vector<std::string> all;
  for (const Known& known : known_) all.push_back(known.spec->name);
  return all;
}

at::Tensor ShardedModel::master(const ParamAddress& at) const {
  const auto exact = exact_.find({at.unit, at.param});
  if (exact != exact_.end()) return exact->second.view({-1});
  if (!masters_[at.unit].defined()) return weights_->own_chunk(at.unit, at.param);
  return param(at).chunk(masters_[at.unit]);
}

void ShardedModel::publish(const ParamAddress& at) {
  if (param(at).spec.exact) return;
  if (masters_[at.unit].defined()) kernels::cast_copy(weights_->own_chunk(at.unit, at.param), master(at));
}

void ShardedModel::publish_all() {
  std::vector<at::Tensor> weights, masters;
  for (int unit = 0; unit < units(); ++unit) {
    for (size_t p = 0; p < layouts_[unit].params.size(); ++p) {
      const FsdpParam& param = layouts_[unit].params[p];
      if (!param.held || param.spec.exact || !masters_[unit].defined()) continue;
      weights.push_back(weights_->own_chunk(unit, p));
      masters.push_back(master({unit, p}));
    }
  }
  kernels::copy_all(weights, masters);
}

int64_t ShardedModel::replicas(const ParamAddress& at) const {
  const ParamSpec& spec = param(at).spec;
  const ShardDomain& domain = this->domain(spec);
  return domain.replicas->size() * spec.tp.copies(domain.position.tp_size) * spec.stage_copies;
}

bool ShardedModel::writes(const ParamSpec& spec) const {
  const ShardDomain& domain = this->domain(spec);
  const bool first_copy = domain.position.tp_index % spec.tp.copies(domain.position.tp_size) == 0 &&
                          (!spec.exact || domain.position.shard_index == 0);
  return domain.replicas->rank() == 0 && first_copy && spec.primary;
}

int64_t ShardedModel::storage_bytes() const {
  int64_t bytes = gradients_->buffer_bytes();
  const auto master = static_cast<int64_t>(c10::elementSize(options_.master));
  const bool cast = !own_masters_ && options_.master != options_.param;  // nothing but masters rests
  const auto weight = cast ? master : static_cast<int64_t>(c10::elementSize(options_.param));
  for (const FsdpLayout& layout : layouts_) {
    bytes += layout.shard_numel * (4 + (own_masters_ ? master : 0));
    for (const FsdpParam& at : layout.params) {
      if (at.spec.exact) continue;
      const int64_t resident = weights_->persistent() ? at.full_numel() / at.shards : at.shard.padded_numel();
      bytes += resident * weight;
      if (options_.float8_gather && at.spec.float8_gather && !weights_->persistent()) {
        bytes += at.shard.padded_numel();  // its cast
      }
    }
  }
  return bytes;
}

}  // namespace tessera
