/*
 * log.h - how much the library says, and where. Lines go to stderr, or to an event queue; never to stdout.
 */
#ifndef TESSERA_LOG_H
#define TESSERA_LOG_H

#include "tessera/error.h"
#include "tessera/types.h"

#ifdef __cplusplus
extern "C" {
#endif

enum tessera_log_level {
    TESSERA_LOG_TRACE = 0,
    TESSERA_LOG_DEBUG = 1,
    TESSERA_LOG_INFO = 2,
    TESSERA_LOG_WARNING = 3, /* the default */
    TESSERA_LOG_ERROR = 4,
    TESSERA_LOG_OFF = 5
};

/** Lines below `level` are not written. Holds for the whole process.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_log_set_level(int32_t level, tessera_error *err);

/** The present level.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_log_get_level(int32_t *out_level, tessera_error *err);

/** Sends log lines to a queue as events instead of to stderr; {0} goes back to stderr. Holds for the whole process.
 *  Destroying the queue has the same effect as {0}.
 *  @nullable events
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_log_set_events(tessera_events events, tessera_error *err);

#ifdef __cplusplus
}
#endif

#endif
