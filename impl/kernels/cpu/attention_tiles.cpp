// Tiled flash attention. Scores are held transposed, keys along rows and queries along columns: maxima, sums
// and masks are then vertical vector operations, and of the products' operands only those that are packed
// once per head need a transposition:
//
//     Sᵀ = K Qᵀ      Oᵀ += Vᵀ Pᵀ                                                       (forward)
//     dPᵀ = V dOᵀ    dV += Pᵀ dO    dK += dSᵀ Q    dQᵀ += Kᵀ dSᵀ                       (backward)
//
// The recurrences are those of FlashAttention-2 (Dao, 2023). One task computes one key/value head of one span
// with all query heads that share it, so no two tasks write the same place and results do not depend on the
// number of threads.
#include "kernels/cpu/attention_tiles.h"

#include <ATen/native/CPUBlas.h>
#include <c10/core/CPUAllocator.h>

#include <algorithm>
#include <limits>

#include "core/error.h"
#include "kernels/cpu/parallel.h"

namespace tessera::kernels {
namespace {

using at::native::cpublas::brgemm;

// Few tile shapes, because the micro-kernel is generated per shape and thread: 64, and 32 for short documents
// and ends.
constexpr int64_t kTile = 64;
constexpr int64_t tile_rows(int64_t left) {
  return left > kTile / 2 ? kTile : kTile / 2;
}
constexpr int64_t kHeadStep = 32;  // head sizes are padded to this in the tiles
constexpr int64_t kFar = int64_t{1} << 29;

/// Memory of one task, cut into cache lines.
class Arena {
 public:
  explicit Arena(int64_t bytes)
      : memory_(c10::GetCPUAllocator()->allocate(static_cast<size_t>(bytes))), left_(bytes) {
    next_ = static_cast<char*>(memory_.get());
  }
  template <class T>
  T* take(int64_t count) {
    const int64_t bytes = round_up(count, static_cast<int64_t>(sizeof(T)));
    TESSERA_CHECK(bytes <= left_, internal, "attention: arena is too small");
    T* p = reinterpret_cast<T*>(next_);
    next_ += bytes;
    left_ -= bytes;
    return p;
  }
  static int64_t round_up(int64_t count, int64_t size) { return (count * size + 63) / 64 * 64; }

 private:
  c10::DataPtr memory_;
  int64_t left_;
  char* next_;
};

/// The geometry that forward and backward share.
struct Problem {
  int64_t d, dp;  ///< head size of queries and keys, and padded
  int64_t e, ep;  ///< head size of values, and padded
  int64_t group;  ///< query heads of one key head
  float scale;
  float cap;           ///< 0: none
  const float* sinks;  ///< by query head, or null
  int64_t window;

