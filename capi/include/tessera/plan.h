/*
 * plan.h - what a job will do, before anything is loaded or connected.
 */
#ifndef TESSERA_PLAN_H
#define TESSERA_PLAN_H

#include "tessera/error.h"
#include "tessera/types.h"

#ifdef __cplusplus
extern "C" {
#endif

enum tessera_plan_part {
    TESSERA_PLAN_SUMMARY = 0, /* mesh, units, memory per rank */
    TESSERA_PLAN_PROGRAM = 1  /* the compiled step of rank 0, one instruction a line */
};

/** The plan of training `model` with `config` on `world_size` ranks, as text for a person.
 *  @param part a tessera_plan_part.
 *  @return TESSERA_E_ARGUMENT when mesh, model and batch do not fit together.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_plan_get_text(tessera_model model, tessera_config config, int64_t world_size,
                                                 int32_t part, char *buf, size_t cap, size_t *out_len,
                                                 tessera_error *err);

#ifdef __cplusplus
}
#endif

#endif
