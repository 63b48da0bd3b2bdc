// Choice of the CUDA kernels by where tensors lie.
#include "kernels/cuda/dispatch.h"

#include "core/cuda_plugin.h"
#include "core/error.h"

namespace tessera::kernels {
namespace {

thread_local const CudaTable* host_table = nullptr;

const CudaTable* plugin_table() {
  const CudaPlugin* plugin = cuda_plugin();
  if (!plugin) return nullptr;
  const CudaTable* table = plugin->kernels;
  TESSERA_CHECK(table && table->version == kCudaTableVersion && table->bytes == sizeof(CudaTable), device,
                "libtessera_cuda.so is of another build than libtessera.so: its kernels have version ",
                table ? table->version : 0, ", version ", kCudaTableVersion, " is needed");
  return table;
}

}  // namespace

const CudaTable* cuda_table(std::initializer_list<const at::Tensor*> tensors) {
  const at::Tensor* first = nullptr;
  for (const at::Tensor* t : tensors) {
    if (!t->defined()) continue;
    if (!first) first = t;
    if (!t->is_cuda() && !(host_table && t->is_cpu())) return nullptr;
    if (t->device() != first->device()) return nullptr;
  }
  if (!first) return nullptr;
  return first->is_cuda() ? plugin_table() : host_table;
}

const CudaTable* cuda_loops(std::initializer_list<const at::Tensor*> tensors) {
  const CudaTable* table = cuda_table(tensors);
  if (!table) return nullptr;
  const at::Tensor* first = nullptr;
  for (const at::Tensor* t : tensors) {
    if (!t->defined()) continue;
    if (!first) first = t;
    if (!cuda_dtype(*t) || t->scalar_type() != first->scalar_type()) return nullptr;
  }
  return table;
}

CudaCall::CudaCall(const CudaTable& table, const at::Tensor& where) : table_(table) {
  if (!where.is_cuda()) return;
  guard_.reset_device(where.device());
  stream_ = table.current_stream(where.get_device());
}

void CudaCall::check(int error, const char* kernel) const {
  if (error == 0) return;
  throw Error(Code::device, cat(kernel, ": cuda error ", error, ": ", table_.error_text(error)), -1,
              Domain::cuda, error);
}

CudaTableGuard::CudaTableGuard(const CudaTable& table) : previous_(host_table) {
  host_table = &table;
}
CudaTableGuard::~CudaTableGuard() {
  host_table = previous_;
}

}  // namespace tessera::kernels
