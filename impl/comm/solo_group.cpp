// One rank's collectives.
#include "comm/solo_group.h"

#include "comm/fingerprint.h"

namespace tessera {
namespace {

/// What the current stream does next comes after.
class Queued final : public Work {
 public:
  void wait() override {}
};

WorkPtr queued() {
  return std::make_shared<Queued>();
}

void copy(const at::Tensor& out, const at::Tensor& in) {
  if (out.const_data_ptr() != in.const_data_ptr()) out.view({-1}).copy_(in.view({-1}));
}

}  // namespace

at::Device SoloGroup::where(const std::vector<at::Tensor>& tensors) const {
  return in_host_memory(tensors) ? at::Device(at::kCPU) : device_;
}

WorkPtr SoloGroup::all_gather(const std::vector<at::Tensor>& outs, const std::vector<at::Tensor>& ins) {
  check_all_gather(outs, ins, 1, where(ins));
  for (size_t i = 0; i < ins.size(); ++i) copy(outs[i], ins[i]);
  return queued();
}

WorkPtr SoloGroup::reduce_scatter(const std::vector<at::Tensor>& outs, const std::vector<at::Tensor>& ins,
                                  ReduceOp op) {
  check_reduce_scatter(outs, ins, op, 1, where(ins));
  for (size_t i = 0; i < ins.size(); ++i) copy(outs[i], ins[i]);
  return queued();
}

WorkPtr SoloGroup::all_reduce(const std::vector<at::Tensor>& tensors, ReduceOp op) {
  check_all_reduce(tensors, op, where(tensors));
  return queued();
}

WorkPtr SoloGroup::all_to_all(const at::Tensor& out, const at::Tensor& in,
                              const std::vector<int64_t>& out_splits, const std::vector<int64_t>& in_splits) {
  check_all_to_all(out, in, out_splits, in_splits, 1, where({in}));
  copy(out, in);
  return queued();
}

WorkPtr SoloGroup::broadcast(const std::vector<at::Tensor>& tensors, int root) {
  check_broadcast(tensors, root, 1, where(tensors));
  return queued();
}

WorkPtr SoloGroup::send(const at::Tensor& tensor, int destination, int tag) {
  return control_->send(tensor, destination, tag);
}

WorkPtr SoloGroup::recv(const at::Tensor& tensor, int source, int tag) {
  return control_->recv(tensor, source, tag);
}

void SoloGroup::barrier() {
  control_->barrier();
}

}  // namespace tessera
