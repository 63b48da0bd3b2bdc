// The common decoder: embedding, pre-norm layers, head, under the names that transformers gives their
// weights.
#include "core/error.h"
#include "models/family.h"
#include "nn/decoder_layer.h"
#include "nn/embedding.h"
#include "nn/head.h"

namespace tessera {

std::vector<std::unique_ptr<Unit>> build_decoder(const ModelConfig& config, const ParallelContext& parallel) {
  const int tp = parallel.tp ? parallel.tp->size() : 1;
  TESSERA_CHECK(tp == 1, unsupported, "tp=", tp, " is not supported yet: 1 is");
  const int cp = parallel.cp ? parallel.cp->size() : 1;

  const auto rope = std::make_shared<RopeCache>(config.head_dim, config.rope_theta, config.rope_scaling, cp);
  const double std = config.initializer_range;
  std::vector<std::unique_ptr<Unit>> units;
  units.push_back(
      std::make_unique<EmbeddingUnit>("model.embed_tokens", config.vocab_size, config.hidden_size, std));
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
                      std};
    spec.mlp = {config.hidden_size, config.intermediate_size, config.mlp_bias, std};
    spec.norm_eps = config.rms_norm_eps;
    units.push_back(std::make_unique<DecoderLayer>(cat("model.layers.", layer), spec, rope));
  }
  units.push_back(std::make_unique<DecoderHead>("model.norm", "lm_head", config.vocab_size,
                                                config.hidden_size, config.rms_norm_eps, std,
                                                config.tie_embeddings));
  return units;
}

}  // namespace tessera
