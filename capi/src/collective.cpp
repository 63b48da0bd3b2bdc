// tessera/collective.h
#include "objects.h"

using namespace tessera::capi;  // NOLINT: entry points live in the global namespace
using tessera::ReduceOp;

namespace {

ReduceOp reduce_op(int32_t reduce) {
  switch (reduce) {
    case TESSERA_REDUCE_SUM:
      return ReduceOp::sum;
    case TESSERA_REDUCE_AVG:
      return ReduceOp::avg;
    case TESSERA_REDUCE_MAX:
      return ReduceOp::max;
    case TESSERA_REDUCE_MIN:
      return ReduceOp::min;
    default:
      break;
  }
  throw tessera::Error(tessera::Code::argument, tessera::cat("reduce=", reduce, " is not a tessera_reduce"));
}

at::Tensor tensor_in(tessera_tensor handle, const char* name) {
  at::Tensor tensor = find<TensorObject>(handle, name)->tensor;
  TESSERA_CHECK(tensor.is_contiguous(), argument, name, " is not contiguous");
  return tensor;
}

/// `whole` must hold `parts` times the elements of `part`.
void check_parts(const at::Tensor& whole, const char* whole_name, const at::Tensor& part,
                 const char* part_name, int64_t parts) {
  TESSERA_CHECK(whole.scalar_type() == part.scalar_type(), argument, whole_name, " and ", part_name,
                " differ in dtype");
  TESSERA_CHECK(whole.numel() == part.numel() * parts, argument, whole_name, " has ", whole.numel(),
                " elements instead of ", parts, " times the ", part.numel(), " of ", part_name);
}

/// Runs `collective(group)` on the rank's thread.
template <class Collective>
auto start_collective(tessera_mesh mesh, const char* axis, Collective collective) {
  TESSERA_NOT_NULL(axis);
  const auto object = find<MeshObject>(mesh, "mesh");
  const tessera::GroupPtr group = object->mesh->group(axis);
  return start<Nothing>(*object->world, object->use.lease("mesh"),
                        [object, group, collective = std::move(collective)] {
                          collective(*group);
                          return Nothing{};
                        });
}

auto start_barrier(tessera_mesh mesh, const char* axis) {
  return start_collective(mesh, axis, [](tessera::Group& group) { group.barrier(); });
}

auto start_all_reduce(tessera_mesh mesh, const char* axis, tessera_tensor tensor, int32_t reduce) {
  TESSERA_NOT_NULL(axis);
  find<MeshObject>(mesh, "mesh");
  return start_collective(mesh, axis,
                          [data = tensor_in(tensor, "tensor"), op = reduce_op(reduce)](auto& group) {
                            group.all_reduce({data}, op)->wait();
                          });
}

auto start_all_gather(tessera_mesh mesh, const char* axis, tessera_tensor input, tessera_tensor output) {
  TESSERA_NOT_NULL(axis);
  const auto object = find<MeshObject>(mesh, "mesh");
  const at::Tensor in = tensor_in(input, "input");
  const at::Tensor out = tensor_in(output, "output");
  check_parts(out, "output", in, "input", object->mesh->size(axis));
  return start_collective(mesh, axis, [in, out](auto& group) { group.all_gather({out}, {in})->wait(); });
}

auto start_reduce_scatter(tessera_mesh mesh, const char* axis, tessera_tensor input, tessera_tensor output,
                          int32_t reduce) {
  TESSERA_NOT_NULL(axis);
  const auto object = find<MeshObject>(mesh, "mesh");
  const at::Tensor in = tensor_in(input, "input");
  const at::Tensor out = tensor_in(output, "output");
  check_parts(in, "input", out, "output", object->mesh->size(axis));
  return start_collective(mesh, axis, [in, out, op = reduce_op(reduce)](auto& group) {
    group.reduce_scatter({out}, {in}, op)->wait();
  });
}

auto start_all_to_all(tessera_mesh mesh, const char* axis, tessera_tensor input, tessera_tensor output) {
  TESSERA_NOT_NULL(axis);
  const auto object = find<MeshObject>(mesh, "mesh");
  const at::Tensor in = tensor_in(input, "input").reshape({-1});
  const at::Tensor out = tensor_in(output, "output").reshape({-1});
  check_parts(out, "output", in, "input", 1);
  const int64_t size = object->mesh->size(axis);
  TESSERA_CHECK(in.numel() % size == 0, argument, "input has ", in.numel(), " elements, which ", axis, "=",
                size, " does not divide");
  return start_collective(mesh, axis, [in, out](auto& group) { group.all_to_all(out, in, {}, {})->wait(); });
}

auto start_broadcast(tessera_mesh mesh, const char* axis, tessera_tensor tensor, int64_t root) {
  TESSERA_NOT_NULL(axis);
  const auto object = find<MeshObject>(mesh, "mesh");
  const at::Tensor data = tensor_in(tensor, "tensor");
  TESSERA_CHECK(root >= 0 && root < object->mesh->size(axis), argument, "root=", root, " is not below ", axis,
                "=", object->mesh->size(axis));
  return start_collective(
      mesh, axis, [data, root](auto& group) { group.broadcast({data}, static_cast<int>(root))->wait(); });
}

}  // namespace

