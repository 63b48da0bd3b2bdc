/*
 * trainer.h - one rank's part of training a model on a mesh: steps, evaluation, generation, weights and gradients.
 */
#ifndef TESSERA_TRAINER_H
#define TESSERA_TRAINER_H

#include "tessera/error.h"
#include "tessera/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a step reports. All ranks get the same loss, grad_norm, tokens and label_tokens. */
typedef struct tessera_metrics {
    size_t struct_size;
    int64_t step;     /* from 1 */
    double loss;      /* sum of token losses over all ranks / label_tokens */
    double grad_norm; /* over all ranks, before clipping */
    double lr;
    int64_t tokens;       /* over all ranks */
    int64_t label_tokens; /* those trained on */
    double seconds;
    double tokens_per_s;          /* over all ranks */
    double communication_seconds; /* what this rank waited for others or moved data */
    int64_t memory;               /* peak bytes of this rank; ranks of one process share the number */
    /* Of models with experts, over all ranks; else 0. An expert's load is the number of tokens that chose it. */
    double expert_load_ratio;   /* the largest load / the mean, of the layer where that is largest */
    double expert_idle;         /* the share of all layers' experts that no token chose */
    double expert_balance_loss; /* mean over tokens and layers, before moe.balance_loss; 0 when that is 0 */
    double expert_z_loss;       /* likewise of moe.z_loss */
    int64_t memory_reserved;    /* peak bytes that the GPU's allocator held, those without a tensor too; 0 on CPUs */
} tessera_metrics;

/* How tokens are chosen. 0 means the default in every field. */
typedef struct tessera_generate_options {
    size_t struct_size;
    int64_t max_new_tokens; /* 64 */
    int64_t top_k;          /* sample from the likeliest so many; 0: all */
    int64_t seed;
    double temperature; /* 0: always the likeliest token */
    double top_p;       /* sample from the likeliest that hold this probability; 0: all */
} tessera_generate_options;

/** Prepares a metrics struct to be filled.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_metrics_init(tessera_metrics *metrics, size_t struct_size);

/** Fills options with defaults.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_generate_options_init(tessera_generate_options *options, size_t struct_size);

/* ---- Creation ------------------------------------------------------------------------------------------------- */

/** Shards the model over the mesh and loads this rank's part of the weights.
 *  @param config keys train.*, optimizer.*, schedule.*, parallel.*, precision.*, memory.*; {0}: defaults. Later
 *         changes of it have no effect.
 *  @nullable config
 *  @threading one-at-a-time  @blocking yes  @collective mesh  @since 0.1 */
TESSERA_API tessera_status tessera_trainer_create(tessera_mesh mesh, tessera_model model, tessera_config config,
                                                  tessera_trainer *out_trainer, tessera_error *err);

/** @see tessera_trainer_create  The result is taken by tessera_future_get_trainer.
 *  @nullable config
 *  @threading one-at-a-time  @blocking no  @collective mesh  @since 0.1 */
TESSERA_API tessera_status tessera_trainer_create_async(tessera_mesh mesh, tessera_model model, tessera_config config,
                                                        tessera_future *out_future, tessera_error *err);

/** @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_trainer_destroy(tessera_trainer trainer);

/** Sends this trainer's metrics and failures to a queue as events; {0} stops it.
 *  @nullable events
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_trainer_set_events(tessera_trainer trainer, tessera_events events,
                                                      tessera_error *err);

/* ---- Training ------------------------------------------------------------------------------------------------- */

/** One optimizer step over this rank's micro-batches, whose number is equal on all ranks. After an error the trainer
 *  holds the weights of the step before, unless the message says otherwise.
 *  @return TESSERA_E_NUMERIC when loss or gradient norm is not finite.
 *  @nullable out_metrics
 *  @threading one-at-a-time  @blocking yes  @collective mesh  @since 0.1 */
TESSERA_API tessera_status tessera_trainer_step(tessera_trainer trainer, tessera_batch batch,
                                                tessera_metrics *out_metrics, tessera_error *err);

