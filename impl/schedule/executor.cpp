// The interpreter of programs.
#include "schedule/executor.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <set>

#include "comm/device_world.h"
#include "core/error.h"
#include "nn/recorded_grads.h"
#include "schedule/activation_offload.h"
#include "schedule/transfers.h"

namespace tessera {
namespace {

// Adds the time of its life to a total.
class Stopwatch {
 public:
  explicit Stopwatch(double& total) : total_(total), start_(Clock::now()) {}
  ~Stopwatch() { total_ += std::chrono::duration<double>(Clock::now() - start_).count(); }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

 private:
  using Clock = std::chrono::steady_clock;
  double& total_;
  Clock::time_point start_;
};

// While a program runs units may keep what they derive from their weights (casts to float8).
class DerivedWeights {
 public:
  explicit DerivedWeights(ShardedModel& model) : model_(model) { forget(); }
  ~DerivedWeights() { forget(); }
  DerivedWeights(const DerivedWeights&) = delete;
  DerivedWeights& operator=(const DerivedWeights&) = delete;

  /// Of a unit that does not compute with them any more.
  void forget(int unit) const {
    for (int m = 0; m < model_.layout(unit).members; ++m) model_.member(unit, m).forget_derived();
  }

 private:
  void forget() {
    for (const auto& member : model_.members()) member->forget_derived();
  }
  ShardedModel& model_;
};

bool transfers_between_stages(Op op) {
  return op == Op::send_forward || op == Op::recv_forward || op == Op::send_backward ||
         op == Op::recv_backward;
}

}  // namespace

// The state of one execution.
struct Executor::Run {
  Run(ShardedModel& model, const std::vector<UnitTraits>& traits, const Program& program,
      const ExecutionInput& input)
      : model(model),
        traits(traits),
        input(input),
        flows(program.microbatches),
        transfers(model.mesh()->group("pp")) {
    const at::Device device = device_of(*model.mesh()->world());
    result.loss_sum = at::zeros({1}, at::dtype(at::kDouble).device(device));
    if (input.offload_activations && input.keep_activations && !device.is_cpu()) {
      offload.emplace(device, program);
    }
    for (int mb = 0; mb < program.microbatches; ++mb) {
      Flow& flow = flows[mb];
      flow.mb.batch = &(*input.microbatches)[mb];
      flow.mb.loss_scale = input.loss_scale;
      flow.mb.token_scale = input.token_scale;
      if (!input.document_tokens.empty()) {
        flow.mb.document_tokens = input.document_tokens[mb];
        flow.mb.document_rows = input.document_rows[mb];
      }
      if (!input.whole_tokens.empty()) {
        flow.mb.whole_tokens = input.whole_tokens[mb];
        flow.mb.places = input.places[mb];
      }
      flow.mb.loss_chunk = input.loss_chunk;
      if (!input.contexts.empty()) flow.mb.context = input.contexts[mb];
      flow.saved.resize(model.units());
      flow.recorded.resize(model.units());
    }
  }

  // What flows through the units for one micro-batch.
  struct Flow {
    Microbatch mb;
    at::Tensor activation;                             // output of the latest forward
    at::Tensor gradient;                               // of the input of the latest backward
    std::vector<std::vector<Saved>> saved;             // per unit, per member
    std::vector<std::vector<RecordedGrads>> recorded;  // per unit, per member: between the backward's halves

    bool empty() const { return mb.batch->tokens_count() == 0; }
  };

  ShardedModel& model;
  const std::vector<UnitTraits>& traits;
  const ExecutionInput& input;
  std::vector<Flow> flows;
  PipelineTransfers transfers;
  std::optional<ActivationOffload> offload;
  ExecutionResult result;

  bool has_head(int unit) const { return unit == model.units() - 1; }
  // Members before the head, or all.
  int layers(int unit) const { return model.layout(unit).members - (has_head(unit) ? 1 : 0); }

  // Of a micro-batch without tokens only those members are run in which peers wait for this rank.
  bool idle(int unit, int m, const Flow& flow) const {
    return flow.empty() && !model.member(unit, m).meets_peers();
  }

  bool idle(int unit, const Flow& flow) const {
    for (int m = 0; m < layers(unit); ++m) {
      if (!idle(unit, m, flow)) return false;
    }
    return flow.empty();
  }

  at::Tensor no_rows() const { return at::empty({0, input.hidden}, at::dtype(model.options().param)); }

  void forward_members(int unit, Flow& flow, std::vector<Saved>& saved, Recompute recompute) {
    saved.resize(layers(unit));
    for (int m = 0; m < layers(unit); ++m) {
      if (idle(unit, m, flow)) continue;
      flow.activation = model.member(unit, m).forward(flow.activation, flow.mb, saved[m], recompute);
      if (!input.keep_activations) saved[m].clear();
    }
  }

  void backward_members(int unit, Flow& flow, std::vector<Saved>& saved) {
    for (int m = layers(unit) - 1; m >= 0; --m) {
      if (idle(unit, m, flow)) continue;
      flow.gradient = model.member(unit, m).backward(flow.gradient, flow.mb, saved[m], model.grads(unit, m));
      saved[m].clear();
    }
  }

