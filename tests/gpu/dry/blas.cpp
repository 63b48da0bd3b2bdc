// cuBLAS and cuBLASLt: products are checked and logged, with their sizes, and not computed.
#include <cublasLt.h>
#include <cublas_v2.h>

#include <algorithm>
#include <cstring>

#include "dry.h"

namespace dry {
namespace {

struct Handle {
  cudaStream_t stream = nullptr;
  int device = current_device();
  cublasPointerMode_t pointers = CUBLAS_POINTER_MODE_HOST;
  cublasMath_t math = CUBLAS_DEFAULT_MATH;
};

Handle& of(cublasHandle_t handle) {
  return *reinterpret_cast<Handle*>(handle);
}

struct Matrix {
  const void* data;
  cudaDataType type;
  int64_t rows, columns, leading;  // column-major, as it lies in memory
};

struct Product {
  const char* call;
  cublasOperation_t a_op, b_op;
  int64_t m, n, k, batch;
  Matrix a, b, c;
  cublasComputeType_t compute;
};

size_t bits(cudaDataType type) {
  switch (type) {
    case CUDA_R_64F:
      return 64;
    case CUDA_R_32F:
    case CUDA_R_32I:
      return 32;
    case CUDA_R_16F:
    case CUDA_R_16BF:
      return 16;
    default:
      return 8;
  }
}

const char* name(cudaDataType type) {
  switch (type) {
    case CUDA_R_64F:
      return "f64";
    case CUDA_R_32F:
      return "f32";
    case CUDA_R_16F:
      return "f16";
    case CUDA_R_16BF:
      return "bf16";
    case CUDA_R_8F_E4M3:
      return "e4m3";
    case CUDA_R_8F_E5M2:
      return "e5m2";
    default:
      return "other";
  }
}

bool float8(cudaDataType type) {
  return type == CUDA_R_8F_E4M3 || type == CUDA_R_8F_E5M2;
}

cublasStatus_t wrong(const Product& p, const char* what, long long value) {
  fail(cudaErrorInvalidValue, "%s: %s %lld, m %lld n %lld k %lld", p.call, what, value,
       static_cast<long long>(p.m), static_cast<long long>(p.n), static_cast<long long>(p.k));
  cudaGetLastError();  // cuBLAS says so by its status alone
  return CUBLAS_STATUS_INVALID_VALUE;
}

/// What cuBLAS and, with float8, its documented limits on Hopper refuse.
cublasStatus_t check(const Product& p) {
  if (p.m < 0 || p.n < 0 || p.k < 0 || p.batch < 0) return wrong(p, "a negative size", p.batch);
  if (p.m == 0 || p.n == 0) return CUBLAS_STATUS_SUCCESS;
  for (const Matrix* x : {&p.a, &p.b, &p.c}) {
    if (x->leading < std::max<int64_t>(1, x->rows)) return wrong(p, "leading dimension", x->leading);
    if (x->data == nullptr || p.k == 0) continue;
    const size_t last = static_cast<size_t>((x->columns - 1) * x->leading + x->rows) * bits(x->type) / 8;
    if (device_of(x->data) < 0) return wrong(p, "host memory", reinterpret_cast<long long>(x->data));
    if (reach(x->data, last) == nullptr)
      return wrong(p, "end of an allocation after bytes", static_cast<long long>(last));
  }
  const bool eight = float8(p.a.type);
  if (eight != float8(p.b.type)) return wrong(p, "float8 on one side", p.a.type);
  if (!eight && p.a.type != p.b.type) return wrong(p, "types", p.a.type);
  if (eight) {
    if (p.a.type == CUDA_R_8F_E5M2 && p.b.type == CUDA_R_8F_E5M2) return wrong(p, "e5m2 on both sides", 2);
    if (p.a_op != CUBLAS_OP_T || p.b_op != CUBLAS_OP_N)
      return wrong(p, "float8 that is not transposed on the left", p.a_op);
    if (p.k % 16 != 0 || p.m % 16 != 0) return wrong(p, "float8 sizes that are no multiples of 16", p.k);
    for (const Matrix* x : {&p.a, &p.b, &p.c}) {
      if (reinterpret_cast<uintptr_t>(x->data) % 16 != 0) return wrong(p, "float8 not aligned", 16);
      if (x->leading * static_cast<int64_t>(bits(x->type)) / 8 % 16 != 0)
        return wrong(p, "float8 leading dimension", x->leading);
    }
  }
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t multiply(const Product& p, cudaStream_t stream, double beta) {
  const Lock lock(guard());
  if (const auto status = check(p)) return status;
  if (p.m == 0 || p.n == 0 || p.batch == 0) return CUBLAS_STATUS_SUCCESS;
  if (enqueue(stream, p.call, nullptr) != cudaSuccess) return CUBLAS_STATUS_EXECUTION_FAILED;
  const auto graph = count_in_graph(stream);
  const Stream* s = find(stream);
  if (s->device != current_device()) return wrong(p, "a stream of device", s->device);
  log("gemm %s m=%lld n=%lld k=%lld batch=%lld ops=%c%c types=%s,%s,%s compute=%d beta=%g flops=%.0f "
      "stream=%d%s",
      p.call, static_cast<long long>(p.m), static_cast<long long>(p.n), static_cast<long long>(p.k),
      static_cast<long long>(p.batch), p.a_op == CUBLAS_OP_N ? 'n' : 't', p.b_op == CUBLAS_OP_N ? 'n' : 't',
      name(p.a.type), name(p.b.type), name(p.c.type), p.compute, beta,
      2.0 * static_cast<double>(p.m) * static_cast<double>(p.n) * static_cast<double>(p.k) *
          static_cast<double>(p.batch),
      s->id, graph != 0 ? " captured" : "");
  return CUBLAS_STATUS_SUCCESS;
}

Matrix matrix(const void* data, cudaDataType type, cublasOperation_t op, int64_t rows, int64_t columns,
              int64_t leading) {
  return op == CUBLAS_OP_N ? Matrix{data, type, rows, columns, leading}
                           : Matrix{data, type, columns, rows, leading};
}

/// What scalar an argument holds, where the host may look.
template <class T>
double scalar(const void* value) {
  return value != nullptr && !is_device(value) ? static_cast<double>(*static_cast<const T*>(value)) : -1;
}

double scalar_of(cublasComputeType_t compute, const void* value) {
  switch (compute) {
    case CUBLAS_COMPUTE_64F:
      return scalar<double>(value);
    case CUBLAS_COMPUTE_16F:
      return -1;
    default:
      return scalar<float>(value);
  }
}

cublasStatus_t gemm(const char* call, cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb,
                    int64_t m, int64_t n, int64_t k, const void* a, cudaDataType a_type, int64_t lda,
                    const void* b, cudaDataType b_type, int64_t ldb, const void* c, cudaDataType c_type,
                    int64_t ldc, int64_t batch, cublasComputeType_t compute, const void* beta) {
  const Product p{call,
                  ta,
                  tb,
                  m,
                  n,
                  k,
                  batch,
                  matrix(a, a_type, ta, m, k, lda),
                  matrix(b, b_type, tb, k, n, ldb),
                  {c, c_type, m, n, ldc},
                  compute};
  return multiply(p, of(handle).stream, scalar_of(compute, beta));
}

// ---- cuBLASLt ----

/// Any of its descriptors: attributes by number, as bytes.
struct Descriptor {
  std::map<int, std::vector<char>> attributes;

  template <class T>
  T get(int which, T otherwise) const {
    const auto at = attributes.find(which);
    if (at == attributes.end() || at->second.size() < sizeof(T)) return otherwise;
    T out;
    std::memcpy(&out, at->second.data(), sizeof out);
    return out;
  }
  template <class T>
  void set(int which, T value) {
    const char* bytes = reinterpret_cast<const char*>(&value);
    attributes[which].assign(bytes, bytes + sizeof value);
  }
};

Descriptor& of(const void* descriptor) {
  return *static_cast<Descriptor*>(const_cast<void*>(descriptor));
}

cublasStatus_t set(void* descriptor, int which, const void* value, size_t bytes) {
  if (value == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  const char* from = static_cast<const char*>(value);
  of(descriptor).attributes[which].assign(from, from + bytes);
  return CUBLAS_STATUS_SUCCESS;
}

Matrix layout(const void* data, const void* descriptor) {
  const Descriptor& d = of(descriptor);
  return {data, static_cast<cudaDataType>(d.get<int32_t>(CUBLASLT_MATRIX_LAYOUT_TYPE, 0)),
          static_cast<int64_t>(d.get<uint64_t>(CUBLASLT_MATRIX_LAYOUT_ROWS, 0)),
          static_cast<int64_t>(d.get<uint64_t>(CUBLASLT_MATRIX_LAYOUT_COLS, 0)),
          d.get<int64_t>(CUBLASLT_MATRIX_LAYOUT_LD, 0)};
}

Product product(const void* operation, const Matrix& a, const Matrix& b, const Matrix& c, int64_t batch) {
  const Descriptor& d = of(operation);
  const auto ta = static_cast<cublasOperation_t>(d.get<int32_t>(CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_N));
  const auto tb = static_cast<cublasOperation_t>(d.get<int32_t>(CUBLASLT_MATMUL_DESC_TRANSB, CUBLAS_OP_N));
  const auto compute = static_cast<cublasComputeType_t>(d.get<int32_t>(CUBLASLT_MATMUL_DESC_COMPUTE_TYPE, 0));
  return {"lt", ta, tb, c.rows, c.columns, ta == CUBLAS_OP_N ? a.columns : a.rows, batch, a, b, c, compute};
}

cublasStatus_t fits(const Product& p) {
  const bool a_n = p.a_op == CUBLAS_OP_N, b_n = p.b_op == CUBLAS_OP_N;
  if ((a_n ? p.a.rows : p.a.columns) != p.m) return wrong(p, "rows of a", p.a.rows);
  if ((b_n ? p.b.columns : p.b.rows) != p.n) return wrong(p, "columns of b", p.b.columns);
  if ((b_n ? p.b.rows : p.b.columns) != p.k) return wrong(p, "inner size of b", p.b.rows);
  return check(p);
}

/// Scales of float8 lie on the device; on Hopper they are one a matrix, or one a row and column.
cublasStatus_t check_scales(const Descriptor& d, const Product& p) {
  if (!float8(p.a.type)) return CUBLAS_STATUS_SUCCESS;
  const int sides[][3] = {
      {CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, CUBLASLT_MATMUL_DESC_A_SCALE_MODE, static_cast<int>(p.m)},
      {CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, CUBLASLT_MATMUL_DESC_B_SCALE_MODE, static_cast<int>(p.n)}};
  for (const auto& [pointer, mode, length] : sides) {
    const void* scale = d.get<const void*>(pointer, nullptr);
    const int kind = d.get<int32_t>(mode, CUBLASLT_MATMUL_MATRIX_SCALE_SCALAR_32F);
    if (kind != CUBLASLT_MATMUL_MATRIX_SCALE_SCALAR_32F &&
        kind != CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F &&
        kind != CUBLASLT_MATMUL_MATRIX_SCALE_VEC128_32F) {
      return wrong(p, "scale mode", kind);
    }
    const size_t bytes =
        (kind == CUBLASLT_MATMUL_MATRIX_SCALE_SCALAR_32F ? 1 : static_cast<size_t>(length)) * 4;
    if (scale == nullptr || device_of(scale) < 0 || reach(scale, bytes) == nullptr)
      return wrong(p, "scales of bytes", static_cast<long long>(bytes));
  }
  return CUBLAS_STATUS_SUCCESS;
}

}  // namespace
}  // namespace dry

using namespace dry;

DRY_API cublasStatus_t cublasCreate_v2(cublasHandle_t* handle) {
  *handle = reinterpret_cast<cublasHandle_t>(new Handle);
  return CUBLAS_STATUS_SUCCESS;
}

DRY_API cublasStatus_t cublasDestroy_v2(cublasHandle_t handle) {
  delete &of(handle);
  return CUBLAS_STATUS_SUCCESS;
}

DRY_API cublasStatus_t cublasSetStream_v2(cublasHandle_t handle, cudaStream_t stream) {
  of(handle).stream = stream;
  return CUBLAS_STATUS_SUCCESS;
}

DRY_API cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t, void* workspace, size_t bytes) {
  const Lock lock(guard());
  if (bytes > 0 &&
      (reach(workspace, bytes) == nullptr || reinterpret_cast<uintptr_t>(workspace) % 256 != 0)) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  return CUBLAS_STATUS_SUCCESS;
}

DRY_API cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode) {
  of(handle).math = mode;
  return CUBLAS_STATUS_SUCCESS;
}

