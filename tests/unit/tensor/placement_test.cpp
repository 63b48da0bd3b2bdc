// Boxes, tp parts and FSDP row shards: they follow torch.chunk and cover every element exactly once.
#include "tensor/placement.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/chunk.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <gtest/gtest.h>

#include <functional>
#include <numeric>

#include "core/error.h"
#include "support/errors.h"
#include "tensor/runs.h"

namespace tessera {
namespace {

using testing::error_code;

ParamSpec spec_of(std::vector<int64_t> shape, Placement tp = Placement::replicate()) {
  ParamSpec spec;
  spec.name = "w";
  spec.shape = std::move(shape);
  spec.tp = tp;
  return spec;
}

// Marks every element of `box` in a map of the tensor.
void mark(std::vector<int>& hits, const std::vector<int64_t>& shape, const Box& box) {
  ASSERT_TRUE(box.fits(shape));
  for_each_run(shape, box, [&](int64_t at, int64_t, int64_t count) {
    for (int64_t i = 0; i < count; ++i) ++hits[at + i];
  });
}

TEST(Placement, RowShardsAreThoseOfTorchChunk) {
  for (int64_t rows = 0; rows <= 17; ++rows) {
    for (int64_t shards = 1; shards <= 9; ++shards) {
      const at::Tensor full = at::arange(rows * 3).reshape({rows, 3});
      const std::vector<at::Tensor> chunks = at::chunk(full, shards, 0);
      int64_t next = 0;
      for (int64_t i = 0; i < shards; ++i) {
        const RowShard shard = row_shard({rows, 3}, i, shards);
        const int64_t expected = i < static_cast<int64_t>(chunks.size()) ? chunks[i].size(0) : 0;
        EXPECT_EQ(shard.rows, expected) << rows << " rows, shard " << i << " of " << shards;
        EXPECT_EQ(shard.first_row, next);
        EXPECT_EQ(shard.chunk_rows, (rows + shards - 1) / shards);
        EXPECT_EQ(shard.row_elements, 3);
        next += shard.rows;
      }
      EXPECT_EQ(next, rows);
    }
  }
}

TEST(Placement, OwnedBoxesCoverEachElementOnce) {
  for (const std::vector<int64_t>& shape : {std::vector<int64_t>{7}, {5, 6}, {6, 5}, {1, 9}, {3, 4, 5}}) {
    for (int dim = 0; dim < static_cast<int>(shape.size()); ++dim) {
      for (int64_t tp = 1; tp <= 4; ++tp) {
        for (int64_t shards = 1; shards <= 4; ++shards) {
          const ParamSpec spec = spec_of(shape, Placement::shard(dim));
          std::vector<int> hits(checked_numel(shape), 0);
          for (int64_t t = 0; t < tp; ++t) {
            for (int64_t s = 0; s < shards; ++s) mark(hits, shape, owned_box(spec, t, tp, s, shards));
          }
          for (int hit : hits) ASSERT_EQ(hit, 1) << "tp=" << tp << " shards=" << shards << " dim=" << dim;
        }
      }
    }
  }
}

TEST(Placement, ReplicatedTpPartIsTheWholeTensorOnEveryRank) {
  for (int64_t t = 0; t < 3; ++t) EXPECT_EQ(tp_box(spec_of({4, 5}), t, 3), Box::whole({4, 5}));
}

TEST(Placement, FsdpCutsTheRowsOfTheTpPart) {
  // [8, 6] split over tp=2 in dim 0 and over 3 shards: ranks hold 2, 2 and 0 of each part's 4 rows.
  const Box box = owned_box(spec_of({8, 6}, Placement::shard(0)), 1, 2, 1, 3);
  EXPECT_EQ(box, (Box{{6, 0}, {2, 6}}));
  EXPECT_TRUE(owned_box(spec_of({8, 6}, Placement::shard(0)), 1, 2, 2, 3).empty());
  EXPECT_EQ(row_shard({4, 6}, 2, 3).padded_numel(), 12);
}

TEST(Placement, BadArgumentsAreErrors) {
  std::string message;
  EXPECT_EQ(error_code([] { row_shard({4}, 0, 0); }), Code::argument);
  EXPECT_EQ(error_code([] { row_shard({4}, 4, 4); }), Code::argument);
  EXPECT_EQ(error_code([] { row_shard({4}, -1, 4); }), Code::argument);
  EXPECT_EQ(error_code([] { row_shard({}, 0, 1); }), Code::argument);
  EXPECT_EQ(error_code([] { row_shard({4, -1}, 0, 1); }), Code::argument);
  EXPECT_EQ(error_code([] { tp_box(spec_of({4, 5}, Placement::shard(2)), 0, 1); }, &message), Code::argument);
  EXPECT_EQ(message, "w: tp shards dim 2 of a tensor with 2 dims");
  EXPECT_EQ(error_code([] { checked_numel({int64_t{1} << 40, int64_t{1} << 40}); }), Code::argument);
}

TEST(Placement, HugeRowCountsDoNotOverflow) {
  const int64_t rows = INT64_MAX - 1;
  const RowShard last = row_shard({rows}, 6, 7);
  EXPECT_EQ(last.first_row + last.rows, rows);
  EXPECT_EQ(row_shard({3}, INT64_MAX - 1, INT64_MAX).rows, 0);
}

TEST(Placement, BoxOutsideTheTensorDoesNotFit) {
  EXPECT_TRUE((Box{{0, 2}, {4, 3}}).fits({4, 5}));
  EXPECT_FALSE((Box{{0, 3}, {4, 3}}).fits({4, 5}));
  EXPECT_FALSE((Box{{-1, 0}, {1, 1}}).fits({4, 5}));
  EXPECT_FALSE((Box{{0}, {4}}).fits({4, 5}));
  EXPECT_FALSE((Box{{1, 0}, {INT64_MAX, 1}}).fits({4, 5}));
}

TEST(Placement, IntersectionIsTheSharedPart) {
  EXPECT_EQ(intersection({{0, 0}, {4, 4}}, {{2, 1}, {4, 2}}), (Box{{2, 1}, {2, 2}}));
  EXPECT_TRUE(intersection({{0, 0}, {2, 4}}, {{2, 0}, {2, 4}}).empty());
  EXPECT_EQ(intersection(Box::whole({}), Box::whole({})).numel(), 1);
  EXPECT_EQ(error_code([] { intersection(Box::whole({1}), Box::whole({1, 1})); }), Code::argument);
}

TEST(Placement, RunsReadABoxLikeSlicing) {
  const std::vector<int64_t> shape{3, 4, 5};
  const at::Tensor full = at::arange(60);
  for (const Box& box : {Box{{0, 0, 0}, {3, 4, 5}}, Box{{1, 0, 0}, {2, 4, 5}}, Box{{0, 1, 0}, {3, 2, 5}},
                         Box{{1, 1, 2}, {2, 3, 2}}, Box{{2, 3, 4}, {1, 1, 1}}, Box{{0, 0, 0}, {0, 4, 5}}}) {
    at::Tensor out = at::full({box.numel()}, -1, at::kLong);
    int64_t runs = 0;
    for_each_run(shape, box, [&](int64_t from, int64_t to, int64_t count) {
      out.narrow(0, to, count).copy_(full.narrow(0, from, count));
      ++runs;
    });
    at::Tensor expected = full.reshape(shape);
    for (int d = 0; d < 3; ++d) expected = expected.narrow(d, box.offset[d], box.size[d]);
    EXPECT_TRUE(at::equal(out, expected.reshape({-1})));
    if (box.size == shape) {
      EXPECT_EQ(runs, 1);
    }
    if (box.size == std::vector<int64_t>{3, 2, 5}) {
      EXPECT_EQ(runs, 3);
    }
  }
}

TEST(Placement, RunsOfAScalarAreOneElement) {
  int calls = 0;
  for_each_run({}, Box::whole({}), [&](int64_t from, int64_t to, int64_t count) {
    ++calls;
    EXPECT_EQ(from + to, 0);
    EXPECT_EQ(count, 1);
  });
  EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace tessera