/** @see tessera_trainer_step  The result is read by tessera_future_get_metrics.
 *  @threading one-at-a-time  @blocking no  @collective mesh  @since 0.1 */
TESSERA_API tessera_status tessera_trainer_step_async(tessera_trainer trainer, tessera_batch batch,
                                                      tessera_future *out_future, tessera_error *err);

/** Adds the gradients of a batch. Several calls accumulate.
 *  @param label_tokens what the loss is divided by: the labels of all batches of the step over all ranks; 0: those
 *         of this batch.
 *  @nullable out_metrics
 *  @threading one-at-a-time  @blocking yes  @collective mesh  @since 0.1 */
TESSERA_API tessera_status tessera_trainer_forward_backward(tessera_trainer trainer, tessera_batch batch,
                                                            int64_t label_tokens, tessera_metrics *out_metrics,
                                                            tessera_error *err);

/** @see tessera_trainer_forward_backward  The result is read by tessera_future_get_metrics.
 *  @threading one-at-a-time  @blocking no  @collective mesh  @since 0.1 */
TESSERA_API tessera_status tessera_trainer_forward_backward_async(tessera_trainer trainer, tessera_batch batch,
                                                                  int64_t label_tokens, tessera_future *out_future,
                                                                  tessera_error *err);

/** Clips the gradients, updates the weights and forgets the gradients.
 *  @nullable out_metrics
 *  @threading one-at-a-time  @blocking yes  @collective mesh  @since 0.1 */
TESSERA_API tessera_status tessera_trainer_optimizer_step(tessera_trainer trainer, tessera_metrics *out_metrics,
                                                          tessera_error *err);

/** @see tessera_trainer_optimizer_step  The result is read by tessera_future_get_metrics.
 *  @threading one-at-a-time  @blocking no  @collective mesh  @since 0.1 */
TESSERA_API tessera_status tessera_trainer_optimizer_step_async(tessera_trainer trainer, tessera_future *out_future,
                                                                tessera_error *err);

/** Forgets the gradients.
 *  @threading one-at-a-time  @blocking yes  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_trainer_zero_grad(tessera_trainer trainer, tessera_error *err);

/** The number of optimizer steps so far, also those before a checkpoint was loaded.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_trainer_get_step_count(tessera_trainer trainer, int64_t *out_steps,
                                                          tessera_error *err);

/* ---- Evaluation ----------------------------------------------------------------------------------------------- */

/** The loss of a batch, without gradients: fills loss and label_tokens.
 *  @threading one-at-a-time  @blocking yes  @collective mesh  @since 0.1 */
TESSERA_API tessera_status tessera_trainer_evaluate(tessera_trainer trainer, tessera_batch batch,
                                                    tessera_metrics *out_metrics, tessera_error *err);

/** @see tessera_trainer_evaluate  The result is read by tessera_future_get_metrics.
 *  @threading one-at-a-time  @blocking no  @collective mesh  @since 0.1 */
TESSERA_API tessera_status tessera_trainer_evaluate_async(tessera_trainer trainer, tessera_batch batch,
                                                          tessera_future *out_future, tessera_error *err);

/** Continues a prompt; every rank passes the same prompt and gets the same tokens.
 *  @param buf receives the new tokens without the prompt; `cap` must be at least max_new_tokens, else
 *         TESSERA_E_BUFFER before any work is done.
 *  @nullable options
 *  @threading one-at-a-time  @blocking yes  @collective mesh  @since 0.1 */
TESSERA_API tessera_status tessera_trainer_generate(tessera_trainer trainer, const int64_t *prompt, int64_t n_prompt,
                                                    const tessera_generate_options *options, int64_t *buf, size_t cap,
                                                    size_t *out_len, tessera_error *err);

/** @see tessera_trainer_generate  The result is read by tessera_future_get_tokens.
 *  @nullable options
 *  @threading one-at-a-time  @blocking no  @collective mesh  @since 0.1 */
