"""The models and documents that Tessera is compared on: tiny, of awkward shapes, one feature or more each."""

LLAMA = dict(family="Llama", vocab_size=101, hidden_size=72, intermediate_size=100, num_hidden_layers=2,
             num_attention_heads=6, num_key_value_heads=2, tie_word_embeddings=False)
LLAMA3_ROPE = dict(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                   original_max_position_embeddings=16)
LONGROPE = dict(rope_type="longrope", rope_theta=10000.0, original_max_position_embeddings=16,
                short_factor=[1.0, 1.1, 1.3, 1.4, 1.8, 2.5], long_factor=[1.0, 1.5, 2.0, 4.5, 8.0, 11.0])
PHI3 = dict(family="Phi3", vocab_size=109, hidden_size=48, intermediate_size=88, num_hidden_layers=2,
            num_attention_heads=6, num_key_value_heads=2, pad_token_id=None)
GEMMA3 = dict(family="Gemma3", config="Gemma3TextConfig", vocab_size=131, hidden_size=48, intermediate_size=84,
              num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, head_dim=14, sliding_window=5,
              query_pre_attn_scalar=20, pad_token_id=None,
              layer_types=["sliding_attention", "full_attention", "sliding_attention"])
GEMMA2 = dict(family="Gemma2", vocab_size=127, hidden_size=42, intermediate_size=100, num_hidden_layers=3,
              num_attention_heads=6, num_key_value_heads=3, head_dim=10, sliding_window=6, query_pre_attn_scalar=17,
              pad_token_id=None)
YARN = dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, original_max_position_embeddings=16)
DEEPSEEK = dict(family="DeepseekV3", vocab_size=89, hidden_size=56, intermediate_size=72, num_hidden_layers=2,
                num_attention_heads=4, num_key_value_heads=4, q_lora_rank=20, kv_lora_rank=24, qk_rope_head_dim=6,
                qk_nope_head_dim=10, v_head_dim=12, first_k_dense_replace=2, tie_word_embeddings=False,
                max_position_embeddings=64)

GPT_OSS = dict(family="GptOss", vocab_size=103, hidden_size=40, intermediate_size=24, num_hidden_layers=2,
               num_attention_heads=6, num_key_value_heads=3, head_dim=10, sliding_window=5, num_local_experts=5,
               num_experts_per_tok=2, max_position_embeddings=64, tie_word_embeddings=False)
GLM4_MOE = dict(family="Glm4Moe", vocab_size=107, hidden_size=48, intermediate_size=64, num_hidden_layers=3,
                num_attention_heads=6, num_key_value_heads=2, moe_intermediate_size=20, n_routed_experts=8,
                num_experts_per_tok=3)

