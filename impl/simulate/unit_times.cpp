// Times of decoder layers, embedding and head from their matrix products, attention, passes over memory, and
// the collectives at their borders.
#include "simulate/unit_times.h"

#include <algorithm>

namespace tessera {
namespace {

// Tokens that one token sees on average under a causal mask.
double mean_context(int64_t document, int64_t window) {
  const auto length = static_cast<double>(std::max<int64_t>(document, 1));
  if (window <= 0 || window >= document) return (length + 1) / 2;
  const auto w = static_cast<double>(window);
  // The first w tokens see 1 to w, all others w.
  return (w * (w + 1) / 2 + (length - w) * w) / length;
}

// What tp costs at one border of a block: all-reduce, or a gather before and a scatter behind.
double enter_or_leave(const CostModel& cost, const UnitWork& work, double bytes) {
  return work.sequence_parallel ? cost.all_gather(work.tp, bytes) : cost.all_reduce(work.tp, bytes);
}

class LayerClock {
 public:
  LayerClock(const CostModel& cost, const LayerShape& shape, const UnitWork& work)
      : cost_(cost), s_(shape), w_(work), tokens_(static_cast<double>(work.tokens)) {}

  UnitTimes run() {
    UnitTimes times;
    times.forward = forward();
    times.weight.compute = weight_products();
    times.input = input();
    // Sums of input gradients, and inputs gathered again, travel while weight gradients are formed; rank
    // threads move them themselves.
    const double hidden = cost_.cluster().shares_memory ? 0 : times.weight.compute;
    times.input.exposed += std::max(0.0, hideable_ - hidden);
    return times;
  }

 private:
  double bytes(double elements) const { return elements * static_cast<double>(cost_.element()); }

  double input_products() const {
    return cost_.matmul(w_.tokens, s_.q_width() + 2 * s_.kv_width(), s_.hidden) +
           cost_.matmul(w_.tokens, s_.hidden, s_.q_width()) +
           cost_.matmul(w_.tokens, 2 * s_.intermediate, s_.hidden) +
           cost_.matmul(w_.tokens, s_.hidden, s_.intermediate);
  }

  double weight_product(int64_t out, int64_t in) const {
    // A product in bf16 is added to a float32 sum in a pass of its own.
    const double extra = w_.accumulate ? 10.0 * static_cast<double>(out) * static_cast<double>(in) : 0;
    return cost_.matmul(out, in, w_.tokens, extra);
  }

  double weight_products() const {
    return weight_product(s_.q_width(), s_.hidden) + 2 * weight_product(s_.kv_width(), s_.hidden) +
           weight_product(s_.hidden, s_.q_width()) + 2 * weight_product(s_.intermediate, s_.hidden) +
           weight_product(s_.hidden, s_.intermediate);
  }

  double attention_flops() const {
    double flops = 4 * tokens_ * mean_context(w_.document, s_.window) * static_cast<double>(s_.q_width());
    // Without a balanced layout the rank with the last tokens sees the most.
    const bool balanced =
        w_.context.layout == ContextLayoutKind::zigzag || w_.context.exchange == ContextExchange::ulysses;
    const auto cp = static_cast<double>(w_.cp.size);
    if (!balanced) flops *= (2 * cp - 1) / cp;
    return flops;
  }

  // Exchange of keys and values beside `computing` seconds of attention; what nothing hides.
  double exchange(double computing, bool backward) const {
    if (w_.cp.size <= 1) return 0;
    const auto size = static_cast<double>(w_.cp.size);
    const double kv = bytes(2 * tokens_ * static_cast<double>(s_.kv_width()));
    const double grads = backward ? 4 * 2 * tokens_ * static_cast<double>(s_.kv_width()) : 0;
    const bool alone = cost_.cluster().shares_memory;
    switch (w_.context.exchange) {
      case ContextExchange::ring: {
        const double hop = cost_.send(w_.cp, kv) + (backward ? cost_.send(w_.cp, grads) : 0);
        return (size - 1) * std::max(0.0, hop - (alone ? 0 : computing / size));
      }
      case ContextExchange::all_gather:
        return cost_.all_gather(w_.cp, kv * size) +
               (backward ? cost_.reduce_scatter(w_.cp, grads * size) : 0);
      default: {
        // Of queries, keys and values to heads, and of the output back; under a mixture of exchanges taken
        // as if all went this way.
        const double all = bytes(tokens_ * static_cast<double>(2 * s_.q_width() + 2 * s_.kv_width()));
        return cost_.all_to_all(w_.cp, all) * (backward ? 2 : 1);
      }
    }
  }

  // Passes that attention in blocks needs: keys and values are packed, partial results merged in float32.
  double merging(bool backward) const {
    if (w_.cp.size <= 1 || w_.context.exchange != ContextExchange::ring) return 0;
    const auto hops = static_cast<double>(w_.cp.size - 1);
    const auto q = static_cast<double>(s_.q_width());
    const auto kv = static_cast<double>(2 * s_.kv_width());
    const double packing = 2 * bytes(tokens_ * kv);
    return cost_.pass(packing + hops * tokens_ * 12 * (backward ? q + kv : q),
                      static_cast<int>(3 * w_.cp.size));
  }

