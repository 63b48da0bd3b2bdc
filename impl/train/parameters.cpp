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
  return all.narrow(0, 0, checked_numel(param.part_shape)).view(param.part_shape);
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
  if (!gradients_readable) return at::zeros(param.part_shape, at::dtype(at::kFloat));
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
  const at::Tensor rows = full.narrow(0, param.shard.first_row, param.shard.rows);
  model->master(address).view(rows.sizes()).copy_(rows);
  model->publish(address);
  weights_written = true;
}

}  // namespace tessera
