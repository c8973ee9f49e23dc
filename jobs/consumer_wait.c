/*
 * consumer_wait.c - waiting for a job without taking it.
 *
 * BLMOVE from the left end of a list to the same end changes nothing once there is
 * an element: a blocking peek. The claim is then a script over all queues; so a
 * crash between the two loses nothing. Each queue has a connection of its own,
 * since a blocked connection serves nobody else. A server without BLMOVE (before
 * 6.2), or one that denies it to us, is polled instead.
 */
#include "common/log.h"
#include "jobs/connections.h"
#include "jobs/consumer_parts.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define BLOCK_S        "5"
#define BLOCK_LIMIT_MS 8000
#define LOOK_EVERY_MS  1000 /* suspension is noticed that late at most */
#define POLL_FIRST_MS  5
#define POLL_LAST_MS   100

void consumer_wait_init(struct consumer *c)
{
    const struct conf_list *queues = c->worker.queues;

    c->can_block = true;
    c->waits = calloc(queues->count, sizeof(*c->waits));
    if (!c->waits)
        fatal("out of memory");
    for (size_t i = 0; i < queues->count; i++) {
        c->waits[i].consumer = c;
        c->waits[i].queue = queues->items[i];
    }
}

static void wait_once(void *arg)
{
    struct queue_wait *wait = arg;
    struct consumer *c = wait->consumer;
    redisReply *reply = NULL;
    char key[512];

    snprintf(key, sizeof(key), "rq:queue:%s", wait->queue);
    const char *argv[] = { "BLMOVE", key, key, "LEFT", "LEFT", BLOCK_S };
    int rc = redis_call_argv_timeout(wait->redis, &reply, BLOCK_LIMIT_MS,
                                     sizeof(argv) / sizeof(argv[0]), argv, NULL);
    if (rc == -EPROTO && c->can_block) {
        c->can_block = false;
        log_info("Redis has no BLMOVE for us (%s): queues are polled", reply->str);
    } else if (rc == 0 && reply->type == REDIS_REPLY_STRING) {
        consumer_poke(c);
    }
}

static void wait_ended(void *arg, enum task_outcome outcome)
{
    struct queue_wait *wait = arg;

    (void)outcome;
    wait->task = NULL;
}

static void start_waits(struct consumer *c)
{
    for (size_t i = 0; i < c->worker.queues->count; i++) {
        struct queue_wait *wait = &c->waits[i];

        if (!wait->redis)
            wait->redis = jobs_queue_redis(c->context->options, "forkmark-wait");
        if (!wait->redis || wait->task)
            continue;
        wait->task = task_spawn(&(struct task_spec){
            .name = "wait", .run = wait_once, .arg = wait, .on_end = wait_ended });
    }
}

void consumer_wait(struct consumer *c)
{
    if (c->can_block) {
        start_waits(c);
        consumer_nap(c, LOOK_EVERY_MS);
        return;
    }
    if (c->poll_ms < POLL_FIRST_MS)
        c->poll_ms = POLL_FIRST_MS;
    consumer_nap(c, c->poll_ms);
    c->poll_ms = c->poll_ms * 2 < POLL_LAST_MS ? c->poll_ms * 2 : POLL_LAST_MS;
}

void consumer_wait_stop(struct consumer *c)
{
    for (size_t i = 0; i < c->worker.queues->count; i++) {
        if (c->waits[i].task)
            task_cancel(c->waits[i].task);
    }
}