DRY_API cublasStatus_t cublasGetMathMode(cublasHandle_t handle, cublasMath_t* mode) {
  *mode = of(handle).math;
  return CUBLAS_STATUS_SUCCESS;
}

DRY_API cublasStatus_t cublasSetPointerMode_v2(cublasHandle_t handle, cublasPointerMode_t mode) {
  of(handle).pointers = mode;
  return CUBLAS_STATUS_SUCCESS;
}

DRY_API cublasStatus_t cublasGetPointerMode_v2(cublasHandle_t handle, cublasPointerMode_t* mode) {
  *mode = of(handle).pointers;
  return CUBLAS_STATUS_SUCCESS;
}

DRY_API cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int m,
                                    int n, int k, const void*, const void* a, cudaDataType a_type, int lda,
                                    const void* b, cudaDataType b_type, int ldb, const void* beta, void* c,
                                    cudaDataType c_type, int ldc, cublasComputeType_t compute,
                                    cublasGemmAlgo_t) {
  return gemm("gemmex", handle, ta, tb, m, n, k, a, a_type, lda, b, b_type, ldb, c, c_type, ldc, 1, compute,
              beta);
}

DRY_API cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t handle, cublasOperation_t ta,
                                                  cublasOperation_t tb, int m, int n, int k, const void*,
                                                  const void* a, cudaDataType a_type, int lda, long long,
                                                  const void* b, cudaDataType b_type, int ldb, long long,
                                                  const void* beta, void* c, cudaDataType c_type, int ldc,
                                                  long long, int batch, cublasComputeType_t compute,
                                                  cublasGemmAlgo_t) {
  return gemm("batched", handle, ta, tb, m, n, k, a, a_type, lda, b, b_type, ldb, c, c_type, ldc, batch,
              compute, beta);
}