  void forward(int unit, Flow& flow) { forward_members(unit, flow, flow.saved[unit], input.recompute); }

  // Fills the last member's saved tensors again from its input. Members before it, which exist where a unit
  // holds several, are filled by their own backward just before it needs them, so that one member's
  // activations exist at a time.
  void recompute(int unit, Flow& flow) {
    const int last = layers(unit) - 1;
    if (last < 0) return;
    Saved& saved = flow.saved[unit][last];
    if (saved.recompute() != Recompute::full || saved.empty()) return;  // an embedding keeps nothing
    const at::Tensor member_input = saved.pop();
    model.member(unit, last).refill(member_input, flow.mb, saved);
  }

  void backward(int unit, Flow& flow) { backward_members(unit, flow, flow.saved[unit]); }

  void backward_input(int unit, Flow& flow) {
    std::vector<Saved>& saved = flow.saved[unit];
    std::vector<RecordedGrads>& recorded = flow.recorded[unit];
    recorded.resize(layers(unit));
    for (int m = layers(unit) - 1; m >= 0; --m) {
      if (idle(unit, m, flow)) continue;
      flow.gradient = model.member(unit, m).backward(flow.gradient, flow.mb, saved[m], recorded[m]);
      saved[m].clear();
    }
  }

  void backward_weight(int unit, Flow& flow) {
    for (int m = layers(unit) - 1; m >= 0; --m) flow.recorded[unit][m].replay(model.grads(unit, m));
    flow.recorded[unit].clear();
  }

  // Rows of the activations between stages, known from the micro-batch alone.
  int64_t rows(const Flow& flow) const {
    return (flow.mb.batch->tokens_count() + input.row_parts - 1) / input.row_parts;
  }

  // What the previous or the next stage sent for this computation, if it did.
  void take_arrival(const Instruction& now, Flow& flow) {
    if (model.mesh()->size("pp") == 1) return;
    const Stopwatch watch(result.stage_seconds);
    if (now.op == Op::backward || now.op == Op::backward_input) {
      const at::Tensor arrived = transfers.take(Op::recv_backward, now.unit, now.microbatch);
      if (arrived.defined()) flow.gradient = arrived;
    } else if (now.op != Op::recompute && now.op != Op::backward_weight) {
      const at::Tensor arrived = transfers.take(Op::recv_forward, now.unit, now.microbatch);
      if (arrived.defined()) flow.activation = arrived;
    }
  }

  // A micro-batch without tokens is known as such to both sides and not sent.
  void transfer(const Instruction& now) {
    Flow& flow = flows[now.microbatch];
    if (flow.empty()) return;
    if (now.op == Op::send_forward) {
      transfers.send(now, flow.activation);
      flow.activation.reset();
    } else if (now.op == Op::send_backward) {
      transfers.send(now, flow.gradient);
      flow.gradient.reset();
    } else {
      transfers.receive(now, {rows(flow), input.hidden}, model.options().param);
    }
  }

  // Members before the head that share its unit run inside `loss`.
  void loss(int unit, Flow& flow, bool with_gradient) {
    std::vector<Saved> saved;
    forward_members(unit, flow, saved, input.recompute);
    if (flow.empty()) {
      flow.gradient = no_rows();
      if (with_gradient) backward_members(unit, flow, saved);
      return;
    }
    WeightGrads* grads = with_gradient ? &model.grads(unit, layers(unit)) : nullptr;
    HeadUnit::LossResult head = model.head().loss(flow.activation, flow.mb, grads);
    flow.activation.reset();
    result.loss_sum.add_(head.loss_sum);
    if (!with_gradient) return;
    flow.gradient = std::move(head.grad_input);
    backward_members(unit, flow, saved);
  }

  void logits(int unit, Flow& flow) {
    std::vector<Saved> unused;
    forward_members(unit, flow, unused, input.recompute);
    if (flow.empty()) return;
    at::Tensor rows = input.logit_rows;
    if (!rows.defined()) rows = at::arange(flow.mb.batch->tokens_count(), at::dtype(at::kLong));
    rows = rows.to(flow.activation.device());
    result.logits.push_back(model.head().logits(flow.activation, rows));
    flow.activation.reset();
  }