  PhaseTime forward() {
    PhaseTime time;
    const double attention = cost_.attention(attention_flops(), false);
    const auto resident = static_cast<double>(s_.resident);
    const auto qk = static_cast<double>(s_.q_width() + s_.kv_width());
    // Norms read and write (2 + 4, the second adds the residual first), rope reads and writes q and k, the
    // gated product reads two and writes one, the residual is added (3).
    double elements = 9 * resident + 2 * qk + 3 * static_cast<double>(s_.intermediate);
    if (s_.qk_norm) elements += 2 * qk;
    time.compute = input_products() + attention + merging(false) + cost_.pass(bytes(tokens_ * elements), 6);
    time.exposed = 2 * border() * (w_.sequence_parallel ? 2 : 1) + exchange(attention, false);
    return time;
  }

  // One gather, scatter or sum of activations over tp.
  double border() const { return enter_or_leave(cost_, w_, bytes(tokens_ * static_cast<double>(s_.hidden))); }

  PhaseTime input() {
    PhaseTime time;
    const double attention = cost_.attention(2.5 * attention_flops(), true);
    const auto resident = static_cast<double>(s_.resident);
    const auto qk = static_cast<double>(s_.q_width() + s_.kv_width());
    // Norms read input, gradient and residual's gradient and write one (4 each), the gated product reads
    // three and writes two, rope and the joining of q, k, v.
    double elements = 8 * resident + 5 * static_cast<double>(s_.intermediate) + 3 * qk;
    if (w_.recompute == Recompute::selective) elements += 4 * resident + static_cast<double>(s_.intermediate);
    if (s_.qk_norm) elements += 4 * qk;
    time.compute = input_products() + attention + merging(true) + cost_.pass(bytes(tokens_ * elements), 8);
    // Under sequence parallelism output gradients are gathered before anything can be done; inputs are
    // gathered again and input gradients scattered beside the weight gradients.
    time.exposed = exchange(attention, true) + (w_.sequence_parallel ? 2 * border() : 0);
    hideable_ = border() * (w_.sequence_parallel ? 4 : 2);
    return time;
  }

  const CostModel& cost_;
  const LayerShape& s_;
  const UnitWork& w_;
  double tokens_;
  double hideable_ = 0;
};

}  // namespace

UnitTimes layer_times(const CostModel& cost, const LayerShape& shape, const UnitWork& work) {
  return LayerClock(cost, shape, work).run();
}

UnitTimes embedding_times(const CostModel& cost, const LayerShape& shape, const UnitWork& work) {
  UnitTimes times;
  const double rows = static_cast<double>(work.tokens) * static_cast<double>(shape.hidden);
  const auto element = static_cast<double>(cost.element());
  const double table = static_cast<double>(shape.vocab) * static_cast<double>(shape.hidden);
  times.forward.compute = cost.pass(2 * rows * element);
  times.forward.exposed = enter_or_leave(cost, work, rows * element);
  // The gradient is zeroed and gets rows added.
  const double width = work.accumulate ? 4 : element;
  times.weight.compute = cost.pass(table * width + rows * (element + 2 * width), 2);
  times.weight.exposed = work.sequence_parallel ? cost.all_gather(work.tp, rows * element) : 0;
  return times;
}

UnitTimes head_times(const CostModel& cost, const LayerShape& shape, const UnitWork& work) {
  UnitTimes times;
  const auto element = static_cast<double>(cost.element());
  const auto tokens = static_cast<double>(work.tokens);
  const auto hidden = static_cast<double>(shape.hidden);
  const auto vocab = static_cast<double>(shape.vocab);
  const int64_t chunk = head_chunk_rows(shape, work.loss_chunk, work.tokens, cost.element());
  const int64_t chunks = chunk > 0 ? (work.tokens + chunk - 1) / chunk : 0;
  const double resident = tokens * static_cast<double>(shape.resident) * element;
  const double border = enter_or_leave(cost, work, tokens * hidden * element);

  // The loss reads the logits twice; its gradient takes their place.
  times.forward.compute =
      static_cast<double>(chunks) * cost.matmul(chunk, shape.vocab, shape.hidden) +
      cost.pass(2 * resident + 2 * tokens * vocab * element, static_cast<int>(chunks) + 1);
  // Two small sums over tp for each chunk.
  times.forward.exposed =
      static_cast<double>(chunks) * 2 * cost.all_reduce(work.tp, 8.0 * static_cast<double>(chunk)) +
      (work.sequence_parallel ? border : 0);
  times.input.compute = static_cast<double>(chunks) * cost.matmul(chunk, shape.hidden, shape.vocab) +
                        cost.pass(2 * tokens * vocab * element + 4 * resident + 2 * tokens * hidden * element,
                                  static_cast<int>(chunks) + 1);
  times.input.exposed = border;
  const double sums = (work.accumulate ? 10 : element) * vocab * hidden;
  times.weight.compute =
      static_cast<double>(chunks) * cost.matmul(shape.vocab, shape.hidden, chunk, chunks > 1 ? sums : 0);
  return times;
}

double model_flops_per_token(const ModelConfig& config, int64_t document) {
  const auto hidden = static_cast<double>(config.hidden_size);
  double flops = 6 * hidden * static_cast<double>(config.vocab_size);
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    const LayerShape s = layer_shape(config, layer, 1, false);
    const auto q = static_cast<double>(s.q_width());
    const auto kv = static_cast<double>(s.kv_width());
    flops += 6 * hidden * (2 * q + 2 * kv + 3 * static_cast<double>(s.intermediate));
    flops += 12 * q * mean_context(document, s.window);
  }
  return flops;
}

}  // namespace tessera
