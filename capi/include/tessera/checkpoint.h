/*
 * checkpoint.h - saving a training run and resuming it on this or another mesh, and writing a Hugging Face directory.
 */
#ifndef TESSERA_CHECKPOINT_H
#define TESSERA_CHECKPOINT_H

#include "tessera/error.h"
#include "tessera/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Saves weights, optimizer, step and random state, each rank its own part. The directory appears whole or not at
 *  all.
 *  @param dataset its position is saved too; {0}: none.
 *  @nullable dataset
 *  @threading one-at-a-time  @blocking yes  @collective mesh  @since 0.1 */
TESSERA_API tessera_status tessera_checkpoint_save(tessera_trainer trainer, const char *directory,
                                                   tessera_dataset dataset, tessera_error *err);

/** @see tessera_checkpoint_save  The dataset's position is taken before this returns.
 *  @nullable dataset
 *  @threading one-at-a-time  @blocking no  @collective mesh  @since 0.1 */
TESSERA_API tessera_status tessera_checkpoint_save_async(tessera_trainer trainer, const char *directory,
                                                         tessera_dataset dataset, tessera_future *out_future,
                                                         tessera_error *err);

/** Continues from a saved directory, whatever mesh wrote it.
 *  @param dataset is moved to the saved position; {0}: none.
 *  @nullable dataset
 *  @threading one-at-a-time  @blocking yes  @collective mesh  @since 0.1 */
TESSERA_API tessera_status tessera_checkpoint_load(tessera_trainer trainer, const char *directory,
                                                   tessera_dataset dataset, tessera_error *err);

/** @see tessera_checkpoint_load
 *  @nullable dataset
 *  @threading one-at-a-time  @blocking no  @collective mesh  @since 0.1 */
TESSERA_API tessera_status tessera_checkpoint_load_async(tessera_trainer trainer, const char *directory,
                                                         tessera_dataset dataset, tessera_future *out_future,
                                                         tessera_error *err);

/** Writes config.json and safetensors that transformers loads; each rank writes its own bytes of the final files.
 *  @param dtype "fp32", "bf16" or "fp16"; NULL: that of the master weights, so that nothing is lost.
 *  @nullable dtype
 *  @threading one-at-a-time  @blocking yes  @collective mesh  @since 0.1 */
TESSERA_API tessera_status tessera_checkpoint_export(tessera_trainer trainer, const char *directory, const char *dtype,
                                                     tessera_error *err);

/** @see tessera_checkpoint_export
 *  @nullable dtype
 *  @threading one-at-a-time  @blocking no  @collective mesh  @since 0.1 */
TESSERA_API tessera_status tessera_checkpoint_export_async(tessera_trainer trainer, const char *directory,
                                                           const char *dtype, tessera_future *out_future,
                                                           tessera_error *err);

#ifdef __cplusplus
}
#endif

#endif
