// The CUDA kernels behind the headers of impl/kernels: plain functions over device memory. They live in
// libtessera_cuda.so and are reached through this table, so that libtessera.so links nothing of CUDA.
//
// Every function queues its work on `stream` (a cudaStream_t) and returns at once, with a cudaError_t: 0 when
// the launch was accepted. None allocates or synchronises, so all can be captured in a CUDA graph. Sums have
// an order that depends on the shapes alone. Indices that lie outside what they index never lead to an access
// outside memory: the rows they name come out as NaN, which the check of loss and gradient norm then finds.
#pragma once

#include <cstdint>

#include "kernels/cpu/table.h"

namespace tessera::kernels {

enum class CudaType : int32_t { f32 = 0, bf16 = 1 };

/// The formats of kernels/float8.h.
enum class CudaFloat8 : int32_t { e4m3 = 0, e5m2 = 1 };

enum class GatedActivation : int32_t { silu = 0, gelu_tanh = 1, gelu_erf = 2, clamped_silu = 3 };

/// One tensor of a pass over many; the lists are in host memory and not read after the call.
struct CudaCopy {
  const void* src;
  void* dst;
  int64_t n;  ///< elements
};
struct CudaSquares {
  const void* src;
  CudaType type;
  int64_t n;
  double factor;  ///< multiplies the tensor's sum of squares
};
struct CudaAdamW {
  void* p;
  CudaType type;  ///< of p
  const float* g;
  float* m;
  float* v;
  void* copy;  ///< bfloat16 or null
  int64_t n;
  float decay;  ///< 1 - lr * weight_decay, or 1: takes the place of AdamWScalars::decay
};
struct CudaSgd {
  void* p;
  CudaType type;
  const float* g;
  float* momentum;  ///< or null
  void* copy;
  int64_t n;
  float weight_decay;  ///< takes the place of SgdScalars::weight_decay
};

struct CudaTable {
  int32_t version;  ///< kCudaTableVersion of the plugin's build
  int32_t bytes;    ///< sizeof(CudaTable) of the plugin's build

  const char* (*error_text)(int error);
  /// LibTorch's current stream of a device.
  void* (*current_stream)(int device);

  // kernels/norm.h

  /// As CpuTable's loop. `residual` and `sum` may be null together. `one_plus`: the gain is 1 + w (Gemma).
  int (*rms_norm)(CudaType type, const void* x, RowLayout xl, const void* residual, const void* w, void* sum,
                  void* y, float* rstd, int64_t rows, int64_t h, float eps, bool one_plus, void* stream);
  /// dw [h] is overwritten; `partial` has room for norm_partial_floats(rows, h) floats (geometry.h).
  int (*rms_norm_backward)(CudaType type, const void* dy, const void* x, RowLayout xl, const void* w,
                           const float* rstd, const void* dresidual, void* dx, float* dw, float* partial,
                           int64_t rows, int64_t h, bool one_plus, void* stream);

  // kernels/rope.h

  /// Positions outside [0, table_rows) give NaN.
  int (*rope)(CudaType type, const void* x, int64_t x_stride, void* out, int64_t out_stride, const float* cos,
              const float* sin, int64_t table_rows, const int64_t* positions, int64_t tokens, int64_t heads,
              int64_t d, float sign, void* stream);

  // kernels/activation.h; row strides in elements

  int (*gated)(CudaType type, GatedActivation activation, const void* gate, int64_t gate_stride,
               const void* up, int64_t up_stride, void* y, int64_t y_stride, int64_t rows, int64_t f,
               void* stream);
  /// `y` may be null.
  int (*gated_backward)(CudaType type, GatedActivation activation, const void* dy, int64_t dy_stride,
                        const void* gate, int64_t gate_stride, const void* up, int64_t up_stride, void* dgate,
                        int64_t dgate_stride, void* dup, int64_t dup_stride, void* y, int64_t y_stride,
                        int64_t rows, int64_t f, void* stream);

  // kernels/cross_entropy.h

  /// `cap` > 0: the logits were capped softly (x = cap tanh(y / cap)), and the gradient written is that of y.
  /// Loss of each row to row_loss; a label outside [0, v) other than `ignore` gives NaN. With `with_grad` the
  /// logits become gradients.
  int (*cross_entropy)(CudaType type, void* logits, int64_t stride, const int64_t* labels, int64_t rows,
                       int64_t v, int64_t ignore, bool with_grad, float grad_scale, float cap,
                       double* row_loss, void* stream);
  int (*cross_entropy_stats)(CudaType type, const void* logits, int64_t stride, const int64_t* labels,
                             int64_t rows, int64_t v, int64_t vocab_begin, float* max, float* sum,
                             float* target, void* stream);
  int (*cross_entropy_grad)(CudaType type, void* logits, int64_t stride, const int64_t* labels, int64_t rows,
                            int64_t v, int64_t vocab_begin, int64_t ignore, const float* lse, float scale,
                            float cap, void* stream);
  /// out[0] = (accumulate ? out[0] : 0) + sum of x [n].
  int (*sum_doubles)(const double* x, int64_t n, double* out, bool accumulate, void* stream);
  /// The `count` first rows whose label is not `ignore`, in order, with their labels; places that no row
  /// fills get row -1 and label `ignore`.
  int (*labelled_rows)(const int64_t* labels, int64_t n, int64_t ignore, int64_t count, int64_t* rows,
                       int64_t* targets, void* stream);

  // kernels/elementwise.h