# name -> config arguments; "family" picks the classes ("config" that of the configuration where it has another name),
# "documents" the lengths, "legacy" writes config.json in the style of transformers 4, "mxfp4" the checkpoint once more
# with its experts quantized, under mxfp4/.
CASES = {
    "llama": LLAMA,
    "llama_tied_biases_llama3_rope": LLAMA | dict(tie_word_embeddings=True, attention_bias=True, mlp_bias=True,
                                                  head_dim=20, rope_parameters=LLAMA3_ROPE, rms_norm_eps=1e-5),
    "llama_one_layer_mqa_linear_rope": LLAMA | dict(
        num_hidden_layers=1, num_key_value_heads=1,
        rope_parameters=dict(rope_type="linear", rope_theta=10000.0, factor=4.0),
        documents=list(range(1, 20)), legacy=True),
    "llama_mha_wide_vocab": LLAMA | dict(hidden_size=66, num_attention_heads=3, num_key_value_heads=3, vocab_size=1031,
                                         intermediate_size=130, documents=[70, 1, 64, 65]),
    "llama_usual_head_dim": LLAMA | dict(hidden_size=128, num_attention_heads=4, num_key_value_heads=2, head_dim=64,
                                         vocab_size=517, intermediate_size=320, num_hidden_layers=1,
                                         documents=[129, 1, 63, 200]),
    "mistral_long_documents": dict(family="Mistral", vocab_size=64, hidden_size=32, intermediate_size=48,
                                   num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=1, head_dim=8,
                                   sliding_window=70, documents=[300, 69, 70, 71, 257]),
    "mistral_window": dict(family="Mistral", vocab_size=97, hidden_size=48, intermediate_size=88, num_hidden_layers=3,
                           num_attention_heads=4, num_key_value_heads=2, head_dim=14, sliding_window=5),
    "mistral_null_window": dict(family="Mistral", vocab_size=97, hidden_size=48, intermediate_size=64,
                                num_hidden_layers=2, num_attention_heads=8, num_key_value_heads=2, sliding_window=None,
                                tie_word_embeddings=True, legacy=True),
    "qwen2_window_layers": dict(family="Qwen2", vocab_size=151, hidden_size=56, intermediate_size=72,
                                num_hidden_layers=3, num_attention_heads=7, num_key_value_heads=1,
                                use_sliding_window=True, sliding_window=4, max_window_layers=1,
                                tie_word_embeddings=True),
    "qwen2_layer_types": dict(family="Qwen2", vocab_size=151, hidden_size=64, intermediate_size=72,
                              num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4,
                              use_sliding_window=True, sliding_window=7, tie_word_embeddings=False,
                              layer_types=["sliding_attention", "full_attention"],
                              rope_parameters=dict(rope_type="default", rope_theta=1000000.0)),
    "qwen3": dict(family="Qwen3", vocab_size=113, hidden_size=40, intermediate_size=76, num_hidden_layers=2,
                  num_attention_heads=6, num_key_value_heads=3, head_dim=18, tie_word_embeddings=True,
                  rope_parameters=dict(rope_type="default", rope_theta=1000000.0)),
    "qwen3_bias_window": dict(family="Qwen3", vocab_size=113, hidden_size=44, intermediate_size=60,
                              num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=1, head_dim=16,
                              tie_word_embeddings=False, attention_bias=True, use_sliding_window=True,
                              sliding_window=6, max_window_layers=2),
    "mixtral": dict(family="Mixtral", vocab_size=89, hidden_size=48, intermediate_size=56, num_hidden_layers=2,
                    num_attention_heads=4, num_key_value_heads=2, num_local_experts=5, num_experts_per_tok=2),
    "mixtral_window_all_experts": dict(family="Mixtral", vocab_size=89, hidden_size=32, intermediate_size=40,
                                        num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=1,
                                        num_local_experts=3, num_experts_per_tok=3, sliding_window=6,
                                        tie_word_embeddings=True),
    "qwen3_moe": dict(family="Qwen3Moe", vocab_size=113, hidden_size=40, intermediate_size=76, num_hidden_layers=2,
                      num_attention_heads=6, num_key_value_heads=3, head_dim=18, moe_intermediate_size=20,
                      num_experts=8, num_experts_per_tok=3, norm_topk_prob=True, tie_word_embeddings=True),
    "qwen3_moe_some_dense": dict(family="Qwen3Moe", vocab_size=113, hidden_size=40, intermediate_size=76,
                                 num_hidden_layers=5, num_attention_heads=4, num_key_value_heads=2,
                                 moe_intermediate_size=24, num_experts=6, num_experts_per_tok=2, attention_bias=True,
                                 decoder_sparse_step=2, mlp_only_layers=[3], norm_topk_prob=False),
    "llama_longrope": LLAMA | dict(head_dim=12, max_position_embeddings=64, rope_parameters=LONGROPE | dict(factor=3.0)),
    "phi3": PHI3,
    # Rotary parts of 12 of 16 elements; documents on both sides of the 16 tokens where the factors change.
    "phi3_longrope_partial_window": PHI3 | dict(
        hidden_size=64, num_attention_heads=4, sliding_window=11, max_position_embeddings=64,
        original_max_position_embeddings=16, rope_parameters=LONGROPE | dict(partial_rotary_factor=0.75),
        documents=[16, 17, 1, 40, 15, 21]),
    "phi3_legacy_longrope_mha_tied": PHI3 | dict(
        num_attention_heads=4, num_key_value_heads=4, tie_word_embeddings=True, max_position_embeddings=64,
        original_max_position_embeddings=16, rope_parameters=LONGROPE | dict(attention_factor=1.25), legacy=True),
    "gemma3": GEMMA3 | dict(rope_parameters=dict(
        full_attention=dict(rope_type="linear", rope_theta=1000000.0, factor=8.0),
        sliding_attention=dict(rope_type="default", rope_theta=10000.0))),
    "gemma3_legacy_untied_soft_cap": GEMMA3 | dict(
        tie_word_embeddings=False, attention_bias=True, final_logit_softcapping=3.0, num_key_value_heads=1, legacy=True,
        layer_types=["full_attention", "sliding_attention", "sliding_attention"], rope_parameters=dict(
            full_attention=dict(rope_type="default", rope_theta=500000.0),
            sliding_attention=dict(rope_type="default", rope_theta=5000.0))),
    # Caps that bite: scores and logits of these weights reach them.
    "gemma2": GEMMA2 | dict(attn_logit_softcapping=1.5, final_logit_softcapping=2.5),
    "gemma2_untied_without_caps": GEMMA2 | dict(tie_word_embeddings=False, attn_logit_softcapping=None,
                                                final_logit_softcapping=None, attention_bias=True),
    "llama_yarn": LLAMA | dict(head_dim=32, max_position_embeddings=64, rope_parameters=YARN | dict(
        beta_fast=4.0, beta_slow=0.5, truncate=False), num_hidden_layers=1),
    # Values of another size than keys, neighbouring rotary pairs, a temperature in the scale and in the rotation.
    "deepseek_v3_dense": DEEPSEEK | dict(rope_parameters=YARN | dict(mscale=0.7, mscale_all_dim=1.3)),
    "deepseek_v3_dense_direct_queries": DEEPSEEK | dict(
        q_lora_rank=None, rope_interleave=False, attention_bias=True, tie_word_embeddings=True, v_head_dim=20,
        max_position_embeddings=256, documents=[70, 1, 64, 65]),
    "deepseek_v3_dense_legacy": DEEPSEEK | dict(
        num_hidden_layers=1, rope_parameters=YARN | dict(mscale=1.0, mscale_all_dim=1.0, beta_fast=32.0, beta_slow=1.0),
        legacy=True),
    "deepseek_v3": DEEPSEEK | dict(
        num_hidden_layers=3, first_k_dense_replace=1, moe_intermediate_size=24, n_routed_experts=8, n_shared_experts=2,
        num_experts_per_tok=3, n_group=4, topk_group=2, routed_scaling_factor=1.7),
    # Its own rotary settings: YaRN from 4096 positions to 32 times as many.
    "gpt_oss": GPT_OSS,
    "gpt_oss_legacy_tied": GPT_OSS | dict(
        num_hidden_layers=3, num_key_value_heads=1, num_local_experts=4, num_experts_per_tok=4, tie_word_embeddings=True,
        attention_bias=False, layer_types=["full_attention", "sliding_attention", "sliding_attention"],
        rope_parameters=YARN | dict(rope_theta=150000.0, beta_fast=8.0, beta_slow=1.0, truncate=False), legacy=True),
    "gpt_oss_mxfp4": GPT_OSS | dict(hidden_size=64, intermediate_size=32, num_hidden_layers=1, num_key_value_heads=2,
                                    num_local_experts=4, mxfp4=True),
    "glm4_moe": GLM4_MOE | dict(use_qk_norm=True, attention_bias=True, head_dim=12, n_group=2, topk_group=1,
                                routed_scaling_factor=2.5),
    "glm4_moe_legacy_tied": GLM4_MOE | dict(
        first_k_dense_replace=2, n_shared_experts=2, norm_topk_prob=False, tie_word_embeddings=True, head_dim=16,
        rope_parameters=dict(rope_type="default", rope_theta=1000000.0, partial_rotary_factor=0.75), legacy=True),
}

DOCUMENTS = [8, 1, 21, 2, 34, 3, 13, 5]