tessera_status tessera_mesh_barrier(tessera_mesh mesh, const char* axis, tessera_error* err) {
  return guard(err, [&] { finish(start_barrier(mesh, axis)); });
}

tessera_status tessera_mesh_barrier_async(tessera_mesh mesh, const char* axis, tessera_future* out_future,
                                          tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_future);
    give_future(start_barrier(mesh, axis), out_future);
  });
}

tessera_status tessera_mesh_all_reduce(tessera_mesh mesh, const char* axis, tessera_tensor tensor,
                                       int32_t reduce, tessera_error* err) {
  return guard(err, [&] { finish(start_all_reduce(mesh, axis, tensor, reduce)); });
}

tessera_status tessera_mesh_all_reduce_async(tessera_mesh mesh, const char* axis, tessera_tensor tensor,
                                             int32_t reduce, tessera_future* out_future, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_future);
    give_future(start_all_reduce(mesh, axis, tensor, reduce), out_future);
  });
}

tessera_status tessera_mesh_all_gather(tessera_mesh mesh, const char* axis, tessera_tensor input,
                                       tessera_tensor output, tessera_error* err) {
  return guard(err, [&] { finish(start_all_gather(mesh, axis, input, output)); });
}

tessera_status tessera_mesh_all_gather_async(tessera_mesh mesh, const char* axis, tessera_tensor input,
                                             tessera_tensor output, tessera_future* out_future,
                                             tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_future);
    give_future(start_all_gather(mesh, axis, input, output), out_future);
  });
}

tessera_status tessera_mesh_reduce_scatter(tessera_mesh mesh, const char* axis, tessera_tensor input,
                                           tessera_tensor output, int32_t reduce, tessera_error* err) {
  return guard(err, [&] { finish(start_reduce_scatter(mesh, axis, input, output, reduce)); });
}

tessera_status tessera_mesh_reduce_scatter_async(tessera_mesh mesh, const char* axis, tessera_tensor input,
                                                 tessera_tensor output, int32_t reduce,
                                                 tessera_future* out_future, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_future);
    give_future(start_reduce_scatter(mesh, axis, input, output, reduce), out_future);
  });
}

tessera_status tessera_mesh_all_to_all(tessera_mesh mesh, const char* axis, tessera_tensor input,
                                       tessera_tensor output, tessera_error* err) {
  return guard(err, [&] { finish(start_all_to_all(mesh, axis, input, output)); });
}

tessera_status tessera_mesh_all_to_all_async(tessera_mesh mesh, const char* axis, tessera_tensor input,
                                             tessera_tensor output, tessera_future* out_future,
                                             tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_future);
    give_future(start_all_to_all(mesh, axis, input, output), out_future);
  });
}

tessera_status tessera_mesh_broadcast(tessera_mesh mesh, const char* axis, tessera_tensor tensor,
                                      int64_t root, tessera_error* err) {
  return guard(err, [&] { finish(start_broadcast(mesh, axis, tensor, root)); });
}

tessera_status tessera_mesh_broadcast_async(tessera_mesh mesh, const char* axis, tessera_tensor tensor,
                                            int64_t root, tessera_future* out_future, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_future);
    give_future(start_broadcast(mesh, axis, tensor, root), out_future);
  });
}
