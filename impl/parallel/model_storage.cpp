// Hands the calls for a unit on to the domains that have parameters in it.
#include "parallel/model_storage.h"

#include <algorithm>

#include "parallel/float8_weights.h"

namespace tessera {

ModelWeights::ModelWeights(const std::vector<ShardDomain>& domains, const std::vector<FsdpLayout>& layouts,
                           const std::vector<WeightStorageOptions>& options, bool float8_gather)
    : layouts_(layouts) {
  for (const FsdpLayout& layout : layouts) places_.emplace_back(layout.params.size());
  parts_.reserve(domains.size() + 1);  // storages keep references
  const bool in_float8 = float8_gather && copies_weights(*domains[0].shards, options[0]);
  const auto as_bytes = [&](const FsdpParam& param) {
    return in_float8 && param.domain == 0 && param.spec.float8_gather;
  };
  for (size_t d = 0; d < domains.size(); ++d) {
    add_part([&](const FsdpParam& param) { return param.domain == d && !as_bytes(param); });
    groups_.push_back(domains[d].shards);
    storage_.push_back(make_weight_storage(domains[d].shards, parts_.back(), options[d]));
  }
  if (!in_float8) return;
  add_part(as_bytes);
  groups_.push_back(domains[0].shards);
  storage_.push_back(make_float8_weights(domains[0].shards, parts_.back(), options[0]));
}

void ModelWeights::add_part(const std::function<bool(const FsdpParam&)>& has) {
  for (size_t unit = 0; unit < layouts_.size(); ++unit) {
    size_t slot = 0;
    for (size_t p = 0; p < layouts_[unit].params.size(); ++p) {
      const FsdpParam& param = layouts_[unit].params[p];
      if (param.held && !param.spec.exact && has(param)) places_[unit][p] = {parts_.size(), slot++};
    }
  }
  parts_.push_back(select_params(layouts_, has));
}

void ModelWeights::fetch(int unit) {
  for (auto& storage : storage_) storage->fetch(unit);
}

void ModelWeights::gather(int unit) {
  for (auto& storage : storage_) storage->gather(unit);
}

void ModelWeights::wait(int unit) {
  for (auto& storage : storage_) storage->wait(unit);
}

void ModelWeights::release(int unit) {
  for (auto& storage : storage_) storage->release(unit);
}

void ModelWeights::reshard(int unit) {
  for (auto& storage : storage_) storage->reshard(unit);
}

at::Tensor ModelWeights::weight(int unit, size_t param) const {
  if (!layouts_[unit].params[param].held) return {};
  const Place at = places_[unit][param];
  const at::Tensor& full = storage_[at.part]->full(unit);
  const at::Tensor weight = parts_[at.part][unit].params[at.slot].weight(full);
  return full.scalar_type() == at::kByte ? weight.view(at::kFloat8_e4m3fn) : weight;
}

at::Tensor ModelWeights::own_chunk(int unit, size_t param) const {
  const Place at = places_[unit][param];
  return storage_[at.part]->own_chunk(unit, at.slot);
}

at::Tensor ModelWeights::scale(int unit, size_t param) const {
  const FsdpParam& of = layouts_[unit].params[param];
  if (!of.held || of.spec.exact) return {};
  const Place at = places_[unit][param];
  return storage_[at.part]->scale(unit, at.slot);
}

void ModelWeights::publish() {
  for (auto& storage : storage_) storage->publish();
}

bool ModelWeights::persistent() const {
  return std::all_of(storage_.begin(), storage_.end(), [](const auto& part) { return part->persistent(); });
}

bool ModelWeights::shared() const {
  return std::any_of(storage_.begin(), storage_.end(), [](const auto& part) { return part->shared(); });
}

void ModelWeights::meet() const {
  for (size_t part = 0; part < storage_.size(); ++part) {
    if (storage_[part]->shared()) groups_[part]->barrier();
  }
}

ModelGradients::ModelGradients(const std::vector<ShardDomain>& domains,
                               const std::vector<FsdpLayout>& layouts, const GradientOptions& options)
    : layouts_(layouts) {
  parts_.reserve(domains.size());
  for (size_t d = 0; d < domains.size(); ++d) {
    parts_.push_back(domain_layouts(layouts, d));
    GradientOptions own = options;
    if (d > 0) own.partial.clear();
    storage_.push_back(
        std::make_unique<GradientStorage>(domains[d].shards, domains[d].replicas, parts_[d], own));
  }
}

template <class Function>
void ModelGradients::each(int unit, const Function& f) {
  for (size_t d = 0; d < storage_.size(); ++d) {
    if (d == 0 || !parts_[d][unit].params.empty()) f(*storage_[d]);
  }
}

void ModelGradients::begin(bool accumulate) {
  for (auto& storage : storage_) storage->begin(accumulate);
}

void ModelGradients::end() {
  for (auto& storage : storage_) storage->end();
}

void ModelGradients::abandon() {
  for (auto& storage : storage_) storage->abandon();
}

void ModelGradients::open(int unit) {
  each(unit, [&](GradientStorage& storage) { storage.open(unit); });
}

at::Tensor ModelGradients::target(int unit, size_t param, bool& first) {
  const FsdpParam& at = find(unit, param);
  return storage_[at.domain]->target(unit, at.slot, first);
}

void ModelGradients::reduce(int unit) {
  each(unit, [&](GradientStorage& storage) { storage.reduce(unit); });
}

void ModelGradients::wait_reduce(int unit) {
  each(unit, [&](GradientStorage& storage) { storage.wait_reduce(unit); });
}

void ModelGradients::reduce_replicas(int unit) {
  each(unit, [&](GradientStorage& storage) { storage.reduce_replicas(unit); });
}

void ModelGradients::wait_replicas(int unit) {
  each(unit, [&](GradientStorage& storage) { storage.wait_replicas(unit); });
}

void ModelGradients::offload(int unit) {
  each(unit, [&](GradientStorage& storage) { storage.offload(unit); });
}

void ModelGradients::assume_reduced() {
  for (auto& storage : storage_) storage->assume_reduced();
}

void ModelGradients::zero() {
  for (auto& storage : storage_) storage->zero();
}

at::Tensor ModelGradients::shard(int unit, size_t param) const {
  const FsdpParam& at = find(unit, param);
  return storage_[at.domain]->shard(unit, at.slot);
}

int64_t ModelGradients::buffer_bytes() const {
  int64_t bytes = 0;
  for (const auto& storage : storage_) bytes += storage->buffer_bytes();
  return bytes;
}

}  // namespace tessera
