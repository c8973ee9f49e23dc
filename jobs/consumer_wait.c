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
#include <string.h>

#define BLOCK_S        "5"
#define BLOCK_LIMIT_MS 8000
#define LOOK_EVERY_MS  1000 /* suspension is noticed that late at most */
#define POLL_FIRST_MS  5
#define POLL_LAST_MS   100
#define LOOK_SHARE     10 /* times as long as a look took is waited for the next */

void consumer_wait_init(struct consumer *c)
{
    c->can_block = true;
    c->waits = calloc(c->queue_count, sizeof(*c->waits));
    if (!c->waits)
        fatal("out of memory");
    for (size_t i = 0; i < c->queue_count; i++) {
        c->waits[i].consumer = c;
        c->waits[i].queue = c->queues[i].name;
    }
}

/* BLMOVE is not there, or not for us; any other refusal (loading, a key of another
 * type) says nothing about the next time. */
static bool is_denied(const redisReply *reply)
{
    return strncmp(reply->str, "NOPERM", 6) == 0 ||
           strncmp(reply->str, "ERR unknown command", 19) == 0;
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
    if (rc == -EPROTO && c->can_block && is_denied(reply)) {
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

static void start_wait(struct queue_wait *wait)
{
    if (!wait->redis)
        wait->redis =
            jobs_queue_redis(wait->consumer->context->options, "forkmark-wait", NULL);
    if (!wait->redis || wait->task)
        return;
    wait->task = task_spawn(&(struct task_spec){
        .name = "wait", .run = wait_once, .arg = wait, .on_end = wait_ended });
}

/* False: there is a queue whose waiting jobs are all somebody else's, where a blocking
 * peek would return at once. */
static bool start_waits(struct consumer *c)
{
    bool is_covered = c->can_block;

    for (size_t i = 0; c->can_block && i < c->queue_count; i++) {
        if (consumer_leaves_jobs(c, i))
            is_covered = false;
        else
            start_wait(&c->waits[i]);
    }
    return is_covered;
}

/* A look through a long queue must not become all that Redis does. */
static uint64_t next_poll(struct consumer *c)
{
    uint64_t ms = c->poll_ms < POLL_FIRST_MS ? POLL_FIRST_MS : c->poll_ms;

    c->poll_ms = ms * 2 < POLL_LAST_MS ? ms * 2 : POLL_LAST_MS;
    return ms > LOOK_SHARE * c->look_took_ms ? ms : LOOK_SHARE * c->look_took_ms;
}

void consumer_wait(struct consumer *c)
{
    consumer_nap(c, start_waits(c) ? LOOK_EVERY_MS : next_poll(c));
}

void consumer_wait_stop(struct consumer *c)
{
    for (size_t i = 0; i < c->queue_count; i++) {
        if (c->waits[i].task)
            task_cancel(c->waits[i].task);
    }
}