TESSERA_API tessera_status tessera_trainer_generate_async(tessera_trainer trainer, const int64_t *prompt,
                                                          int64_t n_prompt, const tessera_generate_options *options,
                                                          tessera_future *out_future, tessera_error *err);

/** Logits [tokens, vocabulary] in f32 of a batch's first micro-batch. For tests and small models.
 *  @threading one-at-a-time  @blocking yes  @collective mesh  @since 0.1 */
TESSERA_API tessera_status tessera_trainer_get_logits(tessera_trainer trainer, tessera_batch batch,
                                                      tessera_tensor *out_logits, tessera_error *err);

/** @see tessera_trainer_get_logits  The result is taken by tessera_future_get_tensor.
 *  @threading one-at-a-time  @blocking no  @collective mesh  @since 0.1 */
TESSERA_API tessera_status tessera_trainer_get_logits_async(tessera_trainer trainer, tessera_batch batch,
                                                            tessera_future *out_future, tessera_error *err);

/* ---- Weights and gradients by name ---------------------------------------------------------------------------- */

/** The number of parameter tensors of the whole model.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_trainer_count_parameters(tessera_trainer trainer, int64_t *out_count,
                                                            tessera_error *err);

/** The Hugging Face name of parameter `index`, from 0: "model.layers.0.self_attn.q_proj.weight".
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_trainer_get_parameter_name(tessera_trainer trainer, int64_t index, char *buf,
                                                              size_t cap, size_t *out_len, tessera_error *err);

/** The full weight, gathered, in the master dtype; a copy.
 *  @threading one-at-a-time  @blocking yes  @collective mesh  @since 0.1 */
TESSERA_API tessera_status tessera_trainer_get_parameter(tessera_trainer trainer, const char *name,
                                                         tessera_tensor *out_tensor, tessera_error *err);

/** @see tessera_trainer_get_parameter  The result is taken by tessera_future_get_tensor.
 *  @threading one-at-a-time  @blocking no  @collective mesh  @since 0.1 */
TESSERA_API tessera_status tessera_trainer_get_parameter_async(tessera_trainer trainer, const char *name,
                                                               tessera_future *out_future, tessera_error *err);

/** The full gradient of the last forward_backward, before clipping, in f32; a copy.
 *  @threading one-at-a-time  @blocking yes  @collective mesh  @since 0.1 */
TESSERA_API tessera_status tessera_trainer_get_gradient(tessera_trainer trainer, const char *name,
                                                        tessera_tensor *out_tensor, tessera_error *err);

/** @see tessera_trainer_get_gradient  The result is taken by tessera_future_get_tensor.
 *  @threading one-at-a-time  @blocking no  @collective mesh  @since 0.1 */
TESSERA_API tessera_status tessera_trainer_get_gradient_async(tessera_trainer trainer, const char *name,
                                                              tessera_future *out_future, tessera_error *err);

/** Overwrites a weight with a full tensor of its shape, which every rank passes.
 *  @threading one-at-a-time  @blocking yes  @collective mesh  @since 0.1 */
TESSERA_API tessera_status tessera_trainer_set_parameter(tessera_trainer trainer, const char *name,
                                                         tessera_tensor tensor, tessera_error *err);

/** @see tessera_trainer_set_parameter
 *  @threading one-at-a-time  @blocking no  @collective mesh  @since 0.1 */
TESSERA_API tessera_status tessera_trainer_set_parameter_async(tessera_trainer trainer, const char *name,
                                                               tessera_tensor tensor, tessera_future *out_future,
                                                               tessera_error *err);

/** The compiled step of this rank for `microbatches` micro-batches, one instruction a line.
 *  @threading one-at-a-time  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_trainer_get_program(tessera_trainer trainer, int64_t microbatches, char *buf,
                                                       size_t cap, size_t *out_len, tessera_error *err);

#ifdef __cplusplus
}
#endif

#endif
