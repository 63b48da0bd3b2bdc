// The units' backward is the derivative of their forward, documents never see each other, and recompute,
// chunking and merged GEMMs change no number.
#include <gtest/gtest.h>

#include <ATen/ops/equal.h>

#include <cmath>
#include <random>

#include "core/error.h"
#include "nn/head.h"
#include "support/single_rank.h"

namespace tessera {
namespace {

using testing::random_batch;
using testing::relative_error;
using testing::SingleRankModel;

ModelConfig small_config() {
  ModelConfig config;
  config.architecture = "LlamaForCausalLM";
  config.vocab_size = 37;
  config.hidden_size = 24;
  config.intermediate_size = 40;
  config.num_layers = 2;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 10;
  config.sliding_window = {0, 3};
  return config;
}

/// Everything that a family can switch on, at once.
ModelConfig rich_config() {
  ModelConfig config = small_config();
  config.qkv_bias = config.attention_bias = config.mlp_bias = config.qk_norm = true;
  config.tie_embeddings = true;
  config.rope_scaling = {RopeScaling::Kind::llama3, 8, 1, 4, 64, {}, {}};
  return config;
}

/// What Gemma and Phi add: sandwich norms, caps that bite, two rotary tables, factors by document length,
/// rotary parts.
ModelConfig gemma_config() {
  ModelConfig config = small_config();
  config.qk_norm = config.sandwich_norms = config.tie_embeddings = true;
  config.norm_gain = kernels::NormGain::one_plus_weight;
  config.activation = Activation::gelu_tanh;
  config.embedding_scale = 4.9;
  config.attention_scale = 0.4;
  config.attention_soft_cap = 1.5;
  config.logit_soft_cap = 2;
  config.local_rope_theta = 500;
  config.rotary_dim = 6;
  config.rope_scaling.kind = RopeScaling::Kind::longrope;
  config.rope_scaling.original_max_positions = 4;
  config.rope_scaling.short_factor = {1, 1.2, 2};
  config.rope_scaling.long_factor = {1, 3, 7};
  config.rope_scaling.attention_factor = 1.3;
  return config;
}

/// Latent attention, with a latent for queries or without.
ModelConfig latent_config(int64_t q_rank) {
  ModelConfig config = small_config();
  config.sliding_window = {0, 0};
  config.num_kv_heads = 4;
  config.latent.kv_rank = 14;
  config.latent.q_rank = q_rank;
  config.latent.plain_dim = 10;
  config.latent.rope_dim = 6;
  config.latent.value_dim = 7;
  config.latent.scale = 0.3;
  config.latent.pairs = q_rank > 0 ? kernels::RopePairs::neighbours : kernels::RopePairs::halves;
  config.head_dim = 16;
  config.attention_bias = true;
  return config;
}

ModelConfig sinks_config() {
  ModelConfig config = rich_config();
  config.attention_sinks = true;
  return config;
}

const std::vector<int64_t> kLengths = {5, 1, 9, 3};

/// The directional derivative of the loss along a random direction in one weight, by central differences with
/// two step sizes (Richardson), against the gradient that backward gives.
void check_gradients(const ModelConfig& config, bool flat) {
  SingleRankModel model(config, at::kFloat, flat);
  const PackedBatch batch = random_batch(kLengths, config.vocab_size, 3, 0.2, 4);
  const double scale = 1.0 / static_cast<double>(batch.label_count);
  model.forward_backward(batch, scale);
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  for (const std::string& name : model.names()) {
    const at::Tensor weight = model.weight(name);
    const at::Tensor grad = model.grad(name);
    const at::Tensor start = weight.clone();
    // Mostly along the gradient, so that the derivative stands well above float32 rounding.
    at::Tensor direction = weight.clone();
    float* data = direction.mutable_data_ptr<float>();
    for (int64_t i = 0; i < direction.numel(); ++i) data[i] = normal(random);
    direction.div_(direction.norm()).mul_(0.3).add_(grad.div(grad.norm().add(1e-12)));
    const auto loss_at = [&](double step) {
      weight.copy_(start.add(direction, step));
      const double loss = model.loss(batch) * scale;
      weight.copy_(start);
      return loss;
    };
    const double h = 2e-2;
    const double coarse = (loss_at(h) - loss_at(-h)) / (2 * h);
    const double fine = (loss_at(h / 2) - loss_at(-h / 2)) / h;
    const double numeric = (4 * fine - coarse) / 3;
    const double analytic = grad.mul(direction).sum().item<double>();
    EXPECT_NEAR(numeric, analytic, 2e-3 * std::abs(analytic) + 3e-5) << name;
  }
}

TEST(UnitsTest, GradientsAreTheDerivativeOfTheLoss) {
  check_gradients(small_config(), true);
}
TEST(UnitsTest, GradientsAreTheDerivativeOfTheLossWithEveryOption) {
  check_gradients(rich_config(), true);
}
TEST(UnitsTest, GradientsAreTheDerivativeOfTheLossWithGemmasOptions) {
  check_gradients(gemma_config(), true);
}
TEST(UnitsTest, GradientsAreTheDerivativeOfTheLossWithSeparateWeights) {
  check_gradients(rich_config(), false);
}

TEST(UnitsTest, GradientsAreTheDerivativeOfTheLossWithLatents) {
  check_gradients(latent_config(18), true);
  check_gradients(latent_config(18), false);
  check_gradients(latent_config(0), true);
}
TEST(UnitsTest, GradientsAreTheDerivativeOfTheLossWithSinks) {
  check_gradients(sinks_config(), true);
}

TEST(UnitsTest, MergedAndSeparateProjectionsAgree) {
  const PackedBatch batch = random_batch(kLengths, 37, 3);
  SingleRankModel merged(rich_config(), at::kFloat, true);
  SingleRankModel separate(rich_config(), at::kFloat, false);
  EXPECT_NEAR(merged.forward_backward(batch, 0.1), separate.forward_backward(batch, 0.1), 1e-4);
  for (const std::string& name : merged.names()) {
    EXPECT_LT(relative_error(merged.grad(name), separate.grad(name), 1e-6), 1e-5) << name;
  }
}

TEST(UnitsTest, RecomputeChangesNoBitAndSavesMemory) {
  for (const ModelConfig& config :
       {small_config(), rich_config(), gemma_config(), latent_config(18), latent_config(0), sinks_config()}) {
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      const PackedBatch batch = random_batch(kLengths, config.vocab_size, 5, 0.3);
      SingleRankModel keeping(config, dtype, true);
      const double expected = keeping.forward_backward(batch, 0.1, Recompute::none);
      int64_t bytes = keeping.saved_bytes();
      for (const Recompute mode : {Recompute::selective, Recompute::mlp, Recompute::full}) {
        SingleRankModel model(config, dtype, true);
        EXPECT_EQ(model.forward_backward(batch, 0.1, mode), expected);
        for (const std::string& name : model.names()) {
          EXPECT_TRUE(at::equal(model.grad(name), keeping.grad(name))) << name;
        }
        EXPECT_LT(model.saved_bytes(), bytes);
        bytes = model.saved_bytes();
      }
    }
  }
}

TEST(UnitsTest, ADocumentNeverSeesAnother) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const ModelConfig config = rich_config();
    SingleRankModel model(config, dtype, true);
    for (const int64_t multiple : {1, 4}) {
      const PackedBatch batch = random_batch(kLengths, config.vocab_size, 3, 0, multiple);
      const at::Tensor before = model.logits(batch);
      const int32_t* begins = batch.cu_seqlens_padded.const_data_ptr<int32_t>();
      for (size_t changed = 0; changed < kLengths.size(); ++changed) {
        PackedBatch other = batch;
        other.tokens = batch.tokens.clone();
        // All of the document and its padding.
        at::Tensor part = other.tokens.narrow(0, begins[changed], begins[changed + 1] - begins[changed]);
        part.copy_(part.add(1).remainder(config.vocab_size));
        const at::Tensor after = model.logits(other);
        for (size_t d = 0; d < kLengths.size(); ++d) {
          const at::Tensor x = before.narrow(0, begins[d], kLengths[d]);
          const at::Tensor y = after.narrow(0, begins[d], kLengths[d]);
          EXPECT_EQ(at::equal(x, y), d != changed) << "document " << d << " after a change of " << changed;
        }
      }
    }
  }
}

