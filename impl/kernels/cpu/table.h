// The CPU loops behind the kernels: plain functions over raw memory, compiled once per instruction set and
// chosen at run time. Ranges [begin, end) are rows or elements, so that callers split work over threads.
#pragma once

#include <cstdint>

namespace tessera::kernels {

/// Where rows lie: row r = outer * inner_count + inner starts at outer * outer_stride + inner * inner_stride
/// elements.
struct RowLayout {
  int64_t inner_count;
  int64_t outer_stride;
  int64_t inner_stride;
};

struct AdamWScalars {
  float beta1, beta2;
  float rest1, rest2;  ///< 1 - beta, rounded from double: 1.0f - beta would lose digits
  float eps;
  float decay;       ///< 1 - lr * weight_decay, or 1
  float step_size;   ///< lr / (1 - beta1^step)
  float bias2_sqrt;  ///< sqrt(1 - beta2^step)
  float grad_scale;
};

struct SgdScalars {
  float lr, momentum, weight_decay, grad_scale;
};

/// One entry for float32 and one for bfloat16 memory.
template <class F>
struct ByDtype {
  F* f32;
  F* bf16;
};

/// Which scores of a tile [keys][queries] count: key row r < rows sees the columns first + r and later, and
/// with a window only `window` of them.
struct AttentionMask {
  int64_t first;
  int64_t window;  ///< 0: no end
  int64_t rows;
};

/// The parts of tiled attention beside its matrix products (attention_tiles.cpp); see attention.inc.h for
/// layouts.
struct AttentionTiles {
  void (*load_tile)(const void* src, int64_t stride, int64_t rows, int64_t d, void* tile, int64_t tile_rows,
                    int64_t tile_d);
  void (*transpose32)(const void* src, int64_t src_stride, void* dst, int64_t dst_stride, int64_t rows,
                      int64_t columns);
  void (*transpose_tile)(const void* tile, void* out, int64_t rows, int64_t tile_d);
  void (*transpose_plain)(const void* tile, void* out, float* scratch, int64_t rows, int64_t tile_d);
  void (*interleave_rows)(const void* tile, void* out, int64_t rows, int64_t tile_d);
  void (*soft_cap)(float* scores, int64_t count, float scale, float cap);
  void (*softmax)(float* scores, int64_t rows, int64_t columns, float scale, const AttentionMask* mask,
                  float* maximum, float* sum, void* p, float* o, int64_t tile_d);
  void (*finish)(float* o, const float* maximum, const float* sum, float* lse, int64_t columns,
                 int64_t tile_d, float sink);
  void (*store_tile)(const float* tile, int64_t tile_d, void* out, int64_t stride, int64_t rows, int64_t d,
                     bool accumulate);
  void (*row_dots)(const void* a, int64_t a_stride, const void* b, int64_t b_stride, float* delta,
                   int64_t rows, int64_t d);
  void (*backward_tile)(float* scores, float* dp, int64_t rows, int64_t columns, float scale, float cap,
                        const AttentionMask* mask, const float* lse, const float* delta, void* p, void* ds,
                        void* ds_pairs);
};

/// All arithmetic is float32. `x`, `w`, ... point to the dtype of the entry unless their type says otherwise.
struct CpuTable {
  const char* name;

  /// y = w * round(x * rstd), or with `one_plus` round((1 + w) * x * rstd). When `residual` is not null,
  /// x + residual is written to `sum` first and normalised.
  using RmsNorm = void(const void* x, RowLayout xl, const void* residual, const void* w, void* sum, void* y,
                       float* rstd, int64_t h, float eps, bool one_plus, int64_t begin, int64_t end);
  ByDtype<RmsNorm> rms_norm;
  /// dx (+ dresidual, may be null) per row; dw [h] float32 gets the sum over the range, overwritten. dy and
  /// dx dense.
  using RmsNormBackward = void(const void* dy, const void* x, RowLayout xl, const void* w, const float* rstd,
                               const void* dresidual, void* dx, float* dw, int64_t h, bool one_plus,
                               int64_t begin, int64_t end);
  ByDtype<RmsNormBackward> rms_norm_backward;

  /// Rows are heads of tokens: rotates the first 2 * half elements of each of [heads, d] of each token in the
  /// range and copies the rest. `sign` -1 inverts.
  using Rope = void(const void* x, int64_t x_stride, void* out, int64_t out_stride, const float* cos,
                    const float* sin, const int64_t* positions, int64_t heads, int64_t d, int64_t half,
                    float sign, int64_t begin, int64_t end);
  ByDtype<Rope> rope;
  /// Rotates elements 2i and 2i + 1 of the first 2 * half of each head of the tokens in the range; tokens are
  /// the outer rows of the layouts, heads the inner.
  using RopeNeighbours = void(const void* x, RowLayout xl, void* out, RowLayout outl, const float* cos,
                              const float* sin, const int64_t* positions, int64_t half, float sign,
                              int64_t begin, int64_t end);
  ByDtype<RopeNeighbours> rope_neighbours;

