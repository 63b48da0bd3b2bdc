// The NCCL engine's operations.
#include "comm/nccl_group.h"

#include <ATen/ops/empty.h>
#include <c10/core/ScalarType.h>
#include <c10/core/StreamGuard.h>

#include <cstring>

namespace tessera {
namespace {

NcclType type_of(const at::Tensor& tensor, const char* what) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return NcclType::float32;
    case at::kDouble:
      return NcclType::float64;
    case at::kBFloat16:
      return NcclType::bfloat16;
    case at::kHalf:
      return NcclType::float16;
    case at::kLong:
      return NcclType::int64;
    case at::kInt:
      return NcclType::int32;
    case at::kChar:
      return NcclType::int8;
    case at::kByte:
    case at::kBool:  // 0 and 1: max and min, which are all that it knows, are those of the byte
      return NcclType::uint8;
    default:
      throw Error(Code::unsupported, cat(what, ": nccl has no ", dtype_name(tensor.scalar_type())));
  }
}

/// What only moves, of whatever dtype.
constexpr NcclType kBytes = NcclType::int8;

NcclReduce reduce_of(ReduceOp op) {
  switch (op) {
    case ReduceOp::avg:
      return NcclReduce::avg;
    case ReduceOp::max:
      return NcclReduce::max;
    case ReduceOp::min:
      return NcclReduce::min;
    default:
      return NcclReduce::sum;
  }
}

/// The first result that is not a success.
int worse(int result, int next) {
  return result == kNcclSuccess || result == kNcclInProgress ? next : result;
}

/// Where the next of several tensors in one buffer starts: as LibTorch aligns memory.
int64_t aligned(int64_t bytes) {
  return (bytes + 511) / 512 * 512;
}

std::vector<at::Tensor> joined(std::vector<at::Tensor> list, const std::vector<at::Tensor>& more) {
  list.insert(list.end(), more.begin(), more.end());
  return list;
}

}  // namespace

NcclGroup::NcclGroup(std::shared_ptr<NcclLink> link, GroupPtr control, std::unique_ptr<NcclBoard> board)
    : DeviceGroup(std::move(control), link->device()), link_(std::move(link)), board_(std::move(board)) {}

std::shared_ptr<NcclGroup> NcclGroup::make(std::shared_ptr<NcclLink> link, GroupPtr control,
                                           std::shared_ptr<NcclComm> comm) {
  std::unique_ptr<NcclBoard> board = make_nccl_board(*control, link->control().rendezvous());
  std::shared_ptr<NcclGroup> group(new NcclGroup(link, control, std::move(board)));
  if (!comm) {
    const at::Tensor id = at::empty({static_cast<int64_t>(kNcclIdBytes)}, at::dtype(at::kByte));
    if (group->rank() == 0) {
      const int result = link->nccl().unique_id(id.data_ptr());
      if (result != kNcclSuccess)
        throw link->nccl_error(result, nullptr, cat("making group ", group->name()));
    }
    control->broadcast({id}, 0)->wait();
    const char* bytes = static_cast<const char*>(id.const_data_ptr());
    comm = NcclComm::connect(link, group->name(), group->world_ranks(), {bytes, bytes + kNcclIdBytes},
                             group->rank());
    comm->await_ready();
  }
  group->comm_ = std::move(comm);
  if (NcclMemory::agree(*control, *link))
    group->memory_ = std::make_shared<NcclMemory>(group->name(), link, group->comm_);
  return group;
}

WorkPtr NcclGroup::launch(const Fingerprint& fingerprint, std::vector<at::Tensor> tensors, const Calls& calls,
                          const std::function<std::vector<at::Tensor>()>& prepare) {
  link_->progress();
  const uint64_t sequence = ++started_;
  board_->start(sequence, fingerprint);
  c10::Event ready(link_->device().type());
  ready.record(link_->current_stream());
  ready.block(comm_->stream());
  if (prepare) {
    const c10::StreamGuard on_stream(comm_->stream());
    tensors = joined(std::move(tensors), prepare());
  }
  auto operation = std::make_shared<NcclOperation>(link_, std::move(tensors));
  operation->what = cat(describe(fingerprint), " on group ", name(), " (operation ", sequence, ")");
  operation->group = name();
  operation->ranks = world_ranks();
  operation->sequence = sequence;
  operation->fingerprint = fingerprint;
  operation->board = board_;
  link_->begun(operation);
  try {
    comm_->call(operation->what, calls);
    link_->launched(operation, comm_->stream());
  } catch (...) {
    link_->dropped(operation);
    throw;
  }
  return operation;
}

at::Tensor NcclGroup::allocate(int64_t bytes) {
  at::Tensor memory;
  if (memory_ && bytes > 0) memory = memory_->allocate(*control_, bytes);
  return memory.defined() ? memory : DeviceGroup::allocate(bytes);
}

/// One buffer serves all operations, which follow each other on the communicator's stream. It grows to the
/// largest of the first step.
void NcclGroup::make_staging(int64_t bytes) {
  if (staging_.defined() && staging_.numel() >= bytes) return;
  staging_.reset();
  staging_ = allocate(bytes);
}

