// Rows by index: embedding with its gradient, and the passes around experts.
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include "gpu_support.h"
#include "kernels/embedding.h"
#include "kernels/expert_rows.h"

namespace tessera::kernels {
namespace {

class RowsOn : public OnPlace {};

TEST_P(RowsOn, EmbeddingGathersWholeTablesAndSlices) {
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    for (int64_t h : {7, 64, 3000}) {
      const at::Tensor weight = random_tensor({10, h}, dtype, 1), tokens = random_integers(10, {33}, 2);
      const at::Tensor expected = weight.index_select(0, tokens);
      EXPECT_TRUE(
          same_bits(back(here([&] { return kernels::embedding(put(weight), put(tokens)); })), expected));
      const at::Tensor low = put(weight.narrow(0, 0, 4)), high = put(weight.narrow(0, 4, 6));
      const at::Tensor a = back(here([&] { return kernels::embedding(low, put(tokens), 0, 10); }));
      const at::Tensor b = back(here([&] { return kernels::embedding(high, put(tokens), 4, 10); }));
      EXPECT_TRUE(same_bits(a + b, expected));
    }
  }
}

TEST_P(RowsOn, ATokenOutsideTheVocabularyGivesNan) {
  at::Tensor tokens = at::zeros({3}, at::kLong);
  tokens[1] = 10;
  tokens[2] = -1;
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor y =
        back(here([&] { return kernels::embedding(put(at::ones({10, 8}, dtype)), put(tokens)); }));
    EXPECT_TRUE(y[1].isnan().all().item<bool>() && y[2].isnan().all().item<bool>());
    EXPECT_TRUE(y[0].eq(1).all().item<bool>());
  }
}

TEST_P(RowsOn, EmbeddingGradientMatchesTheCpu) {
  for (at::ScalarType grad_dtype : {at::kFloat, at::kBFloat16}) {
    for (at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      for (int64_t h : {37, 64}) {
        const at::Tensor grad = random_tensor({20, h}, grad_dtype, 1), dy = random_tensor({500, h}, dtype, 3);
        const at::Tensor tokens = random_integers(20, {500}, 2);
        const at::Tensor there = put(grad);
        here([&] { embedding_backward(there, put(tokens), put(dy)); });
        expect_close(back(there), wide(grad).index_add(0, tokens, wide(dy)), tolerance(grad_dtype));
        const at::Tensor slice = put(grad.narrow(0, 5, 6));
        here([&] { embedding_backward(slice, put(tokens), put(dy), 5); });
        EXPECT_TRUE(same_bits(back(slice), back(there).narrow(0, 5, 6)));
      }
    }
  }
}

TEST_P(RowsOn, ExpertRowsAreGatheredWeighedAndCombined) {
  const int64_t tokens = 11, k = 3, rows_count = 20;
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    for (int64_t width : {5, 64}) {
      const CudaType type = dtype == at::kFloat ? CudaType::f32 : CudaType::bf16;
      const at::Tensor rows = random_tensor({rows_count, width}, dtype, 1),
                       other = random_tensor({rows_count, width}, dtype, 2);
      const at::Tensor positions = random_integers(rows_count, {tokens, k}, 3),
                       weights = random_tensor({tokens, k}, at::kFloat, 4);
      at::Tensor expected = at::zeros({tokens, width}, at::kDouble);
      for (int64_t t = 0; t < tokens; ++t) {
        for (int64_t j = 0; j < k; ++j) {
          if (t == 2 || (t + j) % 4 == 0) positions[t][j] = -1;
          const int64_t row = positions[t][j].item<int64_t>();
          if (row >= 0) expected[t] += wide(rows[row]) * weights[t][j].item<double>();
        }
      }
      const at::Tensor r = put(rows), o = put(other), p = put(positions), w = put(weights);
      const at::Tensor out = put(at::empty({tokens, width}, dtype)), dots = put(at::empty({rows_count}));
      ASSERT_EQ(table().combine_rows(type, r.data_ptr(), rows_count, p.data_ptr<int64_t>(),
                                     w.data_ptr<float>(), out.data_ptr(), tokens, k, width, stream()),
                0);
      expect_close(back(out), expected, tolerance(dtype), 1.0);
      ASSERT_EQ(table().row_dots(type, r.data_ptr(), o.data_ptr(), dots.data_ptr<float>(), rows_count, width,
                                 stream()),
                0);
      expect_close(back(dots), (wide(rows) * wide(other)).sum(1), 4e-6, 8.0);

      const at::Tensor index = random_integers(rows_count, {13}, 5);
      const at::Tensor gathered = put(at::empty({13, width}, dtype)), there = put(index);
      ASSERT_EQ(table().gather_rows(r.data_ptr(), rows_count, there.data_ptr<int64_t>(), gathered.data_ptr(),
                                    13, width * rows.element_size(), stream()),
                0);
      EXPECT_TRUE(same_bits(back(gathered), rows.index_select(0, index)));
      const at::Tensor factors = random_tensor({rows_count}, at::kFloat, 6), f = put(factors);
      ASSERT_EQ(table().scale_rows(type, r.data_ptr(), f.data_ptr<float>(), rows_count, width, stream()), 0);
      expect_close(back(r), wide(rows) * wide(factors).unsqueeze(1), tolerance(dtype));
    }
  }
}

TEST_P(RowsOn, ExpertsAreOrderedAndCombinedAsOnTheCpu) {
  const int64_t tokens = 37, k = 2, all = 6;
  const at::Tensor experts = random_integers(all, {tokens, k}, 1),
                   weights = random_tensor({tokens, k}, at::kFloat, 2);
  for (const auto& [first, count] : {std::pair<int64_t, int64_t>{0, 6}, {2, 3}, {5, 1}, {3, 0}}) {
    const ExpertOrder want = order_by_expert(experts, first, count, all);
    const ExpertOrder got = here([&] { return order_by_expert(put(experts), first, count, all); });
    EXPECT_EQ(got.counts, want.counts);
    EXPECT_TRUE(same_bits(back(got.tokens), want.tokens) && same_bits(back(got.choices), want.choices));
    EXPECT_TRUE(same_bits(back(got.positions), want.positions));
    const at::Tensor rows = random_tensor({want.rows(), 24}, at::kBFloat16, 3),
                     scale = random_tensor({want.rows()}, at::kFloat, 4);
    const at::Tensor there = put(rows), again = rows.clone();
    expect_close(back(here([&] { return combine_rows(there, got, put(weights)); })),
                 wide(combine_rows(rows, want, weights)), tolerance(at::kBFloat16), 0.1);
    expect_close(back(here([&] { return row_dots(there, there); })), wide(row_dots(rows, rows)), 4e-6);
    here([&] { scale_rows(there, put(scale)); });
    scale_rows(again, scale);
    EXPECT_TRUE(same_bits(back(there), again));
  }
  at::Tensor bad = experts.clone();
  bad[3][1] = all;
  EXPECT_THROW(here([&] { return order_by_expert(put(bad), 0, all, all); }), Error);
  bad[3][1] = -2;
  EXPECT_THROW(here([&] { return order_by_expert(put(bad), 0, all, all); }), Error);
  bad[3][1] = -1;  // a pair that goes nowhere
  const ExpertOrder want = order_by_expert(bad, 0, all, all);
  const ExpertOrder got = here([&] { return order_by_expert(put(bad), 0, all, all); });
  EXPECT_EQ(got.counts, want.counts);
  EXPECT_TRUE(same_bits(back(got.positions), want.positions));
}

TESSERA_ON_PLACES(RowsOn);

}  // namespace
}  // namespace tessera::kernels