TEST(UnitsTest, AlignmentPaddingChangesNothing) {
  const ModelConfig config = rich_config();
  SingleRankModel model(config, at::kFloat, true);
  SingleRankModel padded(config, at::kFloat, true);
  const double loss = model.forward_backward(random_batch(kLengths, 37, 3, 0, 1), 0.1);
  EXPECT_NEAR(padded.forward_backward(random_batch(kLengths, 37, 3, 0, 8), 0.1), loss, 1e-5 * loss);
  for (const std::string& name : model.names()) {
    EXPECT_LT(relative_error(padded.grad(name), model.grad(name), 1e-6), 1e-5) << name;
  }
}

TEST(UnitsTest, TheLossChunkChangesOnlyRounding) {
  const ModelConfig config = rich_config();
  const PackedBatch batch = random_batch({40, 20}, 37, 3, 0.3);
  SingleRankModel whole(config, at::kFloat, true);
  const double expected = whole.forward_backward(batch, 0.1, Recompute::none, 1000);
  for (const int64_t chunk : {1, 7, 16}) {
    SingleRankModel model(config, at::kFloat, true);
    EXPECT_NEAR(model.forward_backward(batch, 0.1, Recompute::none, chunk), expected, 1e-6 * expected);
    for (const std::string& name : model.names()) {
      EXPECT_LT(relative_error(model.grad(name), whole.grad(name), 1e-6), 1e-5) << name;
    }
  }
}

