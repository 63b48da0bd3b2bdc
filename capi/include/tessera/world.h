/*
 * world.h - one rank's seat in a job: its number, its device and its connection to the other ranks. Ranks may be
 * processes or threads of one process; nothing of it is global to the process.
 */
#ifndef TESSERA_WORLD_H
#define TESSERA_WORLD_H

#include "tessera/config.h"
#include "tessera/error.h"
#include "tessera/types.h"

#ifdef __cplusplus
extern "C" {
#endif

enum tessera_backend {
    TESSERA_BACKEND_AUTO = 0,  /* local when all ranks are on one host, else gloo on CPUs and nccl on GPUs */
    TESSERA_BACKEND_LOCAL = 1, /* shared memory of one host */
    TESSERA_BACKEND_GLOO = 2,  /* sockets */
    TESSERA_BACKEND_NCCL = 3   /* NVIDIA GPUs */
};

enum tessera_device {
    TESSERA_DEVICE_CPU = 0,
    TESSERA_DEVICE_CUDA = 1 /* the device whose index is local_rank */
};

enum tessera_allocator {
    TESSERA_ALLOCATOR_CACHING = 0, /* freed memory of CPU tensors is kept and used again; page faults cost a step more than
                                      half its time otherwise. Holds for every user of LibTorch in the process. */
    TESSERA_ALLOCATOR_SYSTEM = 1   /* LibTorch's allocator is left as it is */
};

enum tessera_switch {
    TESSERA_SWITCH_AUTO = 0,
    TESSERA_SWITCH_ON = 1,
    TESSERA_SWITCH_OFF = 2
};

typedef struct tessera_world_options {
    size_t struct_size;
    int32_t rank;             /* of this process, from 0 */
    int32_t size;             /* ranks of the job; 0: 1 */
    int32_t local_rank;       /* of this rank on its host */
    int32_t local_size;       /* ranks on this host; 0: size */
    int32_t backend;          /* a tessera_backend */
    int32_t device;           /* a tessera_device */
    int32_t intra_op_threads; /* threads that one rank uses inside an operator; 0: cores / local_size */
    int32_t agent_store;      /* 1: a launcher already serves the rendezvous port (torchrun) */
    int64_t timeout_ns;       /* of a collective that cannot finish; 0: ten minutes */
    const char *rendezvous;   /* where processes meet: "tcp://host:port" or "file:///path"; NULL for one process */
    const char *job;          /* name that keeps two jobs of a host apart; NULL: derived from the rendezvous */
    int32_t allocator;        /* a tessera_allocator; the first world of a process decides */
    int32_t reserved0;        /* must be 0 */
    int32_t register_buffers; /* a tessera_switch: NCCL uses the memory that FSDP gathers into and reduces from in place */
    int32_t expandable_segments; /* a tessera_switch: GPU memory in segments that grow, for the whole process */
} tessera_world_options;

/** Fills options with defaults.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_world_options_init(tessera_world_options *options, size_t struct_size);

/** Fills options from the keys backend, device, threads, allocator, timeout, comm.register_buffers and
 *  cuda.expandable_segments of a configuration; the other fields get defaults.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_world_options_load(tessera_world_options *options, tessera_config config,
                                                      tessera_error *err);

/** Joins a job; returns when all ranks have met.
 *  @nullable options
 *  @threading any  @blocking yes  @collective world  @since 0.1 */
TESSERA_API tessera_status tessera_world_create(const tessera_world_options *options, tessera_world *out_world,
                                                tessera_error *err);

/** Joins the job that a launcher describes in the environment: torchrun, Open MPI, PMI or Slurm. Without any of
 *  them: one rank. This is the only function that reads such variables.
 *  @param options values the environment does not give.
 *  @nullable options
 *  @threading any  @blocking yes  @collective world  @since 0.1 */
TESSERA_API tessera_status tessera_world_create_from_environment(const tessera_world_options *options,
                                                                 tessera_world *out_world, tessera_error *err);

/** Makes a job whose ranks all live in this process.
 *  @param size number of ranks.
 *  @param options rank, size and rendezvous are ignored.
 *  @param out_worlds array of `size` handles; element r is rank r.
 *  @nullable options
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_world_create_threads(int32_t size, const tessera_world_options *options,
                                                        tessera_world *out_worlds, tessera_error *err);

/** Leaves the job. Without tessera_world_close before it the other ranks see a failed peer, and over Gloo rank 0, whose process
 *  may serve the rendezvous, waits up to a second for them to read why.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_world_destroy(tessera_world world);

/** Orderly end: waits for all ranks, then closes the connections. Meshes and trainers of the world cannot be used
 *  after it.
 *  @threading one-at-a-time  @blocking yes  @collective world  @since 0.1 */
TESSERA_API tessera_status tessera_world_close(tessera_world world, tessera_error *err);

/** @see tessera_world_close
 *  @threading one-at-a-time  @blocking no  @collective world  @since 0.1 */
TESSERA_API tessera_status tessera_world_close_async(tessera_world world, tessera_future *out_future,
                                                     tessera_error *err);

/** Tells all ranks that this one cannot go on: their running and later collectives end with TESSERA_E_PEER_FAILED.
 *  Works while another call on the world is running.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_world_abort(tessera_world world, const char *reason, tessera_error *err);

/** This rank's number.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_world_get_rank(tessera_world world, int32_t *out_rank, tessera_error *err);

/** The number of ranks.
 *  @threading any  @blocking no  @collective no  @since 0.1 */
TESSERA_API tessera_status tessera_world_get_size(tessera_world world, int32_t *out_size, tessera_error *err);

#ifdef __cplusplus
}
#endif

#endif