/// `ins` in the dtypes of `outs`, on the current stream.
std::vector<at::Tensor> NcclGroup::staged(const std::vector<at::Tensor>& ins,
                                          const std::vector<at::Tensor>& outs) {
  std::vector<at::Tensor> sources = ins;
  int64_t offset = 0;
  for (size_t i = 0; i < ins.size(); ++i) {
    const at::ScalarType dtype = outs[i].scalar_type();
    if (ins[i].scalar_type() == dtype) continue;
    const int64_t bytes = ins[i].numel() * static_cast<int64_t>(c10::elementSize(dtype));
    sources[i] = staging_.narrow(0, offset, bytes).view(dtype).view(ins[i].sizes());
    sources[i].copy_(ins[i]);
    offset += aligned(bytes);
  }
  return sources;
}

WorkPtr NcclGroup::all_gather(const std::vector<at::Tensor>& outs, const std::vector<at::Tensor>& ins) {
  if (in_host_memory(ins)) return control_->all_gather(outs, ins);
  const Fingerprint fingerprint = check_all_gather(outs, ins, size(), link_->device());
  return launch(fingerprint, joined(outs, ins), [&](const NcclApi& nccl, void* comm, void* stream) {
    int result = kNcclSuccess;
    for (size_t i = 0; i < ins.size(); ++i) {
      if (ins[i].numel() == 0) continue;
      result = worse(result, nccl.all_gather(ins[i].const_data_ptr(), outs[i].mutable_data_ptr(),
                                             ins[i].nbytes(), kBytes, comm, stream));
    }
    return result;
  });
}

WorkPtr NcclGroup::reduce_scatter(const std::vector<at::Tensor>& outs, const std::vector<at::Tensor>& ins,
                                  ReduceOp op) {
  if (in_host_memory(ins)) return control_->reduce_scatter(outs, ins, op);
  const Fingerprint fingerprint = check_reduce_scatter(outs, ins, op, size(), link_->device());
  for (const at::Tensor& out : outs) static_cast<void>(type_of(out, "reduce_scatter"));
  // NCCL adds up in one dtype: what is to be summed in float32 travels in float32.
  std::vector<at::Tensor> sources = ins;
  int64_t wider = 0;
  for (size_t i = 0; i < ins.size(); ++i) {
    if (ins[i].scalar_type() != outs[i].scalar_type())
      wider += aligned(ins[i].numel() * static_cast<int64_t>(outs[i].element_size()));
  }
  if (wider > 0) make_staging(wider);
  const auto widen = [&] { return sources = staged(ins, outs); };
  return launch(
      fingerprint, joined(outs, ins),
      [&](const NcclApi& nccl, void* comm, void* stream) {
        int result = kNcclSuccess;
        for (size_t i = 0; i < ins.size(); ++i) {
          if (outs[i].numel() == 0) continue;
          result = worse(result, nccl.reduce_scatter(sources[i].const_data_ptr(), outs[i].mutable_data_ptr(),
                                                     outs[i].numel(), type_of(outs[i], "reduce_scatter"),
                                                     reduce_of(op), comm, stream));
        }
        return result;
      },
      widen);
}

WorkPtr NcclGroup::all_reduce(const std::vector<at::Tensor>& tensors, ReduceOp op) {
  if (in_host_memory(tensors)) return control_->all_reduce(tensors, op);
  const Fingerprint fingerprint = check_all_reduce(tensors, op, link_->device());
  for (const at::Tensor& tensor : tensors) static_cast<void>(type_of(tensor, "all_reduce"));
  return launch(fingerprint, tensors, [&](const NcclApi& nccl, void* comm, void* stream) {
    int result = kNcclSuccess;
    for (const at::Tensor& tensor : tensors) {
      if (tensor.numel() == 0) continue;
      result =
          worse(result, nccl.all_reduce(tensor.const_data_ptr(), tensor.mutable_data_ptr(), tensor.numel(),
                                        type_of(tensor, "all_reduce"), reduce_of(op), comm, stream));
    }
    return result;
  });
}

WorkPtr NcclGroup::all_to_all(const at::Tensor& out, const at::Tensor& in,
                              const std::vector<int64_t>& out_splits, const std::vector<int64_t>& in_splits) {
  if (in_host_memory(in)) return control_->all_to_all(out, in, out_splits, in_splits);
  const AllToAllPlan plan = check_all_to_all(out, in, out_splits, in_splits, size(), link_->device());
  return launch(plan.fingerprint, {out, in}, [&](const NcclApi& nccl, void* comm, void* stream) {
    const auto element = static_cast<int64_t>(in.element_size());
    const char* read = static_cast<const char*>(in.const_data_ptr());
    char* write = static_cast<char*>(out.mutable_data_ptr());
    int result = kNcclSuccess;
    for (int r = 0; r < size(); ++r) {
      const int64_t sent = plan.in_counts[r] * element;
      const int64_t received = plan.out_counts[r] * element;
      if (sent > 0) result = worse(result, nccl.send(read, sent, kBytes, r, comm, stream));
      if (received > 0) result = worse(result, nccl.recv(write, received, kBytes, r, comm, stream));
      read += sent;
      write += received;
    }
    return result;
  });
}

