// Passes over many tensors: one launch per batch of them on a GPU, one loop after the other on the CPU.
#include "kernels/multi_tensor.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cuda/dispatch.h"
#include "kernels/cuda/geometry.h"
#include "kernels/elementwise.h"

namespace tessera::kernels {
namespace {

void copy_or_add(const std::vector<at::Tensor>& dsts, const std::vector<at::Tensor>& srcs, bool add) {
  const char* name = add ? "add_all" : "copy_all";
  TESSERA_CHECK(dsts.size() == srcs.size(), argument, name, ": ", dsts.size(), " targets for ", srcs.size(),
                " tensors");
  if (dsts.empty()) return;
  const CudaTable* cuda = cuda_table({&dsts[0], &srcs[0]});
  for (size_t i = 0; i < dsts.size(); ++i) {
    const at::Tensor &dst = dsts[i], &src = srcs[i];
    TESSERA_CHECK(dst.numel() == src.numel() && dst.is_contiguous() && src.is_contiguous(), argument, name,
                  ": tensor ", i, " has ", src.numel(), " elements for ", dst.numel(),
                  ", or is not contiguous");
    if (!cuda_dtype(dst) || !cuda_dtype(src) || dst.scalar_type() != dsts[0].scalar_type() ||
        src.scalar_type() != srcs[0].scalar_type() || !cuda_table({&dsts[0], &dst, &src})) {
      cuda = nullptr;
    }
  }
  if (!cuda) {
    for (size_t i = 0; i < dsts.size(); ++i) add ? add_to(dsts[i], srcs[i]) : cast_copy(dsts[i], srcs[i]);
    return;
  }
  const CudaCall call(*cuda, dsts[0]);
  std::vector<CudaCopy> list;
  list.reserve(dsts.size());
  for (size_t i = 0; i < dsts.size(); ++i) list.push_back({in(srcs[i]), out(dsts[i]), dsts[i].numel()});
  call.check(cuda->copy_many(cuda_type(dsts[0]), cuda_type(srcs[0]), list.data(),
                             static_cast<int64_t>(list.size()), add, call.stream()),
             name);
}

/// What the kernels assume of a tensor of an optimizer's pass.
void check_update(const char* name, const at::Tensor& master, std::initializer_list<const at::Tensor*> state,
                  const at::Tensor& copy) {
  TESSERA_CHECK(master.is_contiguous(), argument, name, ": a master of ", master.sizes(),
                " is not contiguous");
  for (const at::Tensor* t : state) {
    TESSERA_CHECK(!t->defined() || (t->numel() == master.numel() && t->is_contiguous() &&
                                    t->scalar_type() == at::kFloat && t->device() == master.device()),
                  argument, name, ": gradient or state of ", t->sizes(), " does not fit a master of ",
                  master.sizes());
  }
  TESSERA_CHECK(!copy.defined() || (copy.numel() == master.numel() && copy.is_contiguous()), argument, name,
                ": a copy of ", copy.sizes(), " does not fit a master of ", master.sizes());
}

const float* device_scale_of(const at::Tensor& scale, const at::Tensor& where, const char* name) {
  if (!scale.defined()) return nullptr;
  TESSERA_CHECK(scale.numel() == 1 && scale.scalar_type() == at::kFloat && scale.device() == where.device(),
                argument, name, ": the scale is ", scale.scalar_type(), " ", scale.sizes(), " on ",
                scale.device(), ", float32 [1] on ", where.device(), " expected");
  return scale.const_data_ptr<float>();
}

template <class T>
T* data_or_null(const at::Tensor& t) {
  return t.defined() ? t.mutable_data_ptr<T>() : nullptr;
}

}  // namespace

void copy_all(const std::vector<at::Tensor>& dsts, const std::vector<at::Tensor>& srcs) {
  copy_or_add(dsts, srcs, false);
}

void add_all(const std::vector<at::Tensor>& dsts, const std::vector<at::Tensor>& srcs) {
  copy_or_add(dsts, srcs, true);
}

at::Tensor sum_of_squares(const std::vector<WeightedTensor>& tensors) {
  const CudaTable* cuda = tensors.empty() ? nullptr : cuda_table({&tensors[0].tensor});
  for (const WeightedTensor& t : tensors) {
    TESSERA_CHECK(t.tensor.is_contiguous(), argument, "sum_of_squares: a tensor of ", t.tensor.sizes(),
                  " is not contiguous");
    if (!cuda_dtype(t.tensor) || !cuda_table({&tensors[0].tensor, &t.tensor})) cuda = nullptr;
  }
  if (!cuda) {
    double sum = 0;
    for (const WeightedTensor& t : tensors) sum += t.factor * sum_of_squares(t.tensor);
    const auto options = tensors.empty() ? at::TensorOptions() : tensors[0].tensor.options();
    return at::full({1}, sum, options.dtype(at::kDouble));
  }
  const CudaCall call(*cuda, tensors[0].tensor);
  std::vector<CudaSquares> list;
  list.reserve(tensors.size());
  int64_t blocks = 0;
  for (const WeightedTensor& t : tensors) {
    list.push_back({in(t.tensor), cuda_type(t.tensor), t.tensor.numel(), t.factor});
    blocks += many_blocks(t.tensor.numel());
  }
  const auto options = tensors[0].tensor.options().dtype(at::kDouble);
  const at::Tensor partial = at::empty({blocks}, options);
  at::Tensor sum = at::empty({1}, options);
  call.check(
      cuda->squares_many(list.data(), static_cast<int64_t>(list.size()), partial.mutable_data_ptr<double>(),
                         sum.mutable_data_ptr<double>(), call.stream()),
      "sum_of_squares");
  return sum;
}

at::Tensor clip_scale(const at::Tensor& squares, double max_norm) {
  TESSERA_CHECK(squares.numel() == 1 && squares.scalar_type() == at::kDouble, argument,
                "clip_scale: squares are ", squares.scalar_type(), " ", squares.sizes(),
                ", float64 [1] expected");
  if (const CudaTable* cuda = cuda_table({&squares})) {
    const CudaCall call(*cuda, squares);
    at::Tensor scale = at::empty({1}, squares.options().dtype(at::kFloat));
    call.check(cuda->clip_scale(squares.const_data_ptr<double>(), max_norm, scale.mutable_data_ptr<float>(),
                                call.stream()),
               "clip_scale");
    return scale;
  }
  const double factor = max_norm / (std::sqrt(squares.item<double>()) + 1e-6);
  return at::full({1}, factor > 1 ? 1.0 : factor, squares.options().dtype(at::kFloat));
}

bool has_fused_update(const at::Tensor& master, const at::Tensor& grad, const at::Tensor& copy) {
  if (grad.scalar_type() != at::kFloat || !cuda_dtype(master)) return false;
  if (copy.defined() && copy.scalar_type() != at::kBFloat16) return false;
  if (cuda_table({&master, &grad, &copy})) return true;
  return has_loops(master) && has_loops(grad) && (!copy.defined() || has_loops(copy));
}

void adamw_all(const std::vector<AdamWTensors>& tensors, const AdamWScalars& scalars,
               const at::Tensor& device_scale) {
  if (tensors.empty()) return;
  for (const AdamWTensors& t : tensors) check_update("adamw", t.master, {&t.grad, &t.m, &t.v}, t.copy);
  const float* scale = device_scale_of(device_scale, tensors[0].master, "adamw");
  if (const CudaTable* cuda = cuda_table({&tensors[0].master})) {
    const CudaCall call(*cuda, tensors[0].master);
    std::vector<CudaAdamW> list;
    list.reserve(tensors.size());
    for (const AdamWTensors& t : tensors) {
      list.push_back({out(t.master), cuda_type(t.master), t.grad.const_data_ptr<float>(),
                      t.m.mutable_data_ptr<float>(), t.v.mutable_data_ptr<float>(), out(t.copy),
                      t.master.numel(), t.decay});
    }
    call.check(
        cuda->adamw_many(list.data(), static_cast<int64_t>(list.size()), scalars, scale, call.stream()),
        "adamw");
    return;
  }
  AdamWScalars own = scalars;
  if (scale) own.grad_scale *= *scale;
  for (const AdamWTensors& t : tensors) {
    own.decay = t.decay;
    parallel(
        t.master.numel(), 28,
        [&, loop = pick(cpu_table().adamw, t.master), p = out(t.master), g = t.grad.const_data_ptr<float>(),
         m = t.m.mutable_data_ptr<float>(), v = t.v.mutable_data_ptr<float>(),
         copy = out(t.copy)](int64_t b, int64_t e) { loop(p, g, m, v, copy, own, b, e); });
  }
}

void sgd_all(const std::vector<SgdTensors>& tensors, const SgdScalars& scalars,
             const at::Tensor& device_scale) {
  if (tensors.empty()) return;
  for (const SgdTensors& t : tensors) check_update("sgd", t.master, {&t.grad, &t.momentum}, t.copy);
  const float* scale = device_scale_of(device_scale, tensors[0].master, "sgd");
  if (const CudaTable* cuda = cuda_table({&tensors[0].master})) {
    const CudaCall call(*cuda, tensors[0].master);
    std::vector<CudaSgd> list;
    list.reserve(tensors.size());
    for (const SgdTensors& t : tensors) {
      list.push_back({out(t.master), cuda_type(t.master), t.grad.const_data_ptr<float>(),
                      data_or_null<float>(t.momentum), out(t.copy), t.master.numel(), t.weight_decay});
    }
    call.check(cuda->sgd_many(list.data(), static_cast<int64_t>(list.size()), scalars, scale, call.stream()),
               "sgd");
    return;
  }
  SgdScalars own = scalars;
  if (scale) own.grad_scale *= *scale;
  for (const SgdTensors& t : tensors) {
    own.weight_decay = t.weight_decay;
    parallel(t.master.numel(), 20,
             [&, loop = pick(cpu_table().sgd, t.master), p = out(t.master),
              g = t.grad.const_data_ptr<float>(), momentum = data_or_null<float>(t.momentum),
              copy = out(t.copy)](int64_t b, int64_t e) { loop(p, g, momentum, copy, own, b, e); });
  }
}

}  // namespace tessera::kernels
