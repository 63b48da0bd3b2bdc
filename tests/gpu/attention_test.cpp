// Attention on the GPU, fused and composed, against the CPU in float32 on the same rounded inputs.
#include "kernels/attention.h"

#include "core/error.h"
#include "gpu_support.h"
#include "kernels/cuda/attention_cudnn.h"
#include "kernels/cuda/attention_flash.h"

namespace tessera::kernels {
namespace {

class AttentionOn : public OnPlace {
 protected:
  struct Inputs {
    at::Tensor q, k, v, dout;
  };
  static Inputs inputs(int64_t queries, int64_t keys, int64_t heads, int64_t kv_heads, int64_t d,
                       at::ScalarType dtype) {
    return {random_tensor({queries, heads, d}, dtype, 1), random_tensor({keys, kv_heads, d}, dtype, 2),
            random_tensor({keys, kv_heads, d}, dtype, 3), random_tensor({queries, heads, d}, dtype, 4)};
  }
  static at::Tensor f32(const at::Tensor& t) { return t.to(at::kFloat); }

  void matches(const Inputs& in, const std::vector<AttentionSpan>& spans, const AttentionOptions& options,
               double tol) {
    const AttentionResult want = attention(f32(in.q), f32(in.k), f32(in.v), spans, options);
    const at::Tensor q = put(in.q), k = put(in.k), v = put(in.v), dout = put(in.dout);
    const AttentionResult got = attention(q, k, v, spans, options);
    expect_close(back(got.out), want.out, tol);
    // -infinity where a row sees no key, in both or in neither.
    EXPECT_TRUE(same_bits(back(got.lse).isneginf(), want.lse.isneginf()));
    expect_close(back(got.lse).nan_to_num(0, 0, 0), want.lse.nan_to_num(0, 0, 0), 1e-3);
    const AttentionGrads expected =
        attention_backward(f32(in.dout), f32(in.q), f32(in.k), f32(in.v), want.out, want.lse, spans, options);
    const AttentionGrads grads = attention_backward(dout, q, k, v, got.out, got.lse, spans, options);
    expect_close(back(grads.dq), expected.dq, 3 * tol, 0.1);
    expect_close(back(grads.dk), expected.dk, 3 * tol, 0.1);
    expect_close(back(grads.dv), expected.dv, 3 * tol, 0.1);
  }
};

const std::vector<AttentionSpan> kDocuments = {{0, 70, 0, 70, 0}, {70, 1, 70, 1, 0}, {71, 129, 71, 129, 0}};
const std::vector<AttentionSpan> kPadded = {{0, 60, 0, 60, 0}, {64, 3, 64, 3, 0}, {128, 40, 128, 40, 0}};
/// Both ends of a document of 200, over all of its keys: what a rank of zigzag context parallelism computes.
const std::vector<AttentionSpan> kZigzag = {{0, 50, 0, 200, 0}, {50, 50, 0, 200, 150}};

TEST_P(AttentionOn, FusedKernelsMatchTheCpu) {
  for (int64_t d : {64, 128}) {
    for (int64_t kv_heads : {8, 2}) {
      for (int64_t window : {0, 17}) {
        SCOPED_TRACE(cat("heads of ", d, ", ", kv_heads, " of keys, window ", window));
        AttentionOptions options;
        options.window = window;
        matches(inputs(200, 200, 8, kv_heads, d, at::kBFloat16), kDocuments, options, 0.02);
        matches(inputs(192, 192, 8, kv_heads, d, at::kBFloat16), kPadded, options, 0.02);
        matches(inputs(100, 200, 8, kv_heads, d, at::kBFloat16), kZigzag, options, 0.02);
      }
    }
  }
}

TEST_P(AttentionOn, Float32AndCappedScoresTakeTheComposition) {
  AttentionOptions options;
  matches(inputs(200, 200, 4, 2, 20, at::kFloat), kDocuments, options, 1e-4);
  matches(inputs(100, 200, 4, 4, 64, at::kFloat), kZigzag, options, 1e-4);
  options.soft_cap = 5;
  options.window = 17;
  matches(inputs(192, 192, 4, 2, 64, at::kBFloat16), kPadded, options, 0.02);
}

TEST_P(AttentionOn, ShortDocumentsAndNoneAtAll) {
  AttentionOptions options;
  // FlashAttention has another path where no sequence has more than one query.
  matches(inputs(5, 5, 8, 2, 64, at::kBFloat16), {{0, 1, 0, 1, 0}, {1, 1, 1, 1, 0}, {4, 1, 4, 1, 0}}, options,
          0.02);
  matches(inputs(3, 90, 8, 2, 64, at::kBFloat16), {{0, 1, 0, 40, 39}, {2, 1, 50, 30, 29}}, options, 0.02);
  matches(inputs(7, 7, 4, 4, 64, at::kBFloat16), {}, options, 0.02);
}

TEST_P(AttentionOn, SlicesOfOneProjectionAreReadInPlaceOrCopied) {
  AttentionOptions options;
  for (int64_t d : {64, 72}) {
    for (int64_t begin : {0, 8, 1}) {  // 1: not aligned to the kernel's accesses
      SCOPED_TRACE(cat("heads of ", d, ", from element ", begin));
      const at::Tensor qkv = put(random_tensor({200, begin + 12 * d}, at::kBFloat16, 5));
      const auto part = [&](int64_t first, int64_t heads) {
        return qkv.narrow(1, begin + first * d, heads * d).unflatten(1, {heads, d});
      };
      const at::Tensor q = part(0, 8), k = part(8, 2), v = part(10, 2);
      const AttentionResult sliced = attention(q, k, v, kDocuments, options);
      const AttentionResult dense =
          attention(q.contiguous(), k.contiguous(), v.contiguous(), kDocuments, options);
      EXPECT_TRUE(sliced.out.is_contiguous());
      EXPECT_TRUE(same_bits(back(sliced.out), back(dense.out)));
      EXPECT_TRUE(same_bits(back(sliced.lse), back(dense.lse)));
      const at::Tensor dout = put(random_tensor({200, 8, d}, at::kBFloat16, 6));
      const AttentionGrads grads =
          attention_backward(dout, q, k, v, sliced.out, sliced.lse, kDocuments, options);
      EXPECT_TRUE(grads.dq.is_contiguous() && grads.dk.is_contiguous() && grads.dv.is_contiguous());
    }
  }
}

TEST_P(AttentionOn, DocumentsOfOneLengthMatchTheCpu) {
  std::vector<AttentionSpan> documents;
  for (int64_t i = 0; i < 3; ++i) documents.push_back({256 * i, 256, 256 * i, 256, 0});
  for (int64_t d : {64, 128}) {
    for (int64_t kv_heads : {8, 2}) {
      SCOPED_TRACE(cat("heads of ", d, ", ", kv_heads, " of keys"));
      AttentionOptions options;
      matches(inputs(768, 768, 8, kv_heads, d, at::kBFloat16), documents, options, 0.02);
    }
  }
}

TEST_P(AttentionOn, CudnnGivesWhatFlashGives) {
  const std::vector<AttentionSpan> documents = {{0, 256, 0, 256, 0}, {256, 256, 256, 256, 0}};
  AttentionOptions options;
  options.scale = 0.125;
  const Inputs in = inputs(512, 512, 8, 2, 64, at::kBFloat16);
  const at::Tensor q = put(in.q), k = put(in.k), v = put(in.v), dout = put(in.dout);
  if (!cudnn_applies(q, 256)) GTEST_SKIP() << "cuDNN is not asked on this GPU";
  const auto run = [&](VarlenEngine engine) { return attention_varlen(q, k, v, documents, options, engine); };
  const AttentionResult flash = run(VarlenEngine::flash), cudnn = run(VarlenEngine::cudnn);
  expect_close(back(cudnn.out), back(flash.out), 0.02);
  expect_close(back(cudnn.lse), back(flash.lse), 1e-3);
  // Either's backward takes either's results.
  const auto backward = [&](const AttentionResult& r, VarlenEngine engine) {
    return attention_varlen_backward(dout, q, k, v, r.out, r.lse, documents, options, engine);
  };
  const AttentionGrads a = backward(flash, VarlenEngine::flash);
  for (const AttentionResult& r : {flash, cudnn}) {
    const AttentionGrads b = backward(r, VarlenEngine::cudnn);
    expect_close(back(b.dq), back(a.dq), 0.05, 0.1);
    expect_close(back(b.dk), back(a.dk), 0.05, 0.1);
    expect_close(back(b.dv), back(a.dv), 0.05, 0.1);
  }
}

INSTANTIATE_TEST_SUITE_P(Gpu, AttentionOn, ::testing::Values(Place::device), place_name);

}  // namespace
}  // namespace tessera::kernels