  /// Row strides in elements.
  using Swiglu = void(const void* gate, int64_t gate_stride, const void* up, int64_t up_stride, void* y,
                      int64_t f, int64_t begin, int64_t end);
  ByDtype<Swiglu> swiglu;
  using SwigluBackward = void(const void* dy, int64_t dy_stride, const void* gate, int64_t gate_stride,
                              const void* up, int64_t up_stride, void* dgate, int64_t dgate_stride, void* dup,
                              int64_t dup_stride, void* y, int64_t y_stride, int64_t f, int64_t begin,
                              int64_t end);
  ByDtype<SwigluBackward> swiglu_backward;
  ByDtype<Swiglu> geglu;
  ByDtype<SwigluBackward> geglu_backward;
  ByDtype<Swiglu> clamped_swiglu;
  ByDtype<SwigluBackward> clamped_swiglu_backward;

  /// Elements: x = cap * tanh(x / cap).
  using SoftCap = void(void* x, float cap, int64_t begin, int64_t end);
  ByDtype<SoftCap> soft_cap;
  /// Loss of each row to row_loss; with grad_scale the logits become gradients, with cap > 0 those of the
  /// logits before soft_cap. `scratch` holds v floats and
  /// cross_entropy_blocks(v) more.
  using CrossEntropy = void(void* logits, int64_t stride, const int64_t* labels, int64_t v, int64_t ignore,
                            const float* grad_scale, float cap, double* row_loss, float* scratch,
                            int64_t begin, int64_t end);
  ByDtype<CrossEntropy> cross_entropy;
  using CrossEntropyStats = void(const void* logits, int64_t stride, const int64_t* labels, int64_t v,
                                 int64_t vocab_begin, float* max, float* sum, float* target, int64_t begin,
                                 int64_t end);
  ByDtype<CrossEntropyStats> cross_entropy_stats;
  using CrossEntropyGrad = void(void* logits, int64_t stride, const int64_t* labels, int64_t v,
                                int64_t vocab_begin, int64_t ignore, const float* lse, float scale, float cap,
                                int64_t begin, int64_t end);
  ByDtype<CrossEntropyGrad> cross_entropy_grad;

  /// Elements.
  using Add = void(const void* a, const void* b, void* out, int64_t begin, int64_t end);
  ByDtype<Add> add;
  using Scale = void(void* x, float factor, int64_t begin, int64_t end);
  ByDtype<Scale> scale;
  /// Sum of squares of a range, in double.
  using SumOfSquares = double(const void* x, int64_t begin, int64_t end);
  ByDtype<SumOfSquares> sum_of_squares;
  using AllFinite = bool(const void* x, int64_t begin, int64_t end);
  ByDtype<AllFinite> all_finite;
  /// out[h] float32 = sum of rows of x in the range.
  using ColumnSum = void(const void* x, int64_t stride, float* out, int64_t h, int64_t begin, int64_t end);
  ByDtype<ColumnSum> column_sum;
  /// acc[h] float32 += row (`first` overwrites).
  using AddRow = void(const void* row, float* acc, int64_t h, bool first);
  ByDtype<AddRow> add_row;

  struct {
    AttentionTiles f32, bf16;
  } attention;

  void (*cast_to_bf16)(const float* src, void* dst, int64_t begin, int64_t end);
  void (*cast_to_f32)(const void* src, float* dst, int64_t begin, int64_t end);
  void (*add_bf16_to_f32)(float* dst, const void* src, int64_t begin, int64_t end);
  void (*add_f32_to_bf16)(void* dst, const float* src, int64_t begin, int64_t end);

  /// `p` has the dtype of the entry; `copy`, if not null, receives p rounded to bfloat16.
  using AdamW = void(void* p, const float* g, float* m, float* v, void* copy, const AdamWScalars& s,
                     int64_t begin, int64_t end);
  ByDtype<AdamW> adamw;
  using Sgd = void(void* p, const float* g, float* momentum, void* copy, const SgdScalars& s, int64_t begin,
                   int64_t end);
  ByDtype<Sgd> sgd;
};

/// Logits per block of the cross-entropy loops: each block's exponentials are taken about its own maximum.
inline constexpr int64_t kCrossEntropyBlock = 2048;
inline int64_t cross_entropy_scratch(int64_t v) {
  return v + (v + kCrossEntropyBlock - 1) / kCrossEntropyBlock;
}

enum class CpuIsa : int { portable = 0, avx2 = 1, avx512 = 2 };

/// The loops of one instruction set, or null where this build or this machine lacks it.
const CpuTable* cpu_table(CpuIsa isa);
/// The widest loops this machine runs, or what CpuIsaGuard chose on this thread.
const CpuTable& cpu_table();

/// Lets a test run the calling thread's kernels on another instruction set while it lives.
class CpuIsaGuard {
 public:
  explicit CpuIsaGuard(const CpuTable& table);
  ~CpuIsaGuard();
  CpuIsaGuard(const CpuIsaGuard&) = delete;
  CpuIsaGuard& operator=(const CpuIsaGuard&) = delete;

 private:
  const CpuTable* previous_;
};

}  // namespace tessera::kernels
