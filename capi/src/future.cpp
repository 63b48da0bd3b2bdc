// tessera/future.h
#include "objects.h"

using namespace tessera::capi;  // NOLINT: entry points live in the global namespace

namespace {

std::shared_ptr<FutureObject> future_in(tessera_future future) {
  return find<FutureObject>(future, "future");
}

/// The ended operation with a result of this type. Throws what the work threw.
template <class T>
ResultOperation<T>& result_of(FutureObject& future, const char* what) {
  auto* operation = dynamic_cast<ResultOperation<T>*>(future.operation.get());
  TESSERA_CHECK(operation != nullptr, state, "the call behind this future makes no ", what);
  operation->result();
  return *operation;
}

/// Makes the handle of the object that the work made; once only.
template <class T, class Handle, class Wrap>
void hand_over(FutureObject& future, const char* what, Handle* out, Wrap wrap) {
  auto& operation = result_of<T>(future, what);
  const std::lock_guard lock(future.taken_mutex);
  TESSERA_CHECK(!future.taken, state, "the ", what, " of this future was taken before");
  give(wrap(*operation.value), out);
  future.taken = true;
  operation.value.reset();
}

}  // namespace

tessera_status tessera_future_destroy(tessera_future future) {
  return destroy<FutureObject>(future);
}

tessera_status tessera_future_poll(tessera_future future, int32_t* out_done, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_done);
    *out_done = future_in(future)->operation->done() ? 1 : 0;
  });
}

tessera_status tessera_future_wait(tessera_future future, int64_t timeout_ns, tessera_error* err) {
  return guard(err, [&] {
    const auto object = future_in(future);
    TESSERA_CHECK(object->operation->wait(timeout_from(timeout_ns)), timeout, "the work has not ended after ",
                  timeout_ns, " ns");
  });
}

tessera_status tessera_future_wait_any(const tessera_future* futures, int64_t count, int64_t timeout_ns,
                                       int64_t* out_index, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(futures);
    TESSERA_NOT_NULL(out_index);
    constexpr int64_t kMost = 1 << 20;
    TESSERA_CHECK(count >= 1 && count <= kMost, argument, "count=", count, " must be between 1 and ", kMost);
    std::vector<std::shared_ptr<Operation>> operations;
    for (int64_t i = 0; i < count; ++i) {
      operations.push_back(
          find<FutureObject>(futures[i], tessera::cat("futures[", i, "]").c_str())->operation);
    }
    const auto index = Operation::wait_any(operations, timeout_from(timeout_ns));
    TESSERA_CHECK(index.has_value(), timeout, "none of ", count, " futures has ended after ", timeout_ns,
                  " ns");
    *out_index = static_cast<int64_t>(*index);
  });
}

tessera_status tessera_future_cancel(tessera_future future, tessera_error* err) {
  return guard(err, [&] { future_in(future)->operation->cancel(); });
}

tessera_status tessera_future_get_result(tessera_future future, tessera_error* err) {
  return guard(err, [&] { future_in(future)->operation->result(); });
}

tessera_status tessera_future_get_metrics(tessera_future future, tessera_metrics* out_metrics,
                                          tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_metrics);
    check_out_struct(out_metrics, "out_metrics");
    const auto object = future_in(future);
    write_struct(out_metrics, to_c(*result_of<tessera::StepMetrics>(*object, "metrics").value));
  });
}

tessera_status tessera_future_get_tokens(tessera_future future, int64_t* buf, size_t cap, size_t* out_len,
                                         tessera_error* err) {
  return guard(err, [&] {
    check_buffer(buf, cap, out_len);
    const auto object = future_in(future);
    write_array(*result_of<Tokens>(*object, "tokens").value, buf, cap, out_len);
  });
}

tessera_status tessera_future_get_tensor(tessera_future future, tessera_tensor* out_tensor,
                                         tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_tensor);
    const auto object = future_in(future);
    hand_over<at::Tensor>(*object, "tensor", out_tensor, [](const at::Tensor& tensor) {
      return std::make_shared<TensorObject>(TensorObject{tensor});
    });
  });
}

tessera_status tessera_future_get_mesh(tessera_future future, tessera_mesh* out_mesh, tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_mesh);
    const auto object = future_in(future);
    hand_over<std::shared_ptr<MeshObject>>(*object, "mesh", out_mesh, [](const auto& mesh) { return mesh; });
  });
}

tessera_status tessera_future_get_trainer(tessera_future future, tessera_trainer* out_trainer,
                                          tessera_error* err) {
  return guard(err, [&] {
    TESSERA_NOT_NULL(out_trainer);
    const auto object = future_in(future);
    hand_over<std::shared_ptr<TrainerObject>>(*object, "trainer", out_trainer,
                                              [](const auto& trainer) { return trainer; });
  });
}