TEST(UnitsTest, IgnoredLabelsCountNothing) {
  ModelConfig config = small_config();
  SingleRankModel model(config, at::kFloat, true);
  PackedBatch batch = random_batch({6, 4}, config.vocab_size, 3);
  const double whole = model.forward_backward(batch, 1.0);
  // The loss is a sum over labelled tokens: two halves of the labels give two parts of it.
  PackedBatch first = batch;
  PackedBatch second = batch;
  first.labels = batch.labels.clone();
  second.labels = batch.labels.clone();
  first.labels.narrow(0, 0, 5).fill_(kIgnoredLabel);
  second.labels.narrow(0, 5, 5).fill_(kIgnoredLabel);
  SingleRankModel halves(config, at::kFloat, true);
  const double sum = halves.forward_backward(first, 1.0) + halves.accumulate(second, 1.0);
  EXPECT_NEAR(sum, whole, 1e-5 * whole);
  for (const std::string& name : model.names()) {
    EXPECT_LT(relative_error(halves.grad(name), model.grad(name), 1e-6), 1e-5) << name;
  }
}

TEST(UnitsTest, ABatchWithoutLabelsGivesZeroLossAndZeroGradients) {
  SingleRankModel model(rich_config(), at::kFloat, true);
  const PackedBatch full = random_batch(kLengths, 37, 3);
  PackedBatch empty = full;
  empty.labels = full.labels.clone().fill_(kIgnoredLabel);
  model.forward_backward(full, 1.0);
  EXPECT_EQ(model.forward_backward(empty, 1.0), 0.0);
  for (const std::string& name : model.names())
    EXPECT_EQ(model.grad(name).abs().max().item<float>(), 0.0F) << name;
}

TEST(UnitsTest, BadTokensAndLabelsAreErrors) {
  SingleRankModel model(small_config(), at::kFloat, true);
  for (const int64_t bad : {int64_t{37}, int64_t{-1}, int64_t{1} << 40}) {
    PackedBatch batch = random_batch({4}, 37, 3);
    batch.tokens = batch.tokens.clone();
    batch.tokens[1].fill_(bad);
    EXPECT_THROW(model.loss(batch), Error);
  }
  PackedBatch batch = random_batch({4}, 37, 3);
  batch.labels = batch.labels.clone();
  batch.labels[1].fill_(37);
  EXPECT_THROW(model.loss(batch), Error);
}

TEST(UnitsTest, NamesAndShapesAreThoseOfTransformers) {
  ModelConfig config = rich_config();
  config.num_layers = 1;
  config.sliding_window = {0};
  config.tie_embeddings = false;
  const auto units = build_units(config, {});
  std::map<std::string, std::vector<int64_t>> shapes;
  for (const auto& unit : units) {
    for (const ParamSpec& spec : unit->params()) {
      shapes[spec.name] = spec.shape;
      EXPECT_EQ(spec.decay, spec.shape.size() > 1) << spec.name;
    }
  }
  const std::string layer = "model.layers.0.";
  const std::map<std::string, std::vector<int64_t>> expected = {
      {"model.embed_tokens.weight", {37, 24}},
      {layer + "self_attn.q_proj.weight", {40, 24}},
      {layer + "self_attn.k_proj.weight", {20, 24}},
      {layer + "self_attn.v_proj.weight", {20, 24}},
      {layer + "self_attn.o_proj.weight", {24, 40}},
      {layer + "self_attn.q_proj.bias", {40}},
      {layer + "self_attn.k_proj.bias", {20}},
      {layer + "self_attn.v_proj.bias", {20}},
      {layer + "self_attn.o_proj.bias", {24}},
      {layer + "self_attn.q_norm.weight", {10}},
      {layer + "self_attn.k_norm.weight", {10}},
      {layer + "mlp.gate_proj.weight", {40, 24}},
      {layer + "mlp.up_proj.weight", {40, 24}},
      {layer + "mlp.down_proj.weight", {24, 40}},
      {layer + "mlp.gate_proj.bias", {40}},
      {layer + "mlp.up_proj.bias", {40}},
      {layer + "mlp.down_proj.bias", {24}},
      {layer + "input_layernorm.weight", {24}},
      {layer + "post_attention_layernorm.weight", {24}},
      {"model.norm.weight", {24}},
      {"lm_head.weight", {37, 24}}};
  EXPECT_EQ(shapes, expected);
}

TEST(LossChunk, IsSmallOnCpusAndEvenOnDevices) {
  constexpr int64_t kRow = 128256 * 2;
  EXPECT_EQ(loss_chunk_rows(16384, kRow, /*on_device=*/false), 261);
  EXPECT_EQ(loss_chunk_rows(16384, kRow, true), 4096);
  EXPECT_EQ(loss_chunk_rows(16380, kRow, true), 4096);
  // Just beyond one chunk: two of half the rows, none of a few.
  EXPECT_EQ(loss_chunk_rows(4200, kRow, true), 2176);
  EXPECT_EQ(loss_chunk_rows(100, int64_t{1} << 30, true), 128);
  EXPECT_GE(loss_chunk_rows(100, 64, true), 100);
}

}  // namespace
}  // namespace tessera
