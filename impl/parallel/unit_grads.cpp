// Weight gradients into their buffers: the first contribution of a round overwrites, later ones add.
#include "parallel/unit_grads.h"

#include "kernels/elementwise.h"
#include "kernels/embedding.h"
#include "kernels/linear.h"
#include "kernels/side_by_side.h"

namespace tessera {

void UnitGrads::linear(int weight, const at::Tensor& x, const at::Tensor& dy) {
  const Target& target = targets_[weight];
  if (!target.trainable) return;
  bool first = false;
  const at::Tensor out = storage_.target(target.unit, target.param, first);
  kernels::linear_grad_weight(x, dy, out, !first);
}

void UnitGrads::linears(const std::vector<Linear>& list) {
  struct Piece {
    const Linear* operands;
    at::Tensor out;
    bool first;
  };
  std::vector<Piece> pieces;
  std::vector<int64_t> costs;
  for (const Linear& one : list) {
    const Target& target = targets_[one.weight];
    if (!target.trainable) continue;
    bool first = false;
    at::Tensor out = storage_.target(target.unit, target.param, first);
    costs.push_back(one.x.is_cpu() ? (one.x.size(0) + 1) * out.numel() : 0);
    pieces.push_back({&one, std::move(out), first});
  }
  kernels::side_by_side(costs, [&](size_t i) {
    kernels::linear_grad_weight(pieces[i].operands->x, pieces[i].operands->dy, pieces[i].out,
                                !pieces[i].first);
  });
}

void UnitGrads::add(int weight, const at::Tensor& grad) {
  const Target& target = targets_[weight];
  if (!target.trainable) return;
  bool first = false;
  const at::Tensor out = storage_.target(target.unit, target.param, first);
  if (first) {
    kernels::cast_copy(out, grad);
  } else {
    kernels::add_to(out, grad);
  }
}

void UnitGrads::add_formed(int weight, const std::function<at::Tensor()>& form) {
  if (targets_[weight].trainable) add(weight, form());
}

void UnitGrads::add_rows(int weight, const at::Tensor& rows, const at::Tensor& dy) {
  const Target& target = targets_[weight];
  if (!target.trainable) return;
  bool first = false;
  const at::Tensor out = storage_.target(target.unit, target.param, first);
  if (first) out.zero_();
  kernels::embedding_backward(out, rows, dy);
}

}  // namespace tessera
