// Parameters and gradients by name, as full tensors.
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include "train/trainer_impl.h"

namespace tessera {
namespace {

std::string shape_text(at::IntArrayRef shape) {
  std::string text = "[";
  for (size_t d = 0; d < shape.size(); ++d) text += cat(d == 0 ? "" : ", ", shape[d]);
  return text + "]";
}

// The part of `tensor` inside `box`, a view.
at::Tensor narrowed(at::Tensor tensor, const Box& box) {
  for (size_t d = 0; d < box.size.size(); ++d) {
    tensor = tensor.narrow(static_cast<int64_t>(d), box.offset[d], box.size[d]);
  }
  return tensor;
}

}  // namespace

/// The whole tensor from each rank's real elements (1-D). Collective.
at::Tensor Trainer::Impl::gather_full(const FsdpParam& param, const at::Tensor& mine) {
  const at::Tensor all = at::empty({param.full_numel()}, mine.options());
  const int64_t padded = param.shard.padded_numel();
  const at::Tensor own = all.narrow(0, model->position().shard_index * padded, padded);
  own.narrow(0, 0, mine.numel()).copy_(mine);
  if (param.shards > 1 && padded > 0) {
    own.narrow(0, mine.numel(), padded - mine.numel()).zero_();
    model->shard_group()->all_gather({all}, {own})->wait();
  }
  const at::Tensor part = all.narrow(0, 0, checked_numel(param.part_shape)).view(param.part_shape);
  const ShardPosition& at = model->position();
  const int64_t copies = param.spec.tp.copies(at.tp_size);
  if (copies == at.tp_size) return part;
  // Parts may differ in size: each rank adds its own to zeros, the first of equals only.
  const at::Tensor full = at::zeros(param.spec.shape, mine.options());
  if (at.tp_index % copies == 0) narrowed(full, tp_box(param.spec, at.tp_index, at.tp_size)).copy_(part);
  mesh->group("tp")->all_reduce({full}, ReduceOp::sum)->wait();
  return full;
}

at::Tensor Trainer::Impl::parameter(const std::string& name) {
  ParamAddress address;
  try {
    address = model->find(name);
  } catch (const Error& error) {
    throw AgreedError(error);
  }
  return gather_full(model->param(address), model->master(address));
}

at::Tensor Trainer::Impl::gradient(const std::string& name) {
  ParamAddress address;
  try {
    address = model->find(name);
    TESSERA_CHECK(model->param(address).spec.trainable, state, "parameter \"", name, "\" is not trained");
  } catch (const Error& error) {
    throw AgreedError(error);
  }
  const FsdpParam& param = model->param(address);
  if (!gradients_readable) return at::zeros(param.spec.shape, at::dtype(at::kFloat));
  return gather_full(param, model->gradients().shard(address.unit, address.param));
}

void Trainer::Impl::set_parameter(const std::string& name, const at::Tensor& full) {
  ParamAddress address;
  try {
    address = model->find(name);
    const FsdpParam& param = model->param(address);
    TESSERA_CHECK(full.defined() && full.sizes() == at::IntArrayRef(param.spec.shape), argument,
                  "parameter \"", name, "\" has shape ", shape_text(param.spec.shape), ", not ",
                  full.defined() ? shape_text(full.sizes()) : std::string("none"));
  } catch (const Error& error) {
    throw AgreedError(error);
  }
  const FsdpParam& param = model->param(address);
  if (model->weights().shared()) model->shard_group()->barrier();  // no rank computes any more
  const ShardPosition& at = model->position();
  const Box box = owned_box(param.spec, at.tp_index, at.tp_size, at.shard_index, at.shards);
  model->master(address).view(box.size).copy_(narrowed(full, box));
  model->publish(address);
  weights_written = true;
}

}  // namespace tessera
