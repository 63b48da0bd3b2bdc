// The rules of one rank's program, checked by walking it with the state of every unit and micro-batch.
#include "schedule/checker.h"

#include <algorithm>
#include <map>
#include <set>

#include "core/error.h"

namespace tessera {
namespace {

enum class Weights { sharded, gathering, gathered };

// What is left of a forward.
enum class Activations { none, input, full, split };  // split: backward_input is done, backward_weight is not

using Key = std::pair<int, int>;  // unit, micro-batch

class Checker {
 public:
  Checker(const Program& program, const CheckOptions& options)
      : program_(program),
        options_(options),
        weights_(program.units, Weights::sharded),
        contributions_(program.units, 0),
        unreduced_(program.units, 0),
        reductions_(program.units, 0),
        reducing_(program.units, false),
        replica_state_(program.units, 0) {
    validate(options.units);
    if (static_cast<int>(options.units.size()) != program.units) {
      throw Error(Code::internal,
                  cat("program: ", program.units, " units, but ", options.units.size(), " are known"));
    }
  }

  CheckReport run() {
    for (position_ = 0; position_ < program_.instructions.size(); ++position_) {
      now_ = program_.instructions[position_];
      if (optimizer_done_) fail("comes after the optimizer");
      check_range();
      step();
      note_peaks();
    }
    finish();
    return report_;
  }

 private:
  template <class... Parts>
  [[noreturn]] void fail(Parts&&... parts) const {
    throw Error(Code::internal, cat("program instruction ", position_, " (", to_text(now_), "): ", parts...));
  }
  template <class... Parts>
  void require(bool condition, Parts&&... parts) const {
    if (!condition) fail(parts...);
  }

  void check_range() const {
    const bool whole = now_.op == Op::grad_norm || now_.op == Op::optimizer;
    require(whole || (now_.unit >= 0 && now_.unit < program_.units), "no such unit");
    const bool transfer = now_.op >= Op::send_forward && now_.op <= Op::recv_backward;
    const bool per_microbatch = computes(now_.op) || transfer;
    require(!per_microbatch || (now_.microbatch >= 0 && now_.microbatch < program_.microbatches),
            "no such micro-batch");
  }

  void step() {
    for (int unit : weights_used(now_, options_.units)) {
      require(weights_[unit] == Weights::gathered, "the weights of u", unit, " are not gathered");
    }
    switch (now_.op) {
      case Op::gather:
        gather();
        break;
      case Op::wait_gather:
        require(weights_[now_.unit] == Weights::gathering, "no gather is under way");
        weights_[now_.unit] = Weights::gathered;
        --in_flight_;
        break;
      case Op::release:
      case Op::reshard:
        require(weights_[now_.unit] == Weights::gathered, "the weights are not gathered");
        weights_[now_.unit] = Weights::sharded;
        break;
      case Op::forward:
        forward();
        break;
      case Op::recompute:
        require(activations() == Activations::input, "there is no input to compute from");
        activations() = Activations::full;
        break;
      case Op::loss:
        head(true);
        break;
      case Op::evaluate:
      case Op::logits:
        head(false);
        break;
      case Op::backward:
      case Op::backward_input:
        backward();
        break;
      case Op::backward_weight:
        require(activations() == Activations::split, "there is no backward_input before it");
        activations() = Activations::none;
        contribute();
        break;
      case Op::reduce:
        reduce();
        break;
      case Op::wait_reduce:
        require(reducing_[now_.unit], "no reduction is under way");
        reducing_[now_.unit] = false;
        break;
      case Op::reduce_replicas:
        require(options_.replicas, "there are no replicas");
        require(sharded_gradient_complete(now_.unit), "the sharded gradient is not complete");
        require(replica_state_[now_.unit] == 0, "it is all-reduced twice");
        replica_state_[now_.unit] = 1;
        break;
      case Op::wait_replicas:
        require(replica_state_[now_.unit] == 1, "no all-reduce is under way");
        replica_state_[now_.unit] = 2;
        break;
      case Op::send_forward:
        require(forwards_.count(key()) != 0, "the output does not exist");
        break;
      case Op::recv_forward:
        received_inputs_.insert(key());
        break;
      case Op::send_backward:
        require(backwards_.count(key()) != 0, "the gradient does not exist");
        break;
      case Op::recv_backward:
        received_gradients_.insert(key());
        break;
      case Op::offload_shard:
        require(!reducing_[now_.unit], "the gradient is being reduced");
        break;
      case Op::fetch_shard:
        require(weights_[now_.unit] == Weights::sharded, "the unit is gathered");
        break;
      case Op::grad_norm:
        grad_norm();
        break;
      case Op::optimizer:
        optimizer();
        break;
    }
  }