DRY_API cublasStatus_t cublasSgemmEx(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int m,
                                     int n, int k, const float*, const void* a, cudaDataType a_type, int lda,
                                     const void* b, cudaDataType b_type, int ldb, const float* beta, void* c,
                                     cudaDataType c_type, int ldc) {
  return gemm("sgemmex", handle, ta, tb, m, n, k, a, a_type, lda, b, b_type, ldb, c, c_type, ldc, 1,
              CUBLAS_COMPUTE_32F, beta);
}

#define DRY_GEMM(LETTER, TYPE, CODE, COMPUTE)                                                                \
  DRY_API cublasStatus_t cublas##LETTER##gemm_v2(                                                            \
      cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k, const TYPE*,   \
      const TYPE* a, int lda, const TYPE* b, int ldb, const TYPE* beta, TYPE* c, int ldc) {                  \
    return gemm("gemm", handle, ta, tb, m, n, k, a, CODE, lda, b, CODE, ldb, c, CODE, ldc, 1, COMPUTE,       \
                beta);                                                                                       \
  }                                                                                                          \
  DRY_API cublasStatus_t cublas##LETTER##gemmStridedBatched(                                                 \
      cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k, const TYPE*,   \
      const TYPE* a, int lda, long long, const TYPE* b, int ldb, long long, const TYPE* beta, TYPE* c,       \
      int ldc, long long, int batch) {                                                                       \
    return gemm("batched", handle, ta, tb, m, n, k, a, CODE, lda, b, CODE, ldb, c, CODE, ldc, batch,         \
                COMPUTE, beta);                                                                              \
  }                                                                                                          \
  DRY_API cublasStatus_t cublas##LETTER##gemv_v2(cublasHandle_t handle, cublasOperation_t t, int m, int n,   \
                                                 const TYPE*, const TYPE* a, int lda, const TYPE* x, int,    \
                                                 const TYPE* beta, TYPE* y, int) {                           \
    const int rows = t == CUBLAS_OP_N ? m : n, inner = t == CUBLAS_OP_N ? n : m;                             \
    return gemm("gemv", handle, t, CUBLAS_OP_N, rows, 1, inner, a, CODE, lda, x, CODE, inner, y, CODE, rows, \
                1, COMPUTE, beta);                                                                           \
  }                                                                                                          \
  DRY_API cublasStatus_t cublas##LETTER##dot_v2(cublasHandle_t, int, const TYPE*, int, const TYPE*, int,     \
                                                TYPE* result) {                                              \
    if (!is_device(result)) *result = 0;                                                                     \
    return CUBLAS_STATUS_SUCCESS;                                                                            \
  }

