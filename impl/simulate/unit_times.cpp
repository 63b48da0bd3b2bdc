// Times of decoder layers, embedding and head from their matrix products, attention, passes over memory, and
// the collectives at their borders.
#include "simulate/unit_times.h"

#include <algorithm>
#include <vector>

#include "simulate/expert_times.h"

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

struct Matrix {
  int64_t out, in;
};

// The products of attention's projections. Those that take the same rows in are one product forward, and one
// each for their weights.
struct Projections {
  std::vector<Matrix> products;
  std::vector<Matrix> weights;
};

Projections projections(const LayerShape& s) {
  const Matrix o{s.hidden, s.out_width()};
  const LatentShape& latent = s.latent;
  if (latent.kv_rank == 0) {
    const Matrix q{s.q_width(), s.hidden}, k{s.k_width(), s.hidden}, v{s.v_width(), s.hidden};
    return {{{q.out + k.out + v.out, s.hidden}, o}, {q, k, v, o}};
  }
  const Matrix q_up{s.q_width(), latent.q_rank > 0 ? latent.q_rank : s.hidden};
  const Matrix kv_up{s.heads * (latent.plain_dim + latent.value_dim), latent.kv_rank};
  const Matrix q_down{latent.q_rank, s.hidden}, kv_down{latent.kv_rank + latent.rope_dim, s.hidden};
  return {{{latent.down_width(), s.hidden}, q_up, kv_up, o}, {q_down, kv_down, q_up, kv_up, o}};
}

// What tp costs at one border of a block: all-reduce, or a gather before and a scatter behind.
double enter_or_leave(const CostModel& cost, const UnitWork& work, double bytes) {
  return work.sequence_parallel ? cost.all_gather(work.tp, bytes) : cost.all_reduce(work.tp, bytes);
}

class LayerClock {
 public:
  LayerClock(const CostModel& cost, const LayerShape& shape, const UnitWork& work)
      : cost_(cost),
        s_(shape),
        w_(work),
        tokens_(static_cast<double>(work.tokens)),
        projections_(projections(shape)) {}

  UnitTimes run() {
    UnitTimes times;
    times.forward = forward();
    times.again = times.forward;
    // The gated product and the down projection are left out, and with that a border (nn/decoder_layer.cpp).
    if (has_mlp() && !s_.sandwich_norms && s_.experts.count == 0) {
      const double gated = 3 * tokens_ * static_cast<double>(s_.intermediate);
      times.again.compute -= down() + cost_.pass(bytes(gated));
      times.again.exposed -= border();
    }
    times.weight.compute = weight_products();
    times.input = input();
    if (s_.experts.count > 0) times += expert_times(cost_, s_, w_);
    // Sums of input gradients, and inputs gathered again, travel while weight gradients are formed; rank
    // threads move them themselves.
    const double hidden = cost_.cluster().shares_memory ? 0 : times.weight.compute;
    times.input.exposed += std::max(0.0, hideable_ - hidden);
    return times;
  }

 private:
  double bytes(double elements) const { return elements * static_cast<double>(cost_.element()); }

  // Layers with experts have no MLP unless all tokens pass one.
  bool has_mlp() const { return s_.intermediate > 0; }

  double input_products() const {
    double seconds = 0;
    for (const Matrix& m : projections_.products) seconds += cost_.matmul(w_.tokens, m.out, m.in);
    if (!has_mlp()) return seconds;
    return seconds + gate_up() + down();
  }

  double gate_up() const { return cost_.matmul(w_.tokens, 2 * s_.intermediate, s_.hidden); }
  double down() const { return cost_.matmul(w_.tokens, s_.hidden, s_.intermediate); }

  double weight_product(int64_t out, int64_t in) const {
    // A product in bf16 is added to a float32 sum in a pass of its own.
    const double extra = w_.accumulate ? 10.0 * static_cast<double>(out) * static_cast<double>(in) : 0;
    return cost_.matmul(out, in, w_.tokens, extra);
  }

  double weight_products() const {
    double seconds = 0;
    for (const Matrix& m : projections_.weights) seconds += weight_product(m.out, m.in);
    if (!has_mlp()) return seconds;
    return seconds + 2 * weight_product(s_.intermediate, s_.hidden) +
           weight_product(s_.hidden, s_.intermediate);
  }

