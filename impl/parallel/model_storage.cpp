// Hands the calls for a unit on to the domains that have parameters in it.
#include "parallel/model_storage.h"

#include <algorithm>

namespace tessera {

ModelWeights::ModelWeights(const std::vector<ShardDomain>& domains, const std::vector<FsdpLayout>& layouts,
                           const std::vector<WeightStorageOptions>& options)
    : domains_(domains), layouts_(layouts) {
  parts_.reserve(domains.size());  // storages keep references
  for (size_t d = 0; d < domains.size(); ++d) {
    parts_.push_back(domain_layouts(layouts, d));
    storage_.push_back(make_weight_storage(domains[d].shards, parts_[d], options[d]));
  }
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
  const FsdpParam& at = find(unit, param);
  if (!at.held) return {};
  return parts_[at.domain][unit].params[at.slot].weight(storage_[at.domain]->full(unit));
}

at::Tensor ModelWeights::own_chunk(int unit, size_t param) const {
  const FsdpParam& at = find(unit, param);
  return storage_[at.domain]->own_chunk(unit, at.slot);
}

bool ModelWeights::persistent() const {
  return std::all_of(storage_.begin(), storage_.end(), [](const auto& part) { return part->persistent(); });
}

bool ModelWeights::shared() const {
  return std::any_of(storage_.begin(), storage_.end(), [](const auto& part) { return part->shared(); });
}

void ModelWeights::meet() const {
  for (size_t d = 0; d < storage_.size(); ++d) {
    if (storage_[d]->shared()) domains_[d].shards->barrier();
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
