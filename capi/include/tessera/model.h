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

/** Registers a tensor-parallel plan under a name, for jobs of this model that ask for it with parallel.tp_plan=NAME; a plan of
 *  that name is replaced. Trainers that exist keep theirs. Every rank registers the same.
 *  @param name 1 to 64 letters, digits, '_', '-' and '.'; not auto, architecture, checkpoint or generic.
 *  @param plan a JSON or YAML map of name patterns and styles; whether it fits the model is checked where it is used.
 *  @return TESSERA_E_FORMAT for what is no such map, TESSERA_E_ARGUMENT for a name or a style that cannot be.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_model_set_tp_plan(tessera_model model, const char *name, const char *plan,
                                                     tessera_error *err);

/** Like tessera_model_open, with the architectures of a plugin before the built-in ones: a shared library of C++, built with
 *  the sources of this library, which stays loaded for the life of the process.
 *  @param plugin its file.
 *  @return TESSERA_E_NOT_FOUND, TESSERA_E_IO when it cannot be loaded, TESSERA_E_UNSUPPORTED when it is of another build.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_model_open_plugin(const char *directory, const char *plugin, tessera_model *out_model,
                                                     tessera_error *err);

/** Like tessera_model_create, with a plugin as in tessera_model_open_plugin.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_model_create_plugin(const char *config_json, const char *plugin,
                                                       tessera_model *out_model, tessera_error *err);

#ifdef __cplusplus
}
#endif

#endif
