// Checks the arguments of collectives and describes them for comparison and for error messages.
#include "comm/fingerprint.h"

#include <numeric>

#include "comm/reduce.h"
#include "core/error.h"

namespace tessera {
namespace {

std::string_view kind_name(OpKind kind) {
  switch (kind) {
    case OpKind::all_gather:
      return "all_gather";
    case OpKind::reduce_scatter:
      return "reduce_scatter";
    case OpKind::all_reduce:
      return "all_reduce";
    case OpKind::all_to_all:
      return "all_to_all";
    case OpKind::broadcast:
      return "broadcast";
    case OpKind::barrier:
      return "barrier";
    case OpKind::allocate_shared:
      return "allocate_shared";
    case OpKind::allocate_symmetric:
      return "allocate_symmetric";
    case OpKind::send:
      return "send";
    case OpKind::recv:
      return "recv";
  }
  return "unknown operation";
}

std::string_view reduce_name(ReduceOp op) {
  switch (op) {
    case ReduceOp::sum:
      return "sum";
    case ReduceOp::avg:
      return "avg";
    case ReduceOp::max:
      return "max";
    case ReduceOp::min:
      return "min";
  }
  return "unknown";
}

/// FNV-1a over 64-bit words.
void mix(uint64_t& hash, uint64_t word) {
  hash = (hash ^ word) * 0x100000001b3ULL;
}

void check_tensor(OpKind kind, std::string_view role, size_t index, const at::Tensor& tensor,
                  at::Device device) {
  TESSERA_CHECK(tensor.defined(), argument, kind_name(kind), ": ", role, "[", index, "] is undefined");
  TESSERA_CHECK(tensor.device() == device, argument, kind_name(kind), ": ", role, "[", index, "] is on ",
                tensor.device().str(), ", the group is on ", device.str());
  TESSERA_CHECK(tensor.layout() == at::kStrided && tensor.is_contiguous(), argument, kind_name(kind), ": ",
                role, "[", index, "] is not contiguous");
}

void add_tensor(Fingerprint& fingerprint, const at::Tensor& in, const at::Tensor& out, int64_t elements) {
  if (fingerprint.tensors == 0) {
    fingerprint.dtype = static_cast<uint8_t>(in.scalar_type());
    fingerprint.out_dtype = static_cast<uint8_t>(out.scalar_type());
    fingerprint.shape_hash = 0xcbf29ce484222325ULL;
  }
  ++fingerprint.tensors;
  fingerprint.elements += elements;
  mix(fingerprint.shape_hash, static_cast<uint64_t>(in.scalar_type()));
  mix(fingerprint.shape_hash, static_cast<uint64_t>(out.scalar_type()));
  mix(fingerprint.shape_hash, static_cast<uint64_t>(elements));
}

void check_lists(OpKind kind, const std::vector<at::Tensor>& outs, const std::vector<at::Tensor>& ins,
                 at::Device device) {
  TESSERA_CHECK(outs.size() == ins.size(), argument, kind_name(kind), ": ", outs.size(), " outputs for ",
                ins.size(), " inputs");
  for (size_t i = 0; i < ins.size(); ++i) {
    check_tensor(kind, "in", i, ins[i], device);
    check_tensor(kind, "out", i, outs[i], device);
  }
}

std::vector<int64_t> full_counts(std::string_view role, const at::Tensor& tensor,
                                 const std::vector<int64_t>& splits, int64_t row_elements, int size) {
  const int64_t rows = tensor.dim() == 0 ? tensor.numel() : tensor.size(0);
  std::vector<int64_t> counts(size);
  if (splits.empty()) {
    TESSERA_CHECK(rows % size == 0, argument, "all_to_all: ", rows, " rows of ", role,
                  " do not divide into equal parts for ", size, " ranks");
    for (int64_t& count : counts) count = rows / size * row_elements;
    return counts;
  }
  TESSERA_CHECK(static_cast<int>(splits.size()) == size, argument, "all_to_all: ", splits.size(), " ", role,
                "_splits for ", size, " ranks");
  int64_t rest = rows;
  for (int r = 0; r < size; ++r) {
    TESSERA_CHECK(splits[r] >= 0 && splits[r] <= rest, argument, "all_to_all: ", role, "_splits[", r,
                  "]=", splits[r], " does not fit into the ", rows, " rows of ", role);
    rest -= splits[r];
    counts[r] = splits[r] * row_elements;
  }
  TESSERA_CHECK(rest == 0, argument, "all_to_all: ", role, "_splits leave ", rest, " of ", rows, " rows of ",
                role);
  return counts;
}

}  // namespace

std::string_view dtype_name(c10::ScalarType dtype) {
  switch (dtype) {
    case c10::ScalarType::Float:
      return "float32";
    case c10::ScalarType::Double:
      return "float64";
    case c10::ScalarType::BFloat16:
      return "bfloat16";
    case c10::ScalarType::Half:
      return "float16";
    case c10::ScalarType::Byte:
      return "uint8";
    case c10::ScalarType::Char:
      return "int8";
    case c10::ScalarType::Short:
      return "int16";
    case c10::ScalarType::Int:
      return "int32";
    case c10::ScalarType::Long:
      return "int64";
    case c10::ScalarType::Bool:
      return "bool";
    default:
      return c10::toString(dtype);
  }
}

std::string describe(const Fingerprint& f) {
  const std::string_view name = kind_name(f.kind);
  const std::string_view dtype = dtype_name(static_cast<c10::ScalarType>(f.dtype));
  switch (f.kind) {
    case OpKind::barrier:
      return std::string(name);
    case OpKind::allocate_shared:
    case OpKind::allocate_symmetric:
      return cat(name, " of ", f.elements, " bytes");
    case OpKind::all_to_all:
      return cat(name, " of ", dtype, " rows of ", f.elements, " elements");
    case OpKind::send:
      return cat(name, " to group rank ", f.root, " of ", f.elements, " ", dtype, " with tag ", f.tag);
    case OpKind::recv:
      return cat(name, " from group rank ", f.root, " of ", f.elements, " ", dtype, " with tag ", f.tag);
    default:
      break;
  }
  std::string text(name);
  if (f.kind == OpKind::reduce_scatter || f.kind == OpKind::all_reduce) {
    text += cat("(", reduce_name(static_cast<ReduceOp>(f.reduce)), ")");
  }
  if (f.kind == OpKind::broadcast) text += cat(" from group rank ", f.root);
  if (f.tensors == 0) return text + " of no tensors";
  text += cat(" of ", f.tensors, " ", dtype, f.tensors == 1 ? " tensor, " : " tensors, ", f.elements,
              " elements");
  if (f.out_dtype != f.dtype) text += cat(" into ", dtype_name(static_cast<c10::ScalarType>(f.out_dtype)));
  return text;
}

Fingerprint check_all_gather(const std::vector<at::Tensor>& outs, const std::vector<at::Tensor>& ins,
                             int size, at::Device device) {
  check_lists(OpKind::all_gather, outs, ins, device);
  Fingerprint result{.kind = OpKind::all_gather};
  for (size_t i = 0; i < ins.size(); ++i) {
    TESSERA_CHECK(outs[i].scalar_type() == ins[i].scalar_type(), argument, "all_gather: out[", i, "] is ",
                  dtype_name(outs[i].scalar_type()), ", in[", i, "] is ", dtype_name(ins[i].scalar_type()));
    TESSERA_CHECK(outs[i].numel() == size * ins[i].numel(), argument, "all_gather: out[", i, "] has ",
                  outs[i].numel(), " elements, expected ", size, " x ", ins[i].numel());
    add_tensor(result, ins[i], outs[i], ins[i].numel());
  }
  return result;
}

Fingerprint check_reduce_scatter(const std::vector<at::Tensor>& outs, const std::vector<at::Tensor>& ins,
                                 ReduceOp op, int size, at::Device device) {
  check_lists(OpKind::reduce_scatter, outs, ins, device);
  Fingerprint result{.kind = OpKind::reduce_scatter, .reduce = static_cast<uint8_t>(op)};
  for (size_t i = 0; i < ins.size(); ++i) {
    TESSERA_CHECK(ins[i].numel() == size * outs[i].numel(), argument, "reduce_scatter: in[", i, "] has ",
                  ins[i].numel(), " elements, expected ", size, " x ", outs[i].numel());
    check_reduction(op, ins[i].scalar_type(), outs[i].scalar_type());
    add_tensor(result, ins[i], outs[i], outs[i].numel());
  }
  return result;
}

Fingerprint check_all_reduce(const std::vector<at::Tensor>& tensors, ReduceOp op, at::Device device) {
  Fingerprint result{.kind = OpKind::all_reduce, .reduce = static_cast<uint8_t>(op)};
  for (size_t i = 0; i < tensors.size(); ++i) {
    check_tensor(OpKind::all_reduce, "tensor", i, tensors[i], device);
    check_reduction(op, tensors[i].scalar_type(), tensors[i].scalar_type());
    add_tensor(result, tensors[i], tensors[i], tensors[i].numel());
  }
  return result;
}

Fingerprint check_broadcast(const std::vector<at::Tensor>& tensors, int root, int size, at::Device device) {
  TESSERA_CHECK(root >= 0 && root < size, argument, "broadcast: root=", root, " is not in a group of ", size);
  Fingerprint result{.kind = OpKind::broadcast, .root = root};
  for (size_t i = 0; i < tensors.size(); ++i) {
    check_tensor(OpKind::broadcast, "tensor", i, tensors[i], device);
    add_tensor(result, tensors[i], tensors[i], tensors[i].numel());
  }
  return result;
}

Fingerprint check_peer_call(OpKind kind, const at::Tensor& tensor, int peer, int tag, int rank, int size,
                            at::Device device) {
  TESSERA_CHECK(peer >= 0 && peer < size && peer != rank, argument, kind_name(kind), ": rank ", peer,
                " is not another rank of a group of ", size);
  TESSERA_CHECK(tag >= 0, argument, kind_name(kind), ": tag=", tag, " is negative");
  check_tensor(kind, "tensor", 0, tensor, device);
  Fingerprint result{.kind = kind, .root = peer, .tag = tag};
  add_tensor(result, tensor, tensor, tensor.numel());
  return result;
}

AllToAllPlan check_all_to_all(const at::Tensor& out, const at::Tensor& in,
                              const std::vector<int64_t>& out_splits, const std::vector<int64_t>& in_splits,
                              int size, at::Device device) {
  check_tensor(OpKind::all_to_all, "in", 0, in, device);
  check_tensor(OpKind::all_to_all, "out", 0, out, device);
  TESSERA_CHECK(out.scalar_type() == in.scalar_type(), argument, "all_to_all: out is ",
                dtype_name(out.scalar_type()), ", in is ", dtype_name(in.scalar_type()));
  const auto row_elements = [](const at::Tensor& tensor) {
    int64_t row = 1;
    for (int64_t d = 1; d < tensor.dim(); ++d) row *= tensor.size(d);
    return row;
  };
  AllToAllPlan plan;
  plan.row_elements = row_elements(in);
  TESSERA_CHECK(row_elements(out) == plan.row_elements, argument, "all_to_all: rows of out have ",
                row_elements(out), " elements, rows of in ", plan.row_elements);
  plan.out_counts = full_counts("out", out, out_splits, plan.row_elements, size);
  plan.in_counts = full_counts("in", in, in_splits, plan.row_elements, size);
  plan.fingerprint = {.kind = OpKind::all_to_all};
  add_tensor(plan.fingerprint, in, out, plan.row_elements);
  return plan;
}

}  // namespace tessera
