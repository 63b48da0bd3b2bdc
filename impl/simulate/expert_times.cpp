// The times of nn/moe.cpp's steps.
#include "simulate/expert_times.h"

#include <algorithm>
#include <cmath>

namespace tessera {
namespace {

class ExpertClock {
 public:
  ExpertClock(const CostModel& cost, const LayerShape& shape, const UnitWork& work)
      : cost_(cost),
        s_(shape),
        e_(shape.experts),
        w_(work),
        tokens_(static_cast<double>(work.tokens)),
        rows_(e_.rows(tokens_)),
        routed_(static_cast<int64_t>(std::ceil(e_.routed(tokens_)))),
        expert_rows_(static_cast<int64_t>(std::ceil(rows_ / static_cast<double>(e_.held)))) {}

  UnitTimes run() const {
    UnitTimes times;
    times.forward = times.again = forward();
    times.input = input();
    times.weight.compute = weight_products();
    return times;
  }

 private:
  double bytes(double elements) const { return elements * static_cast<double>(cost_.element()); }
  double hidden() const { return static_cast<double>(s_.hidden); }
  double width() const { return static_cast<double>(e_.intermediate); }
  double held() const { return static_cast<double>(e_.held); }

  double products() const {
    return held() * (cost_.matmul(expert_rows_, 2 * e_.intermediate, s_.hidden) +
                     cost_.matmul(expert_rows_, s_.hidden, e_.intermediate)) +
           cost_.matmul(routed_, e_.count, s_.hidden);
  }

  double weight_product(int64_t out, int64_t in, int64_t rows) const {
    const double extra = w_.accumulate ? 10.0 * static_cast<double>(out) * static_cast<double>(in) : 0;
    return cost_.matmul(out, in, rows, extra);
  }

  double weight_products() const {
    return held() * (2 * weight_product(e_.intermediate, s_.hidden, expert_rows_) +
                     weight_product(s_.hidden, e_.intermediate, expert_rows_)) +
           weight_product(e_.count, s_.hidden, routed_);
  }

  // The way of rows of `width` elements to their experts, or of results back.
  double travel(double width) const {
    if (w_.ep.size <= 1) return 0;
    if (w_.expert_exchange == ExpertExchange::all_to_all)
      return cost_.all_to_all(w_.ep, bytes(rows_ * width));
    // Tokens, not rows, of all ranks.
    return cost_.all_gather(w_.ep, bytes(e_.routed(tokens_) * static_cast<double>(w_.ep.size) * width));
  }

  // The shared expert computes while rows travel to the experts, unless rank threads move them themselves.
  double beside_shared(double travelling, double products) const {
    return cost_.cluster().shares_memory ? travelling : std::max(0.0, travelling - products);
  }

  double shared_products() const {
    if (s_.intermediate == 0) return 0;
    return cost_.matmul(w_.tokens, 2 * s_.intermediate, s_.hidden) +
           cost_.matmul(w_.tokens, s_.hidden, s_.intermediate);
  }

  // Ranks of tp that each take a part of the tokens show each other the results; cut widths are gathered for
  // and summed over as an MLP's.
  double tp_border() const {
    if (w_.tp.size <= 1) return 0;
    const double whole = bytes(tokens_ * hidden());
    if (e_.cut_width) {
      return w_.sequence_parallel ? 2 * cost_.all_gather(w_.tp, whole) : cost_.all_reduce(w_.tp, whole);
    }
    return w_.sequence_parallel ? 0 : cost_.all_gather(w_.tp, whole);
  }

  // Bytes of the passes that sort rows: picked out, sorted on arrival, and back into tokens.
  double sorting() const {
    const double steps = w_.ep.size > 1 ? 8 : 4;
    return bytes(steps * rows_ * hidden() + e_.routed(tokens_) * hidden());
  }

  // Scores are read and written a few times in float32.
  double routing() const { return 16 * e_.routed(tokens_) * static_cast<double>(e_.count); }

  PhaseTime forward() const {
    PhaseTime time;
    // Kernels: three an expert, and a dozen around them.
    const int kernels = static_cast<int>(3 * e_.held + 12);
    time.compute =
        products() + cost_.pass(bytes(rows_ * (3 * width() + 2 * hidden())) + sorting() + routing(), kernels);
    time.exposed = beside_shared(travel(hidden()), shared_products()) + travel(hidden()) + tp_border();
    return time;
  }

  PhaseTime input() const {
    PhaseTime time;
    const int kernels = static_cast<int>(6 * e_.held + 12);
    // The gated product, scaled rows, and dot products for the weights' gradients.
    double elements = rows_ * (8 * width() + 4 * hidden());
    if (w_.recompute != Recompute::none) elements += rows_ * 3 * width();
    time.compute = products() + cost_.pass(bytes(elements) + sorting() + routing(), kernels);
    // Without other ranks the inputs' rows are picked out again.
    time.exposed = beside_shared(travel(hidden()), 2 * shared_products()) + travel(hidden()) + tp_border();
    return time;
  }

  const CostModel& cost_;
  const LayerShape& s_;
  const ExpertShape& e_;
  const UnitWork& w_;
  double tokens_;
  double rows_;
  int64_t routed_;
  int64_t expert_rows_;  // of one expert
};

}  // namespace

UnitTimes expert_times(const CostModel& cost, const LayerShape& shape, const UnitWork& work) {
  return ExpertClock(cost, shape, work).run();
}

}  // namespace tessera
