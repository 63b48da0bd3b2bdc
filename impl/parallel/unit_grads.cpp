// Weight gradients into their buffers: the first contribution of a round overwrites, later ones add.
#include "parallel/unit_grads.h"

#include "kernels/elementwise.h"
#include "kernels/embedding.h"
#include "kernels/linear.h"
#include "kernels/side_by_side.h"

namespace tessera {
namespace {

/// One product dyᵀ x into `out`.
struct Piece {
  at::Tensor x;
  at::Tensor dy;
  at::Tensor out;
  bool first;
};

/// Whether `b` begins where `a` ends in a storage that both share, `distance` elements after it.
bool follows(const at::Tensor& a, const at::Tensor& b, int64_t distance) {
  return b.is_alias_of(a) && b.scalar_type() == a.scalar_type() && b.strides() == a.strides() &&
         b.storage_offset() == a.storage_offset() + distance;
}

/// Makes `next` a part of `piece` when both multiply the same input, their output gradients are columns side
/// by side, and their results rows side by side.
bool join(Piece& piece, const Piece& next) {
  if (!next.x.is_same(piece.x) || next.first != piece.first) return false;
  const int64_t columns = piece.dy.size(1), rows = piece.out.size(0);
  if (piece.dy.stride(1) != 1 || !follows(piece.dy, next.dy, columns)) return false;
  if (!piece.out.is_contiguous() || !follows(piece.out, next.out, piece.out.numel())) return false;
  piece.dy = piece.dy.as_strided({piece.dy.size(0), columns + next.dy.size(1)}, piece.dy.strides(),
                                 piece.dy.storage_offset());
  piece.out = piece.out.as_strided({rows + next.out.size(0), piece.out.size(1)}, piece.out.strides(),
                                   piece.out.storage_offset());
  return true;
}

}  // namespace

void UnitGrads::linear(int weight, const at::Tensor& x, const at::Tensor& dy) {
  const Target& target = targets_[weight];
  if (!target.trainable) return;
  bool first = false;
  const at::Tensor out = storage_.target(target.unit, target.param, first);
  kernels::linear_grad_weight(x, dy, out, !first);
}

void UnitGrads::linears(const std::vector<Linear>& list) {
  std::vector<Piece> pieces;
  for (const Linear& one : list) {
    const Target& target = targets_[one.weight];
    if (!target.trainable) continue;
    Piece piece{one.x, one.dy, {}, false};
    piece.out = storage_.target(target.unit, target.param, piece.first);
    if (pieces.empty() || !join(pieces.back(), piece)) pieces.push_back(std::move(piece));
  }
  std::vector<int64_t> costs;
  for (const Piece& piece : pieces) {
    costs.push_back(piece.x.is_cpu() ? (piece.x.size(0) + 1) * piece.out.numel() : 0);
  }
  kernels::side_by_side(costs, [&](size_t i) {
    kernels::linear_grad_weight(pieces[i].x, pieces[i].dy, pieces[i].out, !pieces[i].first);
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
  if (first) kernels::zero(out);
  kernels::embedding_backward(out, rows, dy);
}

}  // namespace tessera