  Key key() const { return {now_.unit, now_.microbatch}; }
  Activations& activations() { return saved_[key()]; }

  void gather() {
    require(weights_[now_.unit] == Weights::sharded, "the weights are already there");
    weights_[now_.unit] = Weights::gathering;
    ++in_flight_;
    ++report_.gathers;
    require(in_flight_ <= options_.prefetch + 1, in_flight_, " gathers are under way, prefetch is ",
            options_.prefetch);
  }

  bool has_input() const {
    return now_.unit == 0 || forwards_.count({now_.unit - 1, now_.microbatch}) != 0 ||
           received_inputs_.count(key()) != 0;
  }

  void forward() {
    require(has_input(), "its input does not exist");
    require(forwards_.insert(key()).second, "it was already computed");
    activations() = options_.recompute ? Activations::input : Activations::full;
  }

  void head(bool with_gradient) {
    require(now_.unit == program_.units - 1, "only the last unit has a head");
    require(has_input(), "its input does not exist");
    require(forwards_.insert(key()).second, "it was already computed");
    if (!with_gradient) return;
    backwards_.insert(key());
    contribute();
  }

  void backward() {
    const Activations state = activations();
    require(state != Activations::input, "the unit was not recomputed");
    require(state == Activations::full, "there are no saved activations");
    require(backwards_.count({now_.unit + 1, now_.microbatch}) != 0 || received_gradients_.count(key()) != 0,
            "the gradient of its output does not exist");
    require(backwards_.insert(key()).second, "it was already computed");
    const bool split = now_.op == Op::backward_input;
    activations() = split ? Activations::split : Activations::none;
    if (!split) contribute();
  }

  void contribute() {
    for (int unit : gradients_added(now_, options_.units)) {
      require(!reducing_[unit], "it adds to the gradient of u", unit, " during its reduction");
      ++contributions_[unit];
      ++unreduced_[unit];
    }
  }

  void reduce() {
    const int unit = now_.unit;
    require(options_.units[unit].trainable, "the unit has no gradients");
    require(!reducing_[unit], "its reduction is under way");
    require(unreduced_[unit] > 0, "there is nothing to reduce");
    require(!options_.defer_reduce || reductions_[unit] == 0, "it is reduced twice");
    unreduced_[unit] = 0;
    reducing_[unit] = true;
    ++reductions_[unit];
    ++report_.reductions;
  }

  // Each micro-batch adds once to a unit, and once more for every unit that borrows from it.
  int expected_contributions(int unit) const {
    int per_microbatch = owns_[unit] ? 1 : 0;
    for (int other = 0; other < program_.units; ++other) {
      const std::vector<int>& lenders = options_.units[other].borrows;
      if (owns_[other]) per_microbatch += static_cast<int>(std::count(lenders.begin(), lenders.end(), unit));
    }
    return per_microbatch * program_.microbatches;
  }

  // Units of other pipeline stages never appear in this rank's program.
  void find_owned() {
    owns_.assign(program_.units, false);
    for (const Instruction& i : program_.instructions) {
      if (i.op == Op::gather || computes(i.op)) owns_.at(i.unit) = true;
    }
    // A lender on another stage would be gathered here too; it is owned where its forward runs.
    for (int unit = 0; unit < program_.units; ++unit) {
      const bool runs = std::any_of(program_.instructions.begin(), program_.instructions.end(),
                                    [&](const Instruction& i) { return computes(i.op) && i.unit == unit; });
      const bool lends =
          std::any_of(options_.units.begin(), options_.units.end(), [&](const UnitTraits& other) {
            return std::count(other.borrows.begin(), other.borrows.end(), unit) != 0;
          });
      if (lends && !runs) owns_[unit] = false;
    }
  }

  bool sharded_gradient_complete(int unit) {
    if (owns_.empty()) find_owned();
    return unreduced_[unit] == 0 && !reducing_[unit] && contributions_[unit] == expected_contributions(unit);
  }