  int64_t key_tile() const { return kTile * dp; }
  int64_t value_tile() const { return kTile * ep; }
  int64_t widest_tile() const { return kTile * std::max(dp, ep); }
};

/// A block of keys of a span.
struct KeyBlock {
  int64_t begin, rows, tile;  ///< first key of the span, keys in it, rows of its tile
};

std::vector<KeyBlock> key_blocks(int64_t k_len) {
  std::vector<KeyBlock> blocks;
  for (int64_t b = 0; b < k_len; b += kTile)
    blocks.push_back({b, std::min(kTile, k_len - b), tile_rows(k_len - b)});
  return blocks;
}

/// Blocks [first, last) that some of the queries [q0, q0 + n) of the span see.
struct BlockRange {
  int64_t first, last;
};
BlockRange seen_blocks(const Problem& p, const AttentionSpan& s, int64_t q0, int64_t n) {
  const int64_t newest = std::min(s.k_len - 1, q0 + n - 1 + s.diagonal);
  const int64_t oldest = p.window > 0 ? std::max<int64_t>(0, q0 + s.diagonal - p.window + 1) : 0;
  if (newest < oldest) return {0, 0};
  return {oldest / kTile, newest / kTile + 1};
}

/// The mask of a block of scores, or null when all is visible: keys of the tile are all there and seen by all
/// queries.
const AttentionMask* mask_of(const Problem& p, const AttentionSpan& s, const KeyBlock& block, int64_t q0,
                             int64_t n, AttentionMask& storage) {
  const bool all_old_enough = block.begin + block.rows - 1 <= q0 + s.diagonal;
  const bool all_new_enough = p.window == 0 || block.begin > q0 + n - 1 + s.diagonal - p.window;
  if (all_old_enough && all_new_enough && block.rows == block.tile) return nullptr;
  storage = {std::clamp(block.begin - s.diagonal - q0, -kFar, kFar), std::min(p.window, kFar), block.rows};
  return &storage;
}

const AttentionTiles& loops(const float*) {
  return cpu_table().attention.f32;
}
const AttentionTiles& loops(const at::BFloat16*) {
  return cpu_table().attention.bf16;
}

/// c [m][n] (+)= a [m][k] b, where b is packed as transpose_tile or interleave_rows leave it.
template <class T>
void product(int64_t m, int64_t n, int64_t k, const T* a, const T* b, float* c, bool add) {
  brgemm(m, n, k, k, n, n, add, a, b, c, sizeof(T) == 2);
}

template <class T>
const T* rows_at(const at::Tensor& t, int64_t row, int64_t head) {
  return t.const_data_ptr<T>() + row * t.stride(0) + head * t.stride(1);
}
template <class T>
T* target_rows(const at::Tensor& t, int64_t row, int64_t head) {
  return t.mutable_data_ptr<T>() + row * t.stride(0) + head * t.stride(1);
}

/// Keys or values of one head of one span as tiles, block after block (each kTile * padded elements apart).
template <class T>
struct KeyTiles {
  T* plain = nullptr;       ///< [tile][padded]
  T* transposed = nullptr;  ///< [padded][tile]
};

/// `padded` is the head size of `source` in the tiles.
template <class T>
void pack_keys(const at::Tensor& source, int64_t padded, int64_t begin, int64_t head,
               const std::vector<KeyBlock>& blocks, const KeyTiles<T>& tiles, T* tile, float* scratch) {
  const AttentionTiles& table = loops(static_cast<const T*>(nullptr));
  for (size_t i = 0; i < blocks.size(); ++i) {
    const KeyBlock& b = blocks[i];
    const auto offset = static_cast<int64_t>(i) * kTile * padded;
    T* rows = tiles.plain ? tiles.plain + offset : tile;
    table.load_tile(rows_at<T>(source, begin + b.begin, head), source.stride(0), b.rows, source.size(2), rows,
                    b.tile, padded);
    if (tiles.transposed) table.transpose_plain(rows, tiles.transposed + offset, scratch, b.tile, padded);
  }
}

template <class T>
void forward_task(const Problem& p, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                  const AttentionSpan& s, int64_t kv_head, const AttentionResult& result) {
  const AttentionTiles& table = loops(static_cast<const T*>(nullptr));
  const std::vector<KeyBlock> blocks = key_blocks(s.k_len);
  const auto count = static_cast<int64_t>(blocks.size());
  const int64_t all_keys = count * p.key_tile(), all_values = count * p.value_tile(), tile = p.widest_tile();
  Arena arena(Arena::round_up(all_keys, sizeof(T)) + Arena::round_up(all_values, sizeof(T)) +
              2 * Arena::round_up(tile, sizeof(T)) + Arena::round_up(kTile * kTile, 4) +
              Arena::round_up(kTile * kTile, sizeof(T)) + 3 * Arena::round_up(kTile, 4) +
              Arena::round_up(3 * tile, 4));
  const KeyTiles<T> keys{arena.take<T>(all_keys), nullptr}, values{nullptr, arena.take<T>(all_values)};
  T* rows = arena.take<T>(tile);
  T* qt = arena.take<T>(tile);
  float* scores = arena.take<float>(kTile * kTile);
  T* pairs = arena.take<T>(kTile * kTile);
  float* maximum = arena.take<float>(kTile);
  float* sum = arena.take<float>(kTile);
  float* lse = arena.take<float>(kTile);
  float* o = arena.take<float>(3 * tile);
  float* scratch = o + tile;
  pack_keys<T>(k, p.dp, s.k_begin, kv_head, blocks, keys, rows, scratch);
  pack_keys<T>(v, p.ep, s.k_begin, kv_head, blocks, values, rows, scratch);

  for (int64_t head = kv_head * p.group; head < (kv_head + 1) * p.group; ++head) {
    for (int64_t q0 = 0; q0 < s.q_len; q0 += kTile) {
      const int64_t n = std::min(kTile, s.q_len - q0), columns = tile_rows(n);
      const BlockRange range = seen_blocks(p, s, q0, n);
      if (range.first == range.last) continue;
      table.load_tile(rows_at<T>(q, s.q_begin + q0, head), q.stride(0), n, p.d, rows, columns, p.dp);
      table.transpose_tile(rows, qt, columns, p.dp);
      std::fill_n(maximum, columns, -std::numeric_limits<float>::infinity());
      std::fill_n(sum, columns, 0.0f);
      std::fill_n(o, p.ep * columns, 0.0f);
      for (int64_t b = range.first; b < range.last; ++b) {
        const KeyBlock& block = blocks[static_cast<size_t>(b)];
        product<T>(block.tile, columns, p.dp, keys.plain + b * p.key_tile(), qt, scores, false);
        AttentionMask mask;
        if (p.cap > 0) table.soft_cap(scores, block.tile * columns, p.scale, p.cap);
        table.softmax(scores, block.tile, columns, p.cap > 0 ? 1.0f : p.scale,
                      mask_of(p, s, block, q0, n, mask), maximum, sum, pairs, o, p.ep);
        const T* probabilities = sizeof(T) == 2 ? pairs : reinterpret_cast<const T*>(scores);
        product<T>(p.ep, columns, block.tile, values.transposed + b * p.value_tile(), probabilities, o, true);
      }
      table.finish(o, maximum, sum, lse, columns, p.ep,
                   p.sinks ? p.sinks[head] : -std::numeric_limits<float>::infinity());
      table.transpose32(o, columns, scratch, p.ep, p.ep, columns);
      table.store_tile(scratch, p.ep, target_rows<T>(result.out, s.q_begin + q0, head), result.out.stride(0),
                       n, p.e, false);
      std::copy_n(lse, n, result.lse.mutable_data_ptr<float>() + head * result.lse.size(1) + s.q_begin + q0);
    }
  }
}

/// What the backward of one query tile reads.
template <class T>
struct QueryTile {
  T* rows;        ///< [columns][padded]
  T* head_major;  ///< second operand with inner dimension padded
  T* row_major;   ///< second operand with inner dimension columns: `rows` itself in float32

