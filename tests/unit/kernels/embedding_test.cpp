// Embedding rows and the ordered accumulation of their gradients.
#include "kernels/embedding.h"

#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "kernels_reference.h"

namespace tessera::kernels {
namespace {

TEST(Embedding, GathersRows) {
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kDouble}) {
    const at::Tensor weight = random_tensor({10, 7}, dtype, 1), tokens = random_integers(10, {33}, 2);
    EXPECT_TRUE(same_bits(kernels::embedding(weight, tokens), weight.index_select(0, tokens)));
  }
  EXPECT_EQ(kernels::embedding(at::ones({10, 7}), at::zeros({0}, at::kLong)).size(0), 0);
}

TEST(Embedding, SlicesOfAVocabularyAddUpToTheWhole) {
  const at::Tensor weight = random_tensor({10, 7}, at::kFloat, 1), tokens = random_integers(10, {33}, 2);
  const at::Tensor a = kernels::embedding(weight.narrow(0, 0, 4), tokens, 0, 10);
  const at::Tensor b = kernels::embedding(weight.narrow(0, 4, 6), tokens, 4, 10);
  EXPECT_TRUE(same_bits(a + b, kernels::embedding(weight, tokens)));

  const at::Tensor dy = random_tensor({33, 7}, at::kFloat, 3);
  at::Tensor whole = at::zeros({10, 7}), low = at::zeros({4, 7}), high = at::zeros({6, 7});
  embedding_backward(whole, tokens, dy);
  embedding_backward(low, tokens, dy, 0);
  embedding_backward(high, tokens, dy, 4);
  EXPECT_TRUE(same_bits(whole.narrow(0, 0, 4), low));
  EXPECT_TRUE(same_bits(whole.narrow(0, 4, 6), high));
}

TEST(Embedding, GradientAddsRowsToWhatIsThere) {
  for_each_isa([] {
    for (at::ScalarType grad_dtype : {at::kFloat, at::kBFloat16}) {
      for (at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
        at::Tensor grad = random_tensor({20, 37}, grad_dtype, 1);
        const at::Tensor tokens = random_integers(20, {500}, 2), dy = random_tensor({500, 37}, dtype, 3);
        const at::Tensor expected = wide(grad).index_add(0, tokens, wide(dy));
        embedding_backward(grad, tokens, dy);
        expect_close(grad, expected, tolerance(grad_dtype));
      }
    }
  });
}

TEST(Embedding, ManyRowsOfOneTokenAreNotLostInABfloat16Target) {
  at::Tensor grad = at::zeros({2, 16}, at::kBFloat16);
  embedding_backward(grad, at::zeros({4096}, at::kLong), at::ones({4096, 16}, at::kBFloat16));
  EXPECT_TRUE(grad[0].eq(4096).all().item<bool>());  // one by one, the sum would stop at 256
}

TEST(Embedding, BitsDoNotDependOnThreads) {
  const at::Tensor tokens = random_integers(50, {3000}, 1), dy = random_tensor({3000, 128}, at::kFloat, 2);
  at::Tensor one = at::zeros({50, 128}), four = at::zeros({50, 128});
  {
    ThreadsGuard threads(1);
    embedding_backward(one, tokens, dy);
  }
  {
    ThreadsGuard threads(4);
    embedding_backward(four, tokens, dy);
  }
  EXPECT_TRUE(same_bits(one, four));
}

TEST(Embedding, RefusesTokensOutsideTheVocabulary) {
  for (int64_t bad : {int64_t{10}, int64_t{-1}}) {
    at::Tensor tokens = at::zeros({3}, at::kLong);
    tokens[1] = bad;
    EXPECT_THROW(kernels::embedding(at::ones({10, 4}), tokens), Error);
    EXPECT_THROW(kernels::embedding(at::ones({4, 4}), tokens, 0, 10), Error);
  }
}

}  // namespace
}  // namespace tessera::kernels
