// Copies to host memory, the host engine's operation, and copies back.
#include "comm/staged_group.h"

#include <ATen/ops/empty.h>

#include "comm/fingerprint.h"

namespace tessera {
namespace {

class StagedWork final : public Work {
 public:
  StagedWork(WorkPtr host_work, std::vector<at::Tensor> host, std::vector<at::Tensor> device)
      : host_work_(std::move(host_work)), host_(std::move(host)), device_(std::move(device)) {}

  void wait() override {
    host_work_->wait();
    for (size_t i = 0; i < device_.size(); ++i) device_[i].copy_(host_[i]);
    host_.clear();
    device_.clear();
  }

 private:
  WorkPtr host_work_;
  std::vector<at::Tensor> host_;
  std::vector<at::Tensor> device_;  // outputs, as long as they are to be written
};

std::vector<at::Tensor> to_host(const std::vector<at::Tensor>& tensors) {
  std::vector<at::Tensor> host;
  for (const at::Tensor& tensor : tensors) host.push_back(tensor.to(at::kCPU));
  return host;
}

at::Tensor host_like(const at::Tensor& tensor) {
  return at::empty(tensor.sizes(), tensor.options().device(at::kCPU));
}

std::vector<at::Tensor> host_like(const std::vector<at::Tensor>& tensors) {
  std::vector<at::Tensor> host;
  for (const at::Tensor& tensor : tensors) host.push_back(host_like(tensor));
  return host;
}

WorkPtr staged(WorkPtr work, std::vector<at::Tensor> host, std::vector<at::Tensor> device) {
  return std::make_shared<StagedWork>(std::move(work), std::move(host), std::move(device));
}

}  // namespace

WorkPtr StagedGroup::all_gather(const std::vector<at::Tensor>& outs, const std::vector<at::Tensor>& ins) {
  if (in_host_memory(ins)) return control_->all_gather(outs, ins);
  check_all_gather(outs, ins, size(), device_);
  const std::vector<at::Tensor> host = host_like(outs);
  return staged(control_->all_gather(host, to_host(ins)), host, outs);
}

WorkPtr StagedGroup::reduce_scatter(const std::vector<at::Tensor>& outs, const std::vector<at::Tensor>& ins,
                                    ReduceOp op) {
  if (in_host_memory(ins)) return control_->reduce_scatter(outs, ins, op);
  check_reduce_scatter(outs, ins, op, size(), device_);
  const std::vector<at::Tensor> host = host_like(outs);
  return staged(control_->reduce_scatter(host, to_host(ins), op), host, outs);
}

WorkPtr StagedGroup::all_reduce(const std::vector<at::Tensor>& tensors, ReduceOp op) {
  if (in_host_memory(tensors)) return control_->all_reduce(tensors, op);
  check_all_reduce(tensors, op, device_);
  const std::vector<at::Tensor> host = to_host(tensors);
  return staged(control_->all_reduce(host, op), host, tensors);
}

WorkPtr StagedGroup::all_to_all(const at::Tensor& out, const at::Tensor& in,
                                const std::vector<int64_t>& out_splits,
                                const std::vector<int64_t>& in_splits) {
  if (in_host_memory(in)) return control_->all_to_all(out, in, out_splits, in_splits);
  check_all_to_all(out, in, out_splits, in_splits, size(), device_);
  const at::Tensor host = host_like(out);
  return staged(control_->all_to_all(host, in.to(at::kCPU), out_splits, in_splits), {host}, {out});
}

WorkPtr StagedGroup::broadcast(const std::vector<at::Tensor>& tensors, int root) {
  if (in_host_memory(tensors)) return control_->broadcast(tensors, root);
  check_broadcast(tensors, root, size(), device_);
  const std::vector<at::Tensor> host = rank() == root ? to_host(tensors) : host_like(tensors);
  WorkPtr work = control_->broadcast(host, root);
  return rank() == root ? work : staged(std::move(work), host, tensors);
}

WorkPtr StagedGroup::send(const at::Tensor& tensor, int destination, int tag) {
  if (in_host_memory(tensor)) return control_->send(tensor, destination, tag);
  check_peer_call(OpKind::send, tensor, destination, tag, rank(), size(), device_);
  const at::Tensor host = tensor.to(at::kCPU);
  return staged(control_->send(host, destination, tag), {}, {});
}

WorkPtr StagedGroup::recv(const at::Tensor& tensor, int source, int tag) {
  if (in_host_memory(tensor)) return control_->recv(tensor, source, tag);
  check_peer_call(OpKind::recv, tensor, source, tag, rank(), size(), device_);
  const at::Tensor host = host_like(tensor);
  return staged(control_->recv(host, source, tag), {host}, {tensor});
}

void StagedGroup::barrier() {
  control_->barrier();
}

}  // namespace tessera
