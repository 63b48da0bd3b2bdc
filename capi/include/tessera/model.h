/*
 * model.h - what is trained: an architecture and where its weights come from. A model holds no weights; a trainer
 * loads each rank's part of them.
 */
#ifndef TESSERA_MODEL_H
#define TESSERA_MODEL_H

#include "tessera/error.h"
#include "tessera/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Reads config.json of a Hugging Face directory; trainers load its safetensors.
 *  @return TESSERA_E_UNSUPPORTED for an unknown architecture, TESSERA_E_FORMAT for a broken file.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_model_open(const char *directory, tessera_model *out_model, tessera_error *err);

/** A model from the text of a config.json; trainers start it from seeded random weights.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_model_create(const char *config_json, tessera_model *out_model, tessera_error *err);

/** @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_model_destroy(tessera_model model);

/** The config.json as read.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_model_get_text(tessera_model model, char *buf, size_t cap, size_t *out_len,
                                                  tessera_error *err);

/** The number of trained values; shared ones (tied embeddings) count once.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_model_get_parameter_count(tessera_model model, int64_t *out_count,
                                                             tessera_error *err);

#ifdef __cplusplus
}
#endif

#endif
