// The weights and gradients of a whole model: the storages of its domains (parallel/shard_domain.h) as one,
// in the order of the model's own layouts.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <vector>

#include "parallel/gradient_storage.h"
#include "parallel/shard_domain.h"
#include "parallel/weight_storage.h"

namespace tessera {

/// WeightStorage, with parameters counted as in the model's layouts.
class ModelWeights {
 public:
  /// `options` by domain. With `float8_gather` the parameters of domain 0 that are marked so travel in
  /// float8, where a gather moves data. Collective. `layouts` outlives this.
  ModelWeights(const std::vector<ShardDomain>& domains, const std::vector<FsdpLayout>& layouts,
               const std::vector<WeightStorageOptions>& options, bool float8_gather);

  void fetch(int unit);
  void gather(int unit);
  void wait(int unit);
  void release(int unit);
  void reshard(int unit);
  /// The gathered weight, between wait and release; undefined when another rank holds it (an expert's).
  at::Tensor weight(int unit, size_t param) const;
  at::Tensor own_chunk(int unit, size_t param) const;
  bool persistent() const;
  bool shared() const;
  /// Waits for all ranks that see this rank's weights, where memory is shared. Collective.
  void meet() const;
  /// WeightStorage::publish: after meet(), or another point where all ranks have written. Collective.
  void publish();
  /// Of a weight that is gathered in float8: float32 [1, 1]; otherwise undefined.
  at::Tensor scale(int unit, size_t param) const;

 private:
  /// Which part has a parameter, and where it is among the part's parameters of the unit.
  struct Place {
    size_t part = 0;
    size_t slot = 0;
  };
  void add_part(const std::function<bool(const FsdpParam&)>& has);

  const std::vector<FsdpLayout>& layouts_;
  // A part for each domain, and one for the weights of the first that are gathered in float8.
  std::vector<std::vector<FsdpLayout>> parts_;
  std::vector<GroupPtr> groups_;
  std::vector<std::unique_ptr<WeightStorage>> storage_;
  std::vector<std::vector<Place>> places_;  // by unit and parameter
};

/// GradientStorage, with parameters counted as in the model's layouts.
class ModelGradients {
 public:
  /// PartialGradients in `options` name slots of domain 0. `layouts` outlives this.
  ModelGradients(const std::vector<ShardDomain>& domains, const std::vector<FsdpLayout>& layouts,
                 const GradientOptions& options);

  void begin(bool accumulate);
  void end();
  void abandon();
  void open(int unit);
  at::Tensor target(int unit, size_t param, bool& first);
  void reduce(int unit);
  void wait_reduce(int unit);
  void reduce_replicas(int unit);
  void wait_replicas(int unit);
  void offload(int unit);
  void assume_reduced();
  void zero();
  at::Tensor shard(int unit, size_t param) const;
  bool empty() const { return storage_[0]->empty(); }
  int64_t buffer_bytes() const;

 private:
  /// Calls f(storage) for the domains that have parameters in the unit.
  template <class Function>
  void each(int unit, const Function& f);
  const FsdpParam& find(int unit, size_t param) const { return layouts_[unit].params[param]; }

  const std::vector<FsdpLayout>& layouts_;
  std::vector<std::vector<FsdpLayout>> parts_;
  std::vector<std::unique_ptr<GradientStorage>> storage_;
};

}  // namespace tessera
