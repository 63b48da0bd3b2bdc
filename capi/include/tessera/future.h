/*
 * future.h - a call under way. Wait for it or poll it, then read its result; destroy it in any case. Destroying does
 * not stop the work.
 */
#ifndef TESSERA_FUTURE_H
#define TESSERA_FUTURE_H

#include "tessera/error.h"
#include "tessera/trainer.h"
#include "tessera/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A wait without end. */
#define TESSERA_FOREVER (-1)

/** @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_future_destroy(tessera_future future);

/** 1 when the work has ended, well or not.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_future_poll(tessera_future future, int32_t *out_done, tessera_error *err);

/** Waits until the work has ended, well or not; the outcome is read by tessera_future_get_result.
 *  @param timeout_ns TESSERA_FOREVER, or nanoseconds after which the call returns TESSERA_E_TIMEOUT.
 *  @threading any  @blocking yes  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_future_wait(tessera_future future, int64_t timeout_ns, tessera_error *err);

/** Waits until one of `count` futures has ended; the lowest such index is returned.
 *  @threading any  @blocking yes  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_future_wait_any(const tessera_future *futures, int64_t count, int64_t timeout_ns,
                                                   int64_t *out_index, tessera_error *err);

/** Asks that work which has not begun is not begun: it ends with TESSERA_E_CANCELLED. Work that has begun runs to
 *  its end. For collective work cancel on every rank, or the others wait in vain.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_future_cancel(tessera_future future, tessera_error *err);

/** The outcome: the status and error that the blocking form would have returned.
 *  @return TESSERA_E_STATE while the work has not ended.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_future_get_result(tessera_future future, tessera_error *err);

/** The metrics of a step, forward_backward, optimizer_step or evaluation. Fails as get_result does; so do all below.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_future_get_metrics(tessera_future future, tessera_metrics *out_metrics,
                                                      tessera_error *err);

/** The generated tokens.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_future_get_tokens(tessera_future future, int64_t *buf, size_t cap, size_t *out_len,
                                                     tessera_error *err);

/** The tensor, handed over once; a second call gets TESSERA_E_STATE.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_future_get_tensor(tessera_future future, tessera_tensor *out_tensor,
                                                     tessera_error *err);

/** The mesh, handed over once.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_future_get_mesh(tessera_future future, tessera_mesh *out_mesh, tessera_error *err);

/** The trainer, handed over once.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_future_get_trainer(tessera_future future, tessera_trainer *out_trainer,
                                                      tessera_error *err);

#ifdef __cplusplus
}
#endif

#endif
