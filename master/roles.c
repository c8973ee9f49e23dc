/*
 * roles.c - see roles.h. Here alone the master names what its children do.
 */
#include "master/roles.h"
#include "jobs/consumer.h"
#include "jobs/scheduler.h"
#include "worker/worker.h"

const struct role role_worker = {
    .name = "worker",
    .board = BOARD_WORKER,
    .run = worker_run,
    .has_listeners = true,
};

const struct role role_consumer = {
    .name = "consumer",
    .board = BOARD_CONSUMER,
    .run = consumer_run,
    .finishes_jobs = true,
    .may_end = true,
};

const struct role role_scheduler = {
    .name = "scheduler",
    .board = BOARD_SCHEDULER,
    .run = scheduler_run,
    .is_single = true,
};
