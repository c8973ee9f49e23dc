/*
 * worker_record.h - a consumer as RQ knows workers: its hash, heartbeats, death.
 *
 * Yields, inside tasks. Errors are those of redis.h.
 */
#ifndef FORKMARK_JOBS_RQ_WORKER_RECORD_H
#define FORKMARK_JOBS_RQ_WORKER_RECORD_H

#include "common/options.h"
#include "common/redis.h"
#include <stdbool.h>
#include <stdint.h>

struct rq_worker {
    struct redis *redis;
    const struct options *options;
    char name[33];                  /* 32 hex digits */
    const struct conf_list *queues; /* as the record shows them */
    /* Where the next claim looks, in this order: queues' names, or ",queue,id" for one
     * job alone. Set by whoever claims; `queues` until then. */
    const struct conf_list *claim_from;
    int64_t interval_s;    /* of heartbeats */
    int64_t birth_unix_us; /* kept when the record must be written again */
};

/* What runs just now, for heartbeats. */
struct rq_running {
    const char *id, *queue, *execution;
    double elapsed_s;
    int64_t timeout_s; /* <= 0: unlimited */
};

void worker_init(struct rq_worker *worker, struct redis *redis,
                 const struct options *options, const struct conf_list *queues);

/* Writes the record; also when Redis lost it. 0 or an error. */
int worker_register(struct rq_worker *worker);

enum worker_beat {
    WORKER_LOST, /* no live record of that name: register again */
    WORKER_FINE,
    WORKER_JOB_LOST, /* the job is no longer ours */
};
/* `state` NULL: as it is. enum worker_beat, or an error. */
int worker_heartbeat(struct rq_worker *worker, const char *state,
                     const struct rq_running *running, bool *ret_suspended);

/* A warm shutdown came while a job runs: shown to RQ. 0 or an error. */
int worker_shutting_down(struct rq_worker *worker);
/*
 * Out of the books. What is held there goes back to its queue; without redelivery it is a
 * failed attempt, but for a job claimed as `next_execution`: that claim's answer was
 * lost, and so the job never ran. 0 or an error.
 */
int worker_bury(struct rq_worker *worker, const char *next_execution);

/* Takes back what a dead worker held (recover.lua). `has_overrun`: it was killed because
 * its job had overrun its time. 1 a job was taken back, 0 none or unknown, or an error.
 * Logs what became of the job. */
int worker_recover(struct redis *redis, const struct options *options, const char *name,
                   bool has_overrun);
/* The same for every dead forkmark worker of this host. How many jobs, or an error. */
int worker_recover_host(struct redis *redis, const struct options *options);

/* Why a job is failed whose workers die: for scripts. In the task's arena. */
const char *worker_too_many_deliveries(const struct options *options);

#endif