DRY_GEMM(S, float, CUDA_R_32F, CUBLAS_COMPUTE_32F)
DRY_GEMM(D, double, CUDA_R_64F, CUBLAS_COMPUTE_64F)

DRY_API cublasStatus_t cublasDotEx(cublasHandle_t, int, const void*, cudaDataType, int, const void*,
                                   cudaDataType, int, void*, cudaDataType, cudaDataType) {
  return CUBLAS_STATUS_SUCCESS;
}

DRY_API size_t cublasLtGetVersion() {
  return CUBLAS_VERSION;
}

DRY_API cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* out, cublasComputeType_t compute,
                                                cudaDataType scale) {
  auto* d = new Descriptor;
  d->set<int32_t>(CUBLASLT_MATMUL_DESC_COMPUTE_TYPE, compute);
  d->set<int32_t>(CUBLASLT_MATMUL_DESC_SCALE_TYPE, scale);
  *out = reinterpret_cast<cublasLtMatmulDesc_t>(d);
  return CUBLAS_STATUS_SUCCESS;
}

DRY_API cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t d) {
  delete &of(static_cast<const void*>(d));
  return CUBLAS_STATUS_SUCCESS;
}

DRY_API cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t d,
                                                      cublasLtMatmulDescAttributes_t which, const void* value,
                                                      size_t bytes) {
  return set(d, which, value, bytes);
}