WorkPtr NcclGroup::broadcast(const std::vector<at::Tensor>& tensors, int root) {
  if (in_host_memory(tensors)) return control_->broadcast(tensors, root);
  const Fingerprint fingerprint = check_broadcast(tensors, root, size(), link_->device());
  return launch(fingerprint, tensors, [&](const NcclApi& nccl, void* comm, void* stream) {
    int result = kNcclSuccess;
    for (const at::Tensor& tensor : tensors) {
      if (tensor.numel() == 0) continue;
      result = worse(result, nccl.broadcast(tensor.const_data_ptr(), tensor.mutable_data_ptr(),
                                            tensor.nbytes(), kBytes, root, comm, stream));
    }
    return result;
  });
}

WorkPtr NcclGroup::send(const at::Tensor& tensor, int destination, int tag) {
  if (in_host_memory(tensor)) return control_->send(tensor, destination, tag);
  return transfer(check_peer_call(OpKind::send, tensor, destination, tag, rank(), size(), link_->device()),
                  tensor, rank(), destination);
}

WorkPtr NcclGroup::recv(const at::Tensor& tensor, int source, int tag) {
  if (in_host_memory(tensor)) return control_->recv(tensor, source, tag);
  return transfer(check_peer_call(OpKind::recv, tensor, source, tag, rank(), size(), link_->device()), tensor,
                  source, rank());
}

/// The first message of a pair may be called for by one rank long before the other: it is queued once both
/// have come, and so never keeps its caller from what that other rank waits for.
WorkPtr NcclGroup::transfer(const Fingerprint& fingerprint, const at::Tensor& tensor, int from, int to) {
  link_->check();
  auto operation = std::make_shared<NcclOperation>(link_, std::vector<at::Tensor>{tensor});
  operation->what = cat(describe(fingerprint), " on group ", name());
  operation->group = name();
  operation->ranks = {world_ranks()[from], world_ranks()[to]};
  operation->fingerprint = fingerprint;
  auto ready = std::make_shared<c10::Event>(link_->device().type());
  ready->record(link_->current_stream());
  {
    const std::lock_guard lock(edges_mutex_);
    edges_[{from, to}].waiting.push_back(operation);
  }
  const std::weak_ptr<NcclOperation> self = operation;
  operation->launch = [self, weak = weak_from_this(), ready, from, to] {
    const NcclOperationPtr operation = self.lock();
    const auto group = weak.lock();
    TESSERA_CHECK(group != nullptr, state, operation->what, ": the group has ended");
    return group->advance(operation, *ready, from, to);
  };
  link_->begun(operation);
  link_->postpone(operation);
  return operation;
}

/// The next step of a message. Connecting two ranks takes both of them, and each may have others to connect
/// to at that time (ranks in a ring): so no step waits for the other side.
bool NcclGroup::advance(const NcclOperationPtr& operation, c10::Event& ready, int from, int to) {
  const std::lock_guard lock(edges_mutex_);
  Edge& edge = edges_.at({from, to});
  if (edge.waiting.front() != operation || !connect(edge, from, to)) return false;
  const at::Tensor& tensor = operation->tensor();
  if (!edge.started) {
    ready.block(edge.comm->stream());
    if (tensor.numel() > 0) {
      edge.comm->start(operation->what, [&](const NcclApi& nccl, void* comm, void* stream) {
        return from == rank()
                   ? nccl.send(tensor.const_data_ptr(), tensor.nbytes(), kBytes, 1, comm, stream)
                   : nccl.recv(tensor.mutable_data_ptr(), tensor.nbytes(), kBytes, 0, comm, stream);
      });
    }
    edge.started = true;
    if (!edge.comm->ready()) return false;
  }
  link_->launched(operation, edge.comm->stream());
  edge.waiting.pop_front();
  edge.started = false;
  return true;
}

/// Rank 0 of an edge's communicator sends. Never blocks on the other side.
bool NcclGroup::connect(Edge& edge, int from, int to) {
  if (!edge.comm) {
    const bool sends = from == rank();
    NcclBoard::Id id(kNcclIdBytes);
    if (sends) {
      const int result = link_->nccl().unique_id(id.data());
      if (result != kNcclSuccess) throw link_->nccl_error(result, nullptr, cat("group ", name()));
      board_->leave_id(to, id);
    } else {
      const auto found = board_->find_id(from);
      if (!found) return false;
      id = *found;
    }
    edge.comm = NcclComm::connect(link_, cat(name(), " ", from, "-", to),
                                  {world_ranks()[from], world_ranks()[to]}, id, sends ? 0 : 1);
  }
  return edge.comm->ready();
}

void NcclGroup::barrier() {
  link_->synchronize();
  control_->barrier();
}

}  // namespace tessera
