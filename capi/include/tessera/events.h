/*
 * events.h - metrics, log lines and failures as a queue that the host pulls from; no callbacks. A full queue drops
 * its oldest metrics and log lines and counts them; failures are never dropped.
 */
#ifndef TESSERA_EVENTS_H
#define TESSERA_EVENTS_H

#include "tessera/error.h"
#include "tessera/types.h"

#ifdef __cplusplus
extern "C" {
#endif

enum tessera_event_type {
    TESSERA_EVENT_METRICS = 1,
    TESSERA_EVENT_LOG = 2,
    TESSERA_EVENT_FAILURE = 3,
    TESSERA_EVENT_CHECKPOINT = 4 /* saved; the message is the directory */
};

typedef struct tessera_event {
    size_t struct_size;
    int32_t type;    /* a tessera_event_type */
    int32_t rank;    /* whose event it is; -1: of no rank */
    int32_t level;   /* of a log line, a tessera_log_level */
    int32_t status;  /* of a failure, a tessera_status */
    int64_t time_ns; /* since 1970, UTC */
    int64_t dropped; /* events lost before this one since the last one was taken */
    int64_t step;    /* what follows is of a step, see tessera_metrics */
    double loss;
    double grad_norm;
    double lr;
    int64_t tokens;
    int64_t label_tokens;
    double seconds;
    double tokens_per_s;
    int64_t memory;
    char message[512]; /* UTF-8, NUL-terminated: log line, failure or directory */
    double expert_load_ratio; /* of a step, see tessera_metrics */
    double expert_idle;
    double expert_balance_loss;
    double expert_z_loss;
} tessera_event;

/** Prepares an event struct to be filled.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_event_init(tessera_event *event, size_t struct_size);

/** An empty queue.
 *  @param capacity metrics and log lines kept at most; 0: 1024.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_events_create(int64_t capacity, tessera_events *out_events, tessera_error *err);

/** Waiting tessera_events_next calls end with TESSERA_E_CANCELLED.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_events_destroy(tessera_events events);

/** Takes the oldest event.
 *  @param timeout_ns nanoseconds to wait for one; 0: do not wait; TESSERA_FOREVER (-1): without end.
 *  @return TESSERA_E_TIMEOUT when there is none.
 *  @threading any  @blocking yes  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_events_next(tessera_events events, int64_t timeout_ns, tessera_event *out_event,
                                               tessera_error *err);

#ifdef __cplusplus
}
#endif

#endif