  void require_complete_gradients() {
    for (int unit = 0; unit < program_.units; ++unit) {
      if (!options_.units[unit].trainable) continue;
      require(sharded_gradient_complete(unit), "the gradient of u", unit, " is not complete");
      require(!options_.replicas || contributions_[unit] == 0 || replica_state_[unit] == 2,
              "the gradient of u", unit, " is not summed over the replicas");
    }
  }

  void grad_norm() {
    require(!norm_done_, "it is computed twice");
    require_complete_gradients();
    norm_done_ = true;
  }

  void optimizer() {
    require(norm_done_, "there is no grad_norm before it");
    for (int unit = 0; unit < program_.units; ++unit) {
      require(weights_[unit] == Weights::sharded, "u", unit, " is still gathered");
    }
    optimizer_done_ = true;
  }

  void note_peaks() {
    const auto count = [](const auto& values, auto wanted) {
      return static_cast<int>(std::count_if(values.begin(), values.end(), wanted));
    };
    report_.peak_gathered =
        std::max(report_.peak_gathered, count(weights_, [](Weights w) { return w != Weights::sharded; }));
    report_.peak_in_flight = std::max(report_.peak_in_flight, in_flight_);
    int gradients = 0;
    for (int unit = 0; unit < program_.units; ++unit) gradients += unreduced_[unit] > 0 || reducing_[unit];
    report_.peak_gradients = std::max(report_.peak_gradients, gradients);
    if (!computes(now_.op)) return;
    std::erase_if(saved_, [](const auto& entry) { return entry.second == Activations::none; });
    const int inputs = count(saved_, [](const auto& entry) { return entry.second == Activations::input; });
    report_.peak_inputs = std::max(report_.peak_inputs, inputs);
    report_.peak_saved = std::max(report_.peak_saved, static_cast<int>(saved_.size()) - inputs);
  }

  void finish() {
    position_ = program_.instructions.size();
    now_ = {Op::optimizer};
    for (int unit = 0; unit < program_.units; ++unit) {
      if (weights_[unit] == Weights::sharded) continue;
      if (weights_[unit] == Weights::gathering || !options_.keeps_weights) {
        throw Error(Code::internal, cat("program end: u", unit, " is still gathered"));
      }
    }
    require_every_microbatch();
    const bool trains =
        std::any_of(contributions_.begin(), contributions_.end(), [](int n) { return n > 0; });
    if (trains && !norm_done_) require_complete_gradients();
    if (norm_done_ && !optimizer_done_)
      throw Error(Code::internal, "program end: grad_norm without optimizer");
    for (const auto& [unit_mb, state] : saved_) {
      if (trains && state != Activations::none) {
        throw Error(Code::internal, cat("program end: the backward of u", unit_mb.first, " mb",
                                        unit_mb.second, " is missing"));
      }
    }
  }

  void require_every_microbatch() {
    if (owns_.empty()) find_owned();
    for (int unit = 0; unit < program_.units; ++unit) {
      for (int mb = 0; owns_[unit] && mb < program_.microbatches; ++mb) {
        if (forwards_.count({unit, mb}) == 0) {
          throw Error(Code::internal, cat("program end: u", unit, " did not compute mb", mb));
        }
      }
    }
  }

  const Program& program_;
  const CheckOptions& options_;
  CheckReport report_;
  size_t position_ = 0;
  Instruction now_{Op::optimizer};

  std::vector<Weights> weights_;
  int in_flight_ = 0;
  std::map<Key, Activations> saved_;
  std::set<Key> forwards_;
  std::set<Key> backwards_;
  std::set<Key> received_inputs_;
  std::set<Key> received_gradients_;
  std::vector<int> contributions_;  // per unit, over the whole step
  std::vector<int> unreduced_;      // since the last reduction
  std::vector<int> reductions_;
  std::vector<bool> reducing_;
  std::vector<int> replica_state_;  // 0 not begun, 1 under way, 2 done
  std::vector<bool> owns_;
  bool norm_done_ = false;
  bool optimizer_done_ = false;
};

}  // namespace

CheckReport check(const Program& program, const CheckOptions& options) {
  return Checker(program, options).run();
}

}  // namespace tessera
