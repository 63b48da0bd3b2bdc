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
    TESSERA_PLAN_PROGRAM = 1, /* the compiled step of rank 0, one instruction a line */
    TESSERA_PLAN_SEARCH = 2,  /* the fastest meshes that fit into the memory of the cluster, as a table */
    TESSERA_PLAN_SEARCH_JSON = 3 /* the same as a JSON object, with the recipe keys of each */
};

/** The plan of training `model` with `config` on `world_size` ranks, as text for a person. With the key cluster the
 *  summary says how long a step takes there. The parts TESSERA_PLAN_SEARCH and TESSERA_PLAN_SEARCH_JSON need that key: they
 *  keep the parallel, memory and batch keys that are set and search the others (docs/simulator.md). cluster=here measures
 *  this machine first, for two seconds. After TESSERA_E_BUFFER the next call with the same arguments gives the same text.
 *  @param part a tessera_plan_part.
 *  @return TESSERA_E_ARGUMENT when mesh, model and batch do not fit together.
 *  @threading any  @blocking yes  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_plan_get_text(tessera_model model, tessera_config config, int64_t world_size,
                                                 int32_t part, char *buf, size_t cap, size_t *out_len,
                                                 tessera_error *err);

enum tessera_timeline_format {
    TESSERA_TIMELINE_TEXT = 0,   /* a line per pipeline rank */
    TESSERA_TIMELINE_COLOUR = 1, /* the same with the colours of an ANSI terminal */
    TESSERA_TIMELINE_SVG = 2,    /* an image */
    TESSERA_TIMELINE_TRACE = 3   /* Trace Event JSON, for ui.perfetto.dev and chrome://tracing */
};

/* How a timeline is drawn, and what things cost beside computing a forward: 1 is the forward of a mean stage on one
 * micro-batch. 0 means the default in every field. */
typedef struct tessera_timeline_options {
    size_t struct_size;
    int32_t format;    /* a tessera_timeline_format */
    int32_t columns;   /* of text: 40 to 1000; default 100 */
    double backward;   /* a backward, in forwards of the same unit; default 2 */
    double collective; /* to gather or reduce the weights of a mean stage, beside computing; default 0 */
    double transfer;   /* of activations or gradients from stage to stage; default 0 */
} tessera_timeline_options;

/** Fills options with defaults.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_timeline_options_init(tessera_timeline_options *options, size_t struct_size);

/** A picture of the step: which pipeline rank computes which micro-batch when, with the bubbles, if units cost what their
 *  matrices weigh.
 *  @param options NULL: defaults.
 *  @nullable options
 *  @return TESSERA_E_ARGUMENT when mesh, model and batch do not fit together, or the step is too long for a picture.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_plan_get_timeline(tessera_model model, tessera_config config, int64_t world_size,
                                                     const tessera_timeline_options *options, char *buf, size_t cap,
                                                     size_t *out_len, tessera_error *err);

#ifdef __cplusplus
}
#endif

#endif
