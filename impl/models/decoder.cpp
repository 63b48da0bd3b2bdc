// The common decoder: embedding, pre-norm layers, head, under the names that transformers gives their
// weights.
#include "core/error.h"
#include "models/family.h"
#include "nn/decoder_layer.h"
#include "nn/embedding.h"
#include "nn/head.h"

namespace tessera {

namespace {

constexpr const char* kEmbedding = "model.embed_tokens";

void check_split(const ModelConfig& config, int64_t tp) {
  TESSERA_CHECK(config.num_heads % tp == 0, argument, "tp=", tp,
                " does not divide num_attention_heads=", config.num_heads);
  TESSERA_CHECK(config.num_kv_heads % tp == 0 || tp % config.num_kv_heads == 0, argument, "tp=", tp,
                " and num_key_value_heads=", config.num_kv_heads, " do not divide one another");
  TESSERA_CHECK(config.intermediate_size % tp == 0, argument, "tp=", tp,
                " does not divide intermediate_size=", config.intermediate_size);
}

}  // namespace

std::vector<std::unique_ptr<Unit>> build_decoder(const ModelConfig& config, const ParallelContext& parallel) {
  check_split(config, parallel.tp_size);
  const TensorRegion region(parallel, /*split=*/true);

  const auto rope = std::make_shared<RopeCache>(config.head_dim, config.rope_theta, config.rope_scaling);
  const double std = config.initializer_range;
  const bool copied = config.tie_embeddings && parallel.split_ends;
  std::vector<std::unique_ptr<Unit>> units;
  units.push_back(std::make_unique<EmbeddingUnit>(kEmbedding, config.vocab_size, config.hidden_size, std,
                                                  region, /*stage_copies=*/copied ? 2 : 1));
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    DecoderLayerSpec spec;
    spec.attention = {config.hidden_size,
                      config.num_heads,
                      config.num_kv_heads,
                      config.head_dim,
                      config.sliding_window.at(layer),
                      config.qkv_bias,
                      config.attention_bias,
                      config.qk_norm,
                      config.rms_norm_eps,
                      std,
                      region};
    spec.mlp = {config.hidden_size, config.intermediate_size, config.mlp_bias, std, region};
    spec.norm_eps = config.rms_norm_eps;
    spec.sequence_parallel = region.sequence_parallel();
    units.push_back(std::make_unique<DecoderLayer>(cat("model.layers.", layer), spec, rope));
  }
  HeadSpec head{
      config.vocab_size, config.hidden_size, config.rms_norm_eps, std, HeadSpec::Projection::own, region};
  if (config.tie_embeddings) {
    head.projection = copied ? HeadSpec::Projection::copied : HeadSpec::Projection::borrowed;
  }
  units.push_back(std::make_unique<DecoderHead>("model.norm", copied ? kEmbedding : "lm_head", head));
  return units;
}

}  // namespace tessera
