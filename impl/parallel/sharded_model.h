// A model's units over sharded storage: one rank's weights, gradients and master shards, and how the units
// see them.
#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "mesh/device_mesh.h"
#include "nn/unit.h"
#include "optim/optimizer.h"
#include "parallel/fsdp_layout.h"
#include "parallel/model_storage.h"
#include "parallel/unit_policy.h"

namespace tessera {

/// The pipeline stages of a model. Empty lists: one stage, on every rank.
struct StagePlacement {
  std::vector<int> starts;         ///< the first model unit of each stage
  std::vector<int> rank_of_stage;  ///< pp coordinate

  int stages() const { return std::max<int>(1, static_cast<int>(starts.size())); }
  /// The pp coordinate that holds a model unit.
  int rank_of_unit(int unit) const;
};

struct ShardingOptions {
  UnitPolicy units;
  at::ScalarType param = at::kBFloat16;
  at::ScalarType reduce = at::kFloat;
  at::ScalarType master = at::kFloat;
  int64_t reshard_group = 0;   ///< n of reshard_after_forward = n; 0: none
  bool force_copy = false;     ///< gather by copying even where ranks share memory
  bool float8_gather = false;  ///< parameters that are marked so travel between ranks in float8
  bool offload = false;  ///< on a device: shards of weights and gradients, and masters, rest in host memory
  bool keep_gradients = false;  ///< GradientOptions::keep
  /// Weights rest as masters only and are cast when they are gathered, unless ranks share them or they are
  /// offloaded.
  bool cast_weights = false;
  StagePlacement stages;
  std::vector<ShardDomain> domains;  ///< of make_domains; empty: made here, for a model without experts
};

/// Where a parameter is found.
struct ParamAddress {
  int unit = 0;
  size_t param = 0;
};

/// Every rank knows all units, and has storage for those of its own pipeline stages.
class ShardedModel {
 public:
  /// Collective. Weights are zero until loaded or initialised.
  ShardedModel(DeviceMeshPtr mesh, std::vector<std::unique_ptr<Unit>> units, const ShardingOptions& options);

  int units() const { return static_cast<int>(layouts_.size()); }
  const FsdpLayout& layout(int unit) const { return layouts_[unit]; }
  const std::vector<FsdpLayout>& layouts() const { return layouts_; }
  const std::vector<std::unique_ptr<Unit>>& members() const { return members_; }
  /// The ranks that share a parameter's storage, and this one's place among them.
  const ShardDomain& domain(const ParamSpec& spec) const { return options_.domains[domain_of(spec)]; }
  /// The box of a parameter that this rank owns.
  Box box(const ParamSpec& spec) const { return owned_box(spec, domain(spec).position); }
  /// True on the one rank of those that hold the same elements which writes them.
  bool writes(const ParamSpec& spec) const;
  const ShardingOptions& options() const { return options_; }
  const DeviceMeshPtr& mesh() const { return mesh_; }
  /// The first FSDP unit of each pipeline stage.
  const std::vector<int>& stage_starts() const { return stage_starts_; }
  /// FSDP units whose weights `unit` computes with beside its own.
  const std::vector<int>& lenders(int unit) const { return lenders_[unit]; }

  Unit& member(int unit, int index) { return *members_[layouts_[unit].first_member + index]; }
  HeadUnit& head() { return *head_; }

  ModelWeights& weights() { return *weights_; }
  ModelGradients& gradients() { return *gradients_; }

  /// Gives the unit's members their full weights; the unit and its lenders are gathered. Idempotent.
  void bind(int unit);
  /// Takes the views away before the memory goes: from the unit, and from those that borrow from it.
  void unbind(int unit);
  /// Where members of `unit` leave weight gradients.
  WeightGrads& grads(int unit, int index) { return *grads_[layouts_[unit].first_member + index]; }

  /// This rank's shards of all trainable parameters, made once.
  std::vector<ParamShard>& shards() { return shards_; }
  /// The address of shards()[i].
  const ParamAddress& address(size_t shard) const { return addresses_[shard]; }

  /// A parameter of the whole model: how it is called and cut, and which pp coordinate has it.
  struct Known {
    const ParamSpec* spec;
    int pp;
  };
  /// All parameters, those of other stages too, each once, in the model's order: the same on all ranks.
  const std::vector<Known>& known() const { return known_; }
  /// Errors: not_found with the nearest name.
  const Known& find_known(const std::string& name) const;
  /// Where this rank has it, if its stages do and it is not another rank's expert.
  std::optional<ParamAddress> find_here(const std::string& name) const;
  std::vector<std::string> names() const;
  const FsdpParam& param(const ParamAddress& at) const { return layouts_[at.unit].params[at.param]; }
  /// This rank's real elements in the master dtype, 1-D: writing is followed by publish(). Exact parameters
  /// are whole, and float32.
  at::Tensor master(const ParamAddress& at) const;
  /// Rounds the master shard into the compute weights (no-op where they are the same memory).
  void publish(const ParamAddress& at);
  void publish_all();

  /// Ranks that hold the same elements of a parameter as this one, itself included.
  int64_t replicas(const ParamAddress& at) const;

  /// Bytes of this rank's storage, for reports.
  int64_t storage_bytes() const;

 private:
  std::vector<bool> held_members() const;
  void make_known();
  void make_addresses();
  void make_masters();
  std::vector<at::Tensor> weights_of(int member_index) const;
  std::vector<at::Tensor> scales_of(int member_index) const;

  DeviceMeshPtr mesh_;
  ShardingOptions options_;
  std::vector<std::unique_ptr<Unit>> members_;
  HeadUnit* head_ = nullptr;
  std::vector<FsdpLayout> layouts_;
  std::vector<int> unit_of_member_;
  std::vector<std::vector<int>> lenders_;
  std::unique_ptr<ModelWeights> weights_;
  std::unique_ptr<ModelGradients> gradients_;
  std::vector<std::unique_ptr<WeightGrads>> grads_;  // per member
  std::vector<bool> bound_;
  std::map<std::pair<int, size_t>, at::Tensor> exact_;  // by unit and parameter
  bool own_masters_ = false;                            // otherwise own_chunk of the weights is the master
  std::vector<at::Tensor> masters_;  // per unit, flat; undefined without masters of their own
  std::vector<ParamShard> shards_;
  std::vector<ParamAddress> addresses_;
  std::vector<int> stage_starts_;
  std::vector<Known> known_;
  std::unordered_map<std::string, size_t> known_by_name_;
  std::unordered_map<std::string, ParamAddress> by_name_;
};

}  // namespace tessera