  void compute(const Instruction& now) {
    Flow& flow = flows[now.microbatch];
    // Also without tokens: gradient buffers are made by all ranks together, in the order of the program.
    for (const int unit : gradients_added(now, traits)) model.gradients().open(unit);
    if (idle(now.unit, flow)) return;
    if (!weights_used(now, traits).empty()) model.bind(now.unit);
    if (flow.empty()) {
      flow.activation = no_rows();
      flow.gradient = no_rows();
    } else {
      take_arrival(now, flow);
    }
    const bool takes_saved =
        now.op == Op::recompute || now.op == Op::backward || now.op == Op::backward_input;
    if (offload && takes_saved) offload->restore(now.unit, now.microbatch, flow.saved[now.unit]);
    switch (now.op) {
      case Op::forward:
        forward(now.unit, flow);
        if (offload) offload->stash(now.unit, now.microbatch, flow.saved[now.unit]);
        break;
      case Op::evaluate:
        loss(now.unit, flow, false);
        break;
      case Op::logits:
        logits(now.unit, flow);
        break;
      case Op::loss:
        loss(now.unit, flow, true);
        break;
      case Op::recompute:
        recompute(now.unit, flow);
        break;
      case Op::backward:
        backward(now.unit, flow);
        break;
      case Op::backward_input:
        backward_input(now.unit, flow);
        break;
      case Op::backward_weight:
        backward_weight(now.unit, flow);
        break;
      default:
        throw Error(Code::internal, cat(op_name(now.op), " is no computation"));
    }
  }

  void communicate(const Instruction& now) {
    const Stopwatch watch(transfers_between_stages(now.op) ? result.stage_seconds : result.shard_seconds);
    switch (now.op) {
      case Op::gather:
        model.weights().gather(now.unit);
        break;
      case Op::wait_gather:
        model.weights().wait(now.unit);
        break;
      case Op::release:
        model.unbind(now.unit);
        model.weights().release(now.unit);
        break;
      case Op::reshard:
        model.unbind(now.unit);
        model.weights().reshard(now.unit);
        break;
      case Op::reduce:
        model.gradients().reduce(now.unit);
        break;
      case Op::wait_reduce:
        model.gradients().wait_reduce(now.unit);
        break;
      case Op::reduce_replicas:
        model.gradients().reduce_replicas(now.unit);
        break;
      case Op::wait_replicas:
        model.gradients().wait_replicas(now.unit);
        break;
      case Op::offload_shard:
        model.gradients().offload(now.unit);
        break;
      case Op::fetch_shard:
        model.weights().fetch(now.unit);
        break;
      case Op::send_forward:
      case Op::recv_forward:
      case Op::send_backward:
      case Op::recv_backward:
        transfer(now);
        break;
      default:
        throw Error(Code::internal, cat(op_name(now.op), " is no communication"));
    }
  }

  void step(const Instruction& now) {
    if (computes(now.op)) return compute(now);
    if (now.op == Op::grad_norm) return input.grad_norm ? input.grad_norm(result.loss_sum) : void();
    if (now.op == Op::optimizer) return input.optimizer ? input.optimizer() : void();
    communicate(now);
  }
};

Executor::Executor(ShardedModel& model)
    : model_(model), traits_(unit_traits(model.layouts(), model.members())) {}

ExecutionResult Executor::run(const Program& program, const ExecutionInput& input) {
  TESSERA_CHECK(input.microbatches && static_cast<int>(input.microbatches->size()) == program.microbatches,
                internal, "the program is for ", program.microbatches, " micro-batches");
  // Units have their own backward: autograd is not asked at every operator.
  const at::AutoDispatchBelowADInplaceOrView no_autograd;
  // Weights change between programs, never within one: what units derive from them holds for one.
  const DerivedWeights derived(model_);
  Run run(model_, traits_, program, input);
  const std::vector<std::vector<int>> last_uses = last_weight_uses(program, traits_);
  for (size_t i = 0; i < program.instructions.size(); ++i) {
    run.step(program.instructions[i]);
    for (const int unit : last_uses[i]) derived.forget(unit);
  }
  run.transfers.finish();
  return std::move(run.result);
}

void Executor::release_all() {
  for (int unit = 0; unit < model_.units(); ++unit) {
    model_.unbind(unit);
    model_.weights().release(unit);
  }
}

std::vector<UnitTraits> unit_traits(const std::vector<FsdpLayout>& layouts,
                                    const std::vector<std::unique_ptr<Unit>>& members) {
  std::vector<int> unit_of_member;
  for (size_t u = 0; u < layouts.size(); ++u)
    unit_of_member.insert(unit_of_member.end(), layouts[u].members, u);
  std::vector<UnitTraits> traits(layouts.size());
  for (size_t u = 0; u < layouts.size(); ++u) {
    const FsdpLayout& layout = layouts[u];
    std::set<int> lenders;
    bool trains = false;
    for (int m = layout.first_member; m < layout.first_member + layout.members; ++m) {
      for (const Unit::Borrowed& borrowed : members[m]->borrowed())
        lenders.insert(unit_of_member[borrowed.unit]);
      // By the members, since this rank's layouts lack the units of other stages.
      for (const ParamSpec& spec : members[m]->params()) trains |= spec.trainable;
    }
    lenders.erase(static_cast<int>(u));
    traits[u].borrows.assign(lenders.begin(), lenders.end());
    traits[u].trainable = trains;
    // The first unit has no input gradient to form, and an embedding's weight gradient needs no weights.
    traits[u].backward_uses_weights = !(u == 0 && layout.members == 1 && members[0]->params().size() == 1);
  }
  return traits;
}

}  // namespace tessera
