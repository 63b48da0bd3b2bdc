// Parameters and gradients by name, as full tensors.
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
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
  if (param.spec.exact) return mine.view(param.spec.shape).clone();
  const at::Tensor all = at::empty({param.full_numel()}, mine.options());
  const int64_t padded = param.shard.padded_numel();
  const ShardDomain& domain = model->domain(param.spec);
  const ShardPosition& at = domain.position;
  const at::Tensor own = all.narrow(0, at.shard_index * padded, padded);
  own.narrow(0, 0, mine.numel()).copy_(mine);
  if (param.shards > 1 && padded > 0) {
    own.narrow(0, mine.numel(), padded - mine.numel()).zero_();
    domain.shards->all_gather({all}, {own})->wait();
  }
  const at::Tensor part = all.narrow(0, 0, checked_numel(param.part_shape)).view(param.part_shape);
  const int64_t copies = param.spec.tp.copies(at.tp_size);
  if (copies == at.tp_size) return part;
  // Parts may differ in size: each rank adds its own to zeros, the first of equals only.
  const at::Tensor full = at::zeros(param.spec.shape, mine.options());
  if (at.tp_index % copies == 0) narrowed(full, tp_box(param.spec, at.tp_index, at.tp_size)).copy_(part);
  mesh->group("tp")->all_reduce({full}, ReduceOp::sum)->wait();
  return full;
}

// What a function of the public interface asks for, or the same error on all ranks.
const ShardedModel::Known& Trainer::Impl::known_parameter(const std::string& name) const {
  try {
    return model->find_known(name);
  } catch (const Error& error) {
    throw AgreedError(error);
  }
}

// A tensor and its dtype from one rank of a group to the others, which know its shape.
static at::Tensor spread(const GroupPtr& group, int root, at::Tensor tensor, at::IntArrayRef shape) {
  if (group->size() == 1) return tensor;
  const bool have = tensor.defined();
  const auto dtype = have ? static_cast<int64_t>(tensor.scalar_type()) : 0;
  const at::Tensor code = at::full({1}, dtype, at::dtype(at::kLong));
  group->broadcast({code}, root)->wait();
  if (!have) {
    tensor = at::empty(shape, at::dtype(static_cast<at::ScalarType>(code.const_data_ptr<int64_t>()[0])));
  }
  group->broadcast({tensor}, root)->wait();
  return tensor;
}

// The whole tensor that some ranks hold in parts, on all ranks. `part` is this rank's when it is one of them.
at::Tensor Trainer::Impl::full_on_all_stages(const ShardedModel::Known& known,
                                             const std::function<at::Tensor(const ParamAddress&)>& part) {
  const ParamSpec& spec = *known.spec;
  const std::optional<ParamAddress> here = model->find_here(spec.name);
  at::Tensor full;
  if (here) full = gather_full(model->param(*here), part(*here)).contiguous().cpu();
  const bool in_stage = mesh->index("pp") == known.pp;
  const GroupPtr& experts = model->domain(spec).ep;
  if (in_stage && experts) full = spread(experts, static_cast<int>(spec.ep_index), full, spec.shape);
  return spread(mesh->group("pp"), known.pp, full, spec.shape);
}

at::Tensor Trainer::Impl::parameter(const std::string& name) {
  return full_on_all_stages(known_parameter(name),
                            [&](const ParamAddress& address) { return model->master(address); });
}

at::Tensor Trainer::Impl::gradient(const std::string& name) {
  const ShardedModel::Known& known = known_parameter(name);
  if (!known.spec->trainable)
    throw AgreedError(Error(Code::state, cat("parameter \"", name, "\" is not trained")));
  if (!gradients_readable) return at::zeros(known.spec->shape, at::dtype(at::kFloat));
  return full_on_all_stages(known, [&](const ParamAddress& address) {
    return model->gradients().shard(address.unit, address.param);
  });
}

void Trainer::Impl::set_parameter(const std::string& name, const at::Tensor& full) {
  const ShardedModel::Known& known = known_parameter(name);
  const std::vector<int64_t>& shape = known.spec->shape;
  if (!full.defined() || full.sizes() != at::IntArrayRef(shape)) {
    throw AgreedError(
        Error(Code::argument, cat("parameter \"", name, "\" has shape ", shape_text(shape), ", not ",
                                  full.defined() ? shape_text(full.sizes()) : std::string("none"))));
  }
  model->weights().meet();  // no rank computes any more
  weights_written = true;
  const std::optional<ParamAddress> here = model->find_here(name);
  if (!here) return;
  const Box box = model->box(*known.spec);
  model->master(*here).view(box.size).copy_(narrowed(full, box));
  model->publish(*here);
}

}  // namespace tessera