  /// dst = src, or dst += src in float32.
  int (*copy)(CudaType dst_type, void* dst, CudaType src_type, const void* src, int64_t n, bool add,
              void* stream);
  int (*add)(CudaType type, const void* a, const void* b, void* out, int64_t n, void* stream);
  int (*scale)(CudaType type, void* x, float factor, int64_t n, void* stream);
  /// x = cap tanh(x / cap).
  int (*soft_cap)(CudaType type, void* x, float cap, int64_t n, void* stream);
  /// Sets *bad to 1 when an element is NaN or infinite; leaves it alone otherwise.
  int (*find_not_finite)(CudaType type, const void* x, int64_t n, int32_t* bad, void* stream);
  /// out [h] = column sums of x; `scratch` has room for column_sum_floats(rows, h) floats (geometry.h).
  int (*column_sum)(CudaType type, const void* x, int64_t stride, float* out, float* scratch, int64_t rows,
                    int64_t h, void* stream);

  // kernels/multi_tensor.h

  int (*copy_many)(CudaType dst_type, CudaType src_type, const CudaCopy* list, int64_t count, bool add,
                   void* stream);
  /// out[0] = sum over tensors of factor * sum of squares; `partial` has room for squares_blocks(..) doubles.
  int (*squares_many)(const CudaSquares* list, int64_t count, double* partial, double* out, void* stream);
  /// out[0] = min(1, max_norm / (sqrt(squares[0]) + 1e-6)) as optim's clip_coefficient.
  int (*clip_scale)(const double* squares, double max_norm, float* out, void* stream);
  /// Gradients are multiplied by scalars.grad_scale and, when not null, by device_scale[0].
  int (*adamw_many)(const CudaAdamW* list, int64_t count, AdamWScalars scalars, const float* device_scale,
                    void* stream);
  int (*sgd_many)(const CudaSgd* list, int64_t count, SgdScalars scalars, const float* device_scale,
                  void* stream);

  // kernels/embedding.h, kernels/expert_rows.h

  /// out[i] = weight[tokens[i] - vocab_begin]; zeros for rows of other ranks, NaN outside [0, vocab_size).
  int (*embedding)(const void* weight, const int64_t* tokens, void* out, int64_t count, int64_t row_bytes,
                   int64_t vocab_begin, int64_t vocab_local, int64_t vocab_size, void* stream);
  /// grad [vocab_local, h] += sums of the dy rows of each token, in float32 in token order. `sorted` are the
  /// tokens in ascending order, `order` where each was (stable).
  int (*embedding_backward)(CudaType grad_type, void* grad, CudaType dy_type, const void* dy,
                            const int64_t* sorted, const int64_t* order, int64_t count, int64_t h,
                            int64_t vocab_begin, int64_t vocab_local, void* stream);
  /// out[i] = src[index[i]]; an index outside [0, src_rows) gives NaN.
  int (*gather_rows)(const void* src, int64_t src_rows, const int64_t* index, void* out, int64_t count,
                     int64_t row_bytes, void* stream);
  /// out [tokens, width] = sum over k of weight * rows[position]; position -1 counts nothing, weights may be
  /// null (1).
  int (*combine_rows)(CudaType type, const void* rows, int64_t rows_count, const int64_t* positions,
                      const float* weights, void* out, int64_t tokens, int64_t k, int64_t width,
                      void* stream);
  int (*row_dots)(CudaType type, const void* a, const void* b, float* out, int64_t rows, int64_t width,
                  void* stream);
  int (*scale_rows)(CudaType type, void* data, const float* factors, int64_t rows, int64_t width,
                    void* stream);

  // kernels/float8.h. Matrices x [rows, h] with rows `stride` elements apart. An amax is the largest absolute
  // value, of a column each (amax [h]) or of all (amax [1]); it is raised, so it begins as zero. NaN counts
  // as larger than all. Scales written are what the float8 values are multiplied by.

  int (*float8_amax)(CudaType type, const void* x, int64_t stride, int64_t rows, int64_t h, bool by_column,
                     float* amax, void* stream);
  /// out [rows, h]: each row by its own scale (scale [rows]). `amax` may be null.
  int (*float8_rows)(CudaType type, CudaFloat8 format, const void* x, int64_t stride, int64_t rows, int64_t h,
                     bool powers_of_two, void* out, float* scale, bool by_column, float* amax, void* stream);
  /// By the scales that follow from amax (scale [h] or [1]): out [rows, h], and the transposed matrix with
  /// rows of transposed_width >= rows elements, a multiple of 16, zeros behind `rows`. One may be null.
  int (*float8_cast)(CudaType type, CudaFloat8 format, const void* x, int64_t stride, int64_t rows, int64_t h,
                     bool by_column, const float* amax, bool powers_of_two, void* out, void* transposed,
                     int64_t transposed_width, float* scale, void* stream);
  /// As float8_cast, of a matrix [rows, h] that is in float8 already.
  int (*float8_transpose)(const void* x, int64_t rows, int64_t h, void* transposed, int64_t transposed_width,
                          void* stream);

  // kernels/normal.h

  /// Fewer than 2^31 blocks of normal_block.h times threads.
  int (*normal)(CudaType type, void* out, uint64_t key, int64_t row, int64_t rows, int64_t column,
                int64_t columns, float std, void* stream);
};

/// Grows with every change of CudaTable; a plugin of another version is not used.
inline constexpr int32_t kCudaTableVersion = 5;

}  // namespace tessera::kernels