DRY_API cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* out, cudaDataType type,
                                                  uint64_t rows, uint64_t columns, int64_t leading) {
  auto* d = new Descriptor;
  d->set<int32_t>(CUBLASLT_MATRIX_LAYOUT_TYPE, type);
  d->set(CUBLASLT_MATRIX_LAYOUT_ROWS, rows);
  d->set(CUBLASLT_MATRIX_LAYOUT_COLS, columns);
  d->set(CUBLASLT_MATRIX_LAYOUT_LD, leading);
  *out = reinterpret_cast<cublasLtMatrixLayout_t>(d);
  return CUBLAS_STATUS_SUCCESS;
}

DRY_API cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t d) {
  delete &of(static_cast<const void*>(d));
  return CUBLAS_STATUS_SUCCESS;
}

DRY_API cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t d,
                                                        cublasLtMatrixLayoutAttribute_t which,
                                                        const void* value, size_t bytes) {
  return set(d, which, value, bytes);
}

DRY_API cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* out) {
  *out = reinterpret_cast<cublasLtMatmulPreference_t>(new Descriptor);
  return CUBLAS_STATUS_SUCCESS;
}

DRY_API cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t d) {
  delete &of(static_cast<const void*>(d));
  return CUBLAS_STATUS_SUCCESS;
}

DRY_API cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t d,
                                                            cublasLtMatmulPreferenceAttributes_t which,
                                                            const void* value, size_t bytes) {
  return set(d, which, value, bytes);
}

DRY_API cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t operation,
                                                      cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                                      cublasLtMatrixLayout_t, cublasLtMatrixLayout_t d,
                                                      cublasLtMatmulPreference_t, int,
                                                      cublasLtMatmulHeuristicResult_t* results, int* count) {
  const Lock lock(guard());
  *count = 0;
  const Product p = product(operation, layout(nullptr, a), layout(nullptr, b), layout(nullptr, d), 1);
  if (fits(p) != CUBLAS_STATUS_SUCCESS) return CUBLAS_STATUS_NOT_SUPPORTED;
  *count = 1;
  results[0] = {};
  results[0].state = CUBLAS_STATUS_SUCCESS;
  return CUBLAS_STATUS_SUCCESS;
}

DRY_API cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t operation, const void*,
                                      const void* a, cublasLtMatrixLayout_t a_layout, const void* b,
                                      cublasLtMatrixLayout_t b_layout, const void* beta, const void*,
                                      cublasLtMatrixLayout_t, void* d, cublasLtMatrixLayout_t d_layout,
                                      const cublasLtMatmulAlgo_t*, void* workspace, size_t workspace_bytes,
                                      cudaStream_t stream) {
  const Lock lock(guard());
  const int64_t batch =
      of(static_cast<const void*>(a_layout)).get<int32_t>(CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, 1);
  const Product p = product(operation, layout(a, a_layout), layout(b, b_layout), layout(d, d_layout), batch);
  if (const auto status = fits(p)) return status;
  if (const auto status = check_scales(of(static_cast<const void*>(operation)), p)) return status;
  if (workspace_bytes > 0 && reach(workspace, workspace_bytes) == nullptr)
    return wrong(p, "workspace", static_cast<long long>(workspace_bytes));
  return multiply(p, stream, scalar_of(p.compute, beta));
}
