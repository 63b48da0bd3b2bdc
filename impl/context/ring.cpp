// Ring attention, forward and backward.
//
// At hop distance o a rank holds keys and values of the rank o before it. Distances at which no rank of the
// ring sees anything (sliding windows) are left out on all ranks, since all know all pieces; the next message
// then goes further at once. In the backward the gradients of travelling keys and values follow them one hop
// behind, in float32, and go home from the last distance:
//
//     kv   r -> r+1 -> r+2 ...              each hop while the block before it is computed
//     dkv       r+1 -> r+2 ... -> r         each hop after the block's own part was added
#include "context/ring.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <optional>

#include "core/error.h"

namespace tessera {
namespace {

constexpr int kKvTag = 1;
constexpr int kGradTag = 2;

/// A message to one rank and one from another, under way.
class Shift {
 public:
  Shift() = default;
  /// `out` goes `hops` ranks on; as much comes from as many ranks back.
  Shift(Group& ring, const at::Tensor& out, int hops, int tag) : sent_(out), received_(at::empty_like(out)) {
    const int size = ring.size(), rank = ring.rank();
    incoming_ = ring.recv(received_, (rank + size - hops) % size, tag);
    outgoing_ = ring.send(sent_, (rank + hops) % size, tag);
  }
  at::Tensor wait() {
    incoming_->wait();
    outgoing_->wait();
    sent_.reset();
    return std::move(received_);
  }

 private:
  at::Tensor sent_, received_;
  WorkPtr incoming_, outgoing_;
};

/// Something of the shapes of k [T, Hkv, d] and v [T, Hkv, e] as one message.
class KeyValueMessage {
 public:
  KeyValueMessage(const at::Tensor& k, const at::Tensor& v, at::ScalarType dtype)
      : k_shape_(k.sizes().vec()),
        v_shape_(v.sizes().vec()),
        data_(at::zeros({k.numel() + v.numel()}, k.options().dtype(dtype))) {}

  at::Tensor k() const { return data_.narrow(0, 0, k_numel()).view(k_shape_); }
  at::Tensor v() const { return data_.narrow(0, k_numel(), data_.numel() - k_numel()).view(v_shape_); }
  const at::Tensor& data() const { return data_; }
  void set_data(at::Tensor data) { data_ = std::move(data); }

 private:
  int64_t k_numel() const { return c10::multiply_integers(k_shape_); }

  std::vector<int64_t> k_shape_, v_shape_;
  at::Tensor data_;
};

KeyValueMessage pack(const at::Tensor& k, const at::Tensor& v) {
  KeyValueMessage kv(k, v, k.scalar_type());
  kv.k().copy_(k);
  kv.v().copy_(v);
  return kv;
}

kernels::AttentionOptions without_sinks(kernels::AttentionOptions options) {
  options.sinks.reset();
  return options;
}

/// Gradients summed up in float32; the first part is taken as it is.
void accumulate(at::Tensor& sum, const at::Tensor& part) {
  if (sum.defined()) {
    sum.add_(part);
  } else {
    sum = part.to(at::kFloat);
  }
}

class RingPlan final : public ContextPlan {
 public:
  RingPlan(GroupPtr ring, std::vector<std::vector<ContextPiece>> pieces, int64_t tokens)
      : ring_(std::move(ring)), pieces_(std::move(pieces)), tokens_(tokens) {
    const int size = ring_ ? ring_->size() : 1;
    TESSERA_CHECK(static_cast<int>(pieces_.size()) == size, internal, "pieces of ", pieces_.size(),
                  " ranks for a ring of ", size);
  }

  Attended attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                  const kernels::AttentionOptions& options) override;
  kernels::AttentionGrads attend_backward(const at::Tensor& dout, const AttendKept& kept,
                                          const kernels::AttentionOptions& options) override;

 private:
  /// What this rank computes at one distance.
  struct Hop {
    int distance;
    SpanPasses passes;
  };
  using Hops = std::vector<Hop>;

  const Hops& hops(int64_t window);
  bool anybody_sees(int distance, int64_t window) const;
  /// Gradients of one block: dq is added to, dk and dv are of the block.
  kernels::AttentionGrads block_backward(const at::Tensor& dout, const AttendKept& kept, const at::Tensor& k,
                                         const at::Tensor& v, const SpanPasses& passes,
                                         const kernels::AttentionOptions& options, at::Tensor& dq) const;

  int size() const { return static_cast<int>(pieces_.size()); }
  int rank() const { return ring_ ? ring_->rank() : 0; }