  double attention_flops() const {
    double flops = 2 * tokens_ * mean_context(w_.document, s_.window) *
                   static_cast<double>(s_.q_width() + s_.out_width());
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
    const auto kv_width = static_cast<double>(s_.k_width() + s_.v_width());
    const double kv = bytes(tokens_ * kv_width);
    const double grads = backward ? 4 * tokens_ * kv_width : 0;
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
        const double all = bytes(tokens_ * (static_cast<double>(s_.q_width() + s_.out_width()) + kv_width));
        return cost_.all_to_all(w_.cp, all) * (backward ? 2 : 1);
      }
    }
  }

  // Passes that attention in blocks needs: keys and values are packed, partial results merged in float32.
  double merging(bool backward) const {
    if (w_.cp.size <= 1 || w_.context.exchange != ContextExchange::ring) return 0;
    const auto hops = static_cast<double>(w_.cp.size - 1);
    const auto q = static_cast<double>(s_.q_width());
    const auto kv = static_cast<double>(s_.k_width() + s_.v_width());
    const double packing = 2 * bytes(tokens_ * kv);
    return cost_.pass(packing + hops * tokens_ * 12 * (backward ? q + kv : q),
                      static_cast<int>(3 * w_.cp.size));
  }

  PhaseTime forward() {
    PhaseTime time;
    const double attention = cost_.attention(attention_flops(), false);
    const auto resident = static_cast<double>(s_.resident);
    const auto qk = static_cast<double>(s_.q_width() + s_.k_width());
    // Norms read and write (2 + 4, the second adds the residual first), rope reads and writes q and k, the
    // gated product reads two and writes one, the residual is added (3).
    double elements = 9 * resident + 2 * qk + 3 * static_cast<double>(s_.intermediate);
    if (s_.qk_norm) elements += 2 * qk;
    time.compute = input_products() + attention + merging(false) + cost_.pass(bytes(tokens_ * elements), 6);
    time.exposed = blocks() * border() * (w_.sequence_parallel ? 2 : 1) + exchange(attention, false);
    return time;
  }

  // Blocks that are cut over tp: attention and MLP.
  double blocks() const { return has_mlp() ? 2 : 1; }

  // One gather, scatter or sum of activations over tp.
  double border() const { return enter_or_leave(cost_, w_, bytes(tokens_ * static_cast<double>(s_.hidden))); }

  PhaseTime input() {
    PhaseTime time;
    const double attention = cost_.attention(2.5 * attention_flops(), true);
    const auto resident = static_cast<double>(s_.resident);
    const auto qk = static_cast<double>(s_.q_width() + s_.k_width());
    // Norms read input, gradient and residual's gradient and write one (4 each), the gated product reads
    // three and writes two, rope and the joining of q, k, v.
    double elements = 8 * resident + 5 * static_cast<double>(s_.intermediate) + 3 * qk;
    if (w_.recompute != Recompute::none) {
      elements += 4 * resident + static_cast<double>(s_.intermediate);
    }
    if (s_.qk_norm) elements += 4 * qk;
    time.compute = input_products() + attention + merging(true) + cost_.pass(bytes(tokens_ * elements), 8);
    if (w_.recompute == Recompute::mlp && has_mlp()) time.compute += gate_up();
    // Under sequence parallelism output gradients are gathered before anything can be done; inputs are
    // gathered again and input gradients scattered beside the weight gradients.
    time.exposed = exchange(attention, true) + (w_.sequence_parallel ? blocks() * border() : 0);
    hideable_ = border() * blocks() * (w_.sequence_parallel ? 2 : 1);
    return time;
  }

  const CostModel& cost_;
  const LayerShape& s_;
  const UnitWork& w_;
  double tokens_;
  Projections projections_;
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
    const LayerShape s = layer_shape(config, layer, {});
    for (const Matrix& m : projections(s).weights) {
      flops += 6 * static_cast<double>(m.out) * static_cast<double>(m.in);
    }
    const ExpertShape& e = s.experts;
    flops += 6 * hidden * static_cast<double>(3 * (s.intermediate + e.top_k * e.intermediate) + e.count);
    flops += 6 * static_cast<double>(s.q_width() + s.out_width()) * mean_context(document, s.window);
  }
  return flops;
}

}  // namespace tessera