  void take(Arena& arena, int64_t tile) {
    rows = arena.take<T>(tile);
    head_major = arena.take<T>(tile);
    row_major = sizeof(T) == 2 ? arena.take<T>(tile) : rows;
  }
  void load(const at::Tensor& source, int64_t padded, int64_t row, int64_t head, int64_t n, int64_t columns) {
    const T* from = rows_at<T>(source, row, head);
    const AttentionTiles& table = loops(from);
    table.load_tile(from, source.stride(0), n, source.size(2), rows, columns, padded);
    table.transpose_tile(rows, head_major, columns, padded);
    if (sizeof(T) == 2) table.interleave_rows(rows, row_major, columns, padded);
  }
};

template <class T>
void backward_task(const Problem& p, const at::Tensor& dout, const at::Tensor& q, const at::Tensor& k,
                   const at::Tensor& v, const at::Tensor& out, const at::Tensor& lse_all,
                   const AttentionSpan& s, int64_t kv_head, const AttentionGrads& grads) {
  const AttentionTiles& table = loops(static_cast<const T*>(nullptr));
  const std::vector<KeyBlock> blocks = key_blocks(s.k_len);
  const auto count = static_cast<int64_t>(blocks.size());
  const int64_t all_keys = count * p.key_tile(), all_values = count * p.value_tile();
  const int64_t tile = p.widest_tile(), square = kTile * kTile;
  Arena arena(2 * Arena::round_up(all_keys, sizeof(T)) + Arena::round_up(all_values, sizeof(T)) +
              Arena::round_up(all_keys, 4) + Arena::round_up(all_values, 4) +
              6 * Arena::round_up(tile, sizeof(T)) + 2 * Arena::round_up(square, 4) +
              3 * Arena::round_up(square, sizeof(T)) + 2 * Arena::round_up(kTile, 4) +
              Arena::round_up(3 * tile, 4));
  const KeyTiles<T> keys{arena.take<T>(all_keys), arena.take<T>(all_keys)},
      values{arena.take<T>(all_values), nullptr};
  float* dk = arena.take<float>(all_keys);
  float* dv = arena.take<float>(all_values);
  QueryTile<T> queries, douts;
  queries.take(arena, tile);
  douts.take(arena, tile);
  float* scores = arena.take<float>(square);
  float* dp = arena.take<float>(square);
  T* p_rows = sizeof(T) == 2 ? arena.take<T>(square) : reinterpret_cast<T*>(scores);
  T* ds_rows = sizeof(T) == 2 ? arena.take<T>(square) : reinterpret_cast<T*>(dp);
  T* ds_pairs = sizeof(T) == 2 ? arena.take<T>(square) : reinterpret_cast<T*>(dp);
  float* lse = arena.take<float>(kTile);
  float* delta = arena.take<float>(kTile);
  float* dq = arena.take<float>(3 * tile);
  float* scratch = dq + tile;
  pack_keys<T>(k, p.dp, s.k_begin, kv_head, blocks, keys, queries.rows, scratch);
  pack_keys<T>(v, p.ep, s.k_begin, kv_head, blocks, values, queries.rows, scratch);
  std::fill_n(dk, all_keys, 0.0f);
  std::fill_n(dv, all_values, 0.0f);

  for (int64_t head = kv_head * p.group; head < (kv_head + 1) * p.group; ++head) {
    for (int64_t q0 = 0; q0 < s.q_len; q0 += kTile) {
      const int64_t n = std::min(kTile, s.q_len - q0), columns = tile_rows(n), row = s.q_begin + q0;
      const BlockRange range = seen_blocks(p, s, q0, n);
      if (range.first == range.last) continue;
      queries.load(q, p.dp, row, head, n, columns);
      douts.load(dout, p.ep, row, head, n, columns);
      std::fill_n(delta, columns, 0.0f);
      table.row_dots(rows_at<T>(dout, row, head), dout.stride(0), rows_at<T>(out, row, head), out.stride(0),
                     delta, n, p.e);
      // exp(s - infinity) = 0: columns beyond the tile's queries, and queries that saw no key, give nothing.
      std::fill_n(lse, columns, std::numeric_limits<float>::infinity());
      const float* saved = lse_all.const_data_ptr<float>() + head * lse_all.size(1) + row;
      for (int64_t i = 0; i < n; ++i) {
        if (saved[i] != -std::numeric_limits<float>::infinity()) lse[i] = saved[i];
      }
      std::fill_n(dq, p.dp * columns, 0.0f);
      for (int64_t b = range.first; b < range.last; ++b) {
        const KeyBlock& block = blocks[static_cast<size_t>(b)];
        const int64_t key = b * p.key_tile(), value = b * p.value_tile();
        product<T>(block.tile, columns, p.dp, keys.plain + key, queries.head_major, scores, false);
        product<T>(block.tile, columns, p.ep, values.plain + value, douts.head_major, dp, false);
        AttentionMask mask;
        table.backward_tile(scores, dp, block.tile, columns, p.scale, p.cap,
                            mask_of(p, s, block, q0, n, mask), lse, delta, p_rows, ds_rows, ds_pairs);
        product<T>(block.tile, p.ep, columns, p_rows, douts.row_major, dv + value, true);
        product<T>(block.tile, p.dp, columns, ds_rows, queries.row_major, dk + key, true);
        product<T>(p.dp, columns, block.tile, keys.transposed + key, ds_pairs, dq, true);
      }
      table.transpose32(dq, columns, scratch, p.dp, p.dp, columns);
      table.store_tile(scratch, p.dp, target_rows<T>(grads.dq, row, head), grads.dq.stride(0), n, p.d, false);
    }
  }
  for (int64_t i = 0; i < count; ++i) {
    const KeyBlock& block = blocks[static_cast<size_t>(i)];
    const int64_t row = s.k_begin + block.begin;
    table.store_tile(dk + i * p.key_tile(), p.dp, target_rows<T>(grads.dk, row, kv_head), grads.dk.stride(0),
                     block.rows, p.d, true);
    table.store_tile(dv + i * p.value_tile(), p.ep, target_rows<T>(grads.dv, row, kv_head),
                     grads.dv.stride(0), block.rows, p.e, true);
  }
}

bool keys_disjoint(std::vector<AttentionSpan> spans) {
  std::sort(spans.begin(), spans.end(), [](const auto& a, const auto& b) { return a.k_begin < b.k_begin; });
  for (size_t i = 1; i < spans.size(); ++i) {
    if (spans[i].k_begin < spans[i - 1].k_begin + spans[i - 1].k_len) return false;
  }
  return true;
}

/// task(span, kv_head) for all; spans of one head after each other when `together`.
template <class Task>
void for_tasks(const std::vector<AttentionSpan>& spans, int64_t kv_heads, bool together, const Task& task) {
  const auto count = static_cast<int64_t>(spans.size());
  const int64_t inner = together ? count : 1, tasks = kv_heads * count / std::max<int64_t>(1, inner);
  parallel_for(0, count == 0 ? 0 : tasks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin * inner; i < end * inner; ++i) {
      const AttentionSpan& s = spans[static_cast<size_t>(i % count)];
      if (s.q_len > 0 && s.k_len > 0) task(s, i / count);
    }
    at::native::cpublas::brgemm_release();
  });
}