  GroupPtr ring_;
  std::vector<std::vector<ContextPiece>> pieces_;
  int64_t tokens_;
  std::map<int64_t, Hops> hops_;  ///< by window
};

bool RingPlan::anybody_sees(int distance, int64_t window) const {
  for (int r = 0; r < size(); ++r) {
    const int source = (r + size() - distance) % size();
    if (!visible_spans(pieces_[r], pieces_[source], window).empty()) return true;
  }
  return false;
}

const RingPlan::Hops& RingPlan::hops(int64_t window) {
  const auto found = hops_.find(window);
  if (found != hops_.end()) return found->second;
  Hops hops;
  for (int distance = 0; distance < size(); ++distance) {
    if (distance > 0 && !anybody_sees(distance, window)) continue;
    const int source = (rank() + size() - distance) % size();
    hops.push_back({distance, visible_spans(pieces_[rank()], pieces_[source], window)});
  }
  return hops_.emplace(window, std::move(hops)).first->second;
}

Attended RingPlan::attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                          const kernels::AttentionOptions& options) {
  TESSERA_CHECK(q.size(0) == tokens_ && k.size(0) == tokens_, internal, "attention of ", q.size(0),
                " tokens in a plan of ", tokens_);
  const Hops& way = hops(options.window);
  at::Tensor block_k = k, block_v = v;
  std::optional<KeyValueMessage> kv;
  if (way.size() > 1) kv = pack(k, v);
  // A sink counts once, for queries that may see nothing in one part: parts are made without it.
  const bool one_part = way.size() == 1 && way[0].passes.size() == 1;
  const kernels::AttentionOptions inner = one_part ? options : without_sinks(options);
  PartialAttention total;
  for (size_t h = 0; h < way.size(); ++h) {
    const bool more = h + 1 < way.size();
    Shift shift;
    if (more) shift = Shift(*ring_, kv->data(), way[h + 1].distance - way[h].distance, kKvTag);
    for (const std::vector<kernels::AttentionSpan>& spans : way[h].passes)
      total.add(kernels::attention(q, block_k, block_v, spans, inner), spans);
    if (!more) break;
    kv->set_data(shift.wait());
    block_k = kv->k();
    block_v = kv->v();
  }
  if (options.sinks.defined() && !one_part && !total.empty()) total.add_sinks(options.sinks);
  // A rank of nothing but padding.
  if (total.empty()) total.add(kernels::attention(q, k, v, {}, options), {});
  const kernels::AttentionResult result = total.finish(q.scalar_type());
  return {result.out, {q, k, v, result.out, result.lse}};
}

kernels::AttentionGrads RingPlan::block_backward(const at::Tensor& dout, const AttendKept& kept,
                                                 const at::Tensor& k, const at::Tensor& v,
                                                 const SpanPasses& passes,
                                                 const kernels::AttentionOptions& options,
                                                 at::Tensor& dq) const {
  kernels::AttentionGrads sum;
  for (const std::vector<kernels::AttentionSpan>& spans : passes) {
    const kernels::AttentionGrads part =
        kernels::attention_backward(dout, kept.q, k, v, kept.out, kept.lse, spans, options);
    accumulate(dq, part.dq);
    accumulate(sum.dk, part.dk);
    accumulate(sum.dv, part.dv);
  }
  return sum;
}

kernels::AttentionGrads RingPlan::attend_backward(const at::Tensor& dout, const AttendKept& kept,
                                                  const kernels::AttentionOptions& options) {
  const Hops& way = hops(options.window);
  at::Tensor block_k = kept.k, block_v = kept.v, dq;
  std::optional<KeyValueMessage> kv;
  if (way.size() > 1) kv = pack(kept.k, kept.v);
  KeyValueMessage dkv(kept.k, kept.v, at::kFloat);
  const kernels::AttentionOptions sinkless = without_sinks(options);
  Shift grads;
  for (size_t h = 0; h < way.size(); ++h) {
    const bool more = h + 1 < way.size();
    Shift shift;
    if (more) shift = Shift(*ring_, kv->data(), way[h + 1].distance - way[h].distance, kKvTag);
    const kernels::AttentionGrads block =
        block_backward(dout, kept, block_k, block_v, way[h].passes, sinkless, dq);
    if (h > 0) dkv.set_data(grads.wait());
    if (block.dk.defined()) {
      dkv.k().add_(block.dk);
      dkv.v().add_(block.dv);
    }
    if (more) {
      grads = Shift(*ring_, dkv.data(), way[h + 1].distance - way[h].distance, kGradTag);
      kv->set_data(shift.wait());
      block_k = kv->k();
      block_v = kv->v();
    }
  }
  if (const int away = way.back().distance; away > 0)
    dkv.set_data(Shift(*ring_, dkv.data(), size() - away, kGradTag).wait());
  if (!dq.defined()) dq = at::zeros_like(kept.q, {}, at::MemoryFormat::Contiguous);
  const at::ScalarType dtype = kept.q.scalar_type();
  kernels::AttentionGrads result{dq.to(dtype), dkv.k().to(dtype), dkv.v().to(dtype), {}};
  if (options.sinks.defined())
    result.dsinks = kernels::attention_sink_grad(dout, kept.out, kept.lse, options.sinks);
  return result;
}

}  // namespace

std::unique_ptr<ContextPlan> make_ring_plan(GroupPtr ring, std::vector<std::vector<ContextPiece>> pieces,
                                            int64_t tokens) {
  return std::make_unique<RingPlan>(std::move(ring), std::move(pieces), tokens);
}

}  // namespace tessera