Problem problem_of(const at::Tensor& q, const at::Tensor& v, const AttentionOptions& options) {
  const auto padded = [](int64_t size) { return (size + kHeadStep - 1) / kHeadStep * kHeadStep; };
  return {q.size(2),
          padded(q.size(2)),
          v.size(2),
          padded(v.size(2)),
          q.size(1) / v.size(1),
          static_cast<float>(options.scale),
          static_cast<float>(options.soft_cap),
          options.sinks.defined() ? options.sinks.const_data_ptr<float>() : nullptr,
          options.window};
}

template <class T>
bool probe() {
  T a[16 * 16] = {}, b[16 * 16] = {};
  float c[16 * 16];
  try {
    product<T>(16, 16, 16, a, b, c, false);
    at::native::cpublas::brgemm_release();
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

}  // namespace

bool attention_tiles_available(at::ScalarType dtype) {
  static const bool f32 = probe<float>(), bf16 = probe<at::BFloat16>();
  return dtype == at::kFloat ? f32 : dtype == at::kBFloat16 && bf16;
}

void attention_tiles_forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                             const std::vector<AttentionSpan>& spans, const AttentionOptions& options,
                             const AttentionResult& result) {
  const Problem p = problem_of(q, v, options);
  for_tasks(spans, k.size(1), false, [&](const AttentionSpan& s, int64_t kv_head) {
    if (q.scalar_type() == at::kFloat) {
      forward_task<float>(p, q, k, v, s, kv_head, result);
    } else {
      forward_task<at::BFloat16>(p, q, k, v, s, kv_head, result);
    }
  });
}

void attention_tiles_backward(const at::Tensor& dout, const at::Tensor& q, const at::Tensor& k,
                              const at::Tensor& v, const at::Tensor& out, const at::Tensor& lse,
                              const std::vector<AttentionSpan>& spans, const AttentionOptions& options,
                              const AttentionGrads& grads) {
  const Problem p = problem_of(q, v, options);
  for_tasks(spans, k.size(1), !keys_disjoint(spans), [&](const AttentionSpan& s, int64_t kv_head) {
    if (q.scalar_type() == at::kFloat) {
      backward_task<float>(p, dout, q, k, v, out, lse, s, kv_head, grads);
    } else {
      backward_task<at::BFloat16>(p, dout, q, k, v, out, lse, s, kv_head, grads);
    }
  });
}

}  // namespace tessera::kernels
