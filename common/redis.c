/*
 * redis.c - commands of all tasks over one connection: see redis.h.
 *
 * A command is written into the connection's output and an entry joins the queue
 * of those who wait for replies; replies come in that order. When a task ends in
 * its wait, its entry stays, without a task, so that its replies are taken off
 * and thrown away in their turn.
 *
 * The connection's alarm stands at the earliest moment a reply is overdue. Then
 * everyone in the queue is told, and the connection is dropped: a server that
 * is stopped or stuck costs each caller one timeout, and the breaker spares
 * later callers even that until it answers again.
 */
#include "common/redis.h"
#include "common/arena.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/redis_call.h"
#include "common/redis_resp.h"
#include "common/task.h"
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Replies on their way to a task; in its arena, which frees them. */
struct reply_set {
    size_t count, wanted;
    redisReply *replies[];
};

struct redis_pending {
    struct redis_pending *next;
    struct redis *redis;
    struct task *task;     /* NULL: it ended; the replies are thrown away */
    struct reply_set *set; /* NULL: they are thrown away too, but the task waits */
    size_t left;           /* replies still to come */
    uint64_t until_ms;     /* 0: no timeout */
};

/* A task that waits for the connection; on its stack. */
struct redis_waiter {
    struct redis_waiter *next, **link;
    struct task *task;
};

/* ---- the queue of those who wait for replies ---- */

static struct redis_pending *push_pending(struct redis *redis)
{
    struct redis_pending *pending = redis->spare;

    if (pending)
        redis->spare = pending->next;
    else
        pending = malloc(sizeof(*pending));
    if (!pending)
        fatal("out of memory");
    *pending = (struct redis_pending){ .redis = redis };
    *redis->last = pending;
    redis->last = &pending->next;
    return pending;
}

static void pop_pending(struct redis *redis)
{
    struct redis_pending *pending = redis->first;

    redis->first = pending->next;
    if (!redis->first)
        redis->last = &redis->first;
    pending->next = redis->spare;
    redis->spare = pending;
}

static void take_reply(void *arg, redisReply *reply)
{
    struct redis *redis = arg;
    struct redis_pending *pending = redis->first;

    if (!pending) {
        freeReplyObject(reply);
        redis_link_drop(&redis->link, "a reply nobody asked for", 0);
        return;
    }
    if (pending->task && pending->set)
        pending->set->replies[pending->set->count++] = reply;
    else
        freeReplyObject(reply);
    if (--pending->left > 0)
        return;
    struct task *task = pending->task;
    pop_pending(redis);
    if (task)
        task_wake(task, 0);
}

/* Those whose time is over get -ETIMEDOUT, the others -ECONNRESET. */
static void fail_all_pending(struct redis *redis)
{
    uint64_t now = clock_ms();

    while (redis->first) {
        struct redis_pending *pending = redis->first;
        bool is_overdue = pending->until_ms != 0 && pending->until_ms <= now;
        struct task *task = pending->task;

        pop_pending(redis);
        if (task)
            task_wake(task, is_overdue ? -ETIMEDOUT : -ECONNRESET);
    }
}

/* ---- those who wait for the connection ---- */

static void unhook_waiter(void *arg)
{
    struct redis_waiter *waiter = arg;

    *waiter->link = waiter->next;
    if (waiter->next)
        waiter->next->link = waiter->link;
}

static void wake_waiters(struct redis *redis, int result)
{
    while (redis->waiters) {
        struct redis_waiter *waiter = redis->waiters;

        unhook_waiter(waiter);
        task_wake(waiter->task, result);
    }
}

static int wait_for_link(struct redis *redis, uint64_t until_ms)
{
    uint64_t now = clock_ms();
    struct redis_waiter waiter = { .task = task_self() };

    if (until_ms != 0 && now >= until_ms)
        return -ETIMEDOUT;
    /* At the front: they are all woken together, order is the ready queue's. */
    waiter.next = redis->waiters;
    waiter.link = &redis->waiters;
    if (waiter.next)
        waiter.next->link = &waiter.next;
    redis->waiters = &waiter;
    return task_park(&(struct task_park){ .waiting_on = "redis: connection",
                                          .timeout_ms = until_ms ? until_ms - now : 0,
                                          .on_cancel = unhook_waiter,
                                          .arg = &waiter });
}

/* ---- the link's events ---- */

static void link_up(void *arg)
{
    struct redis *redis = arg;

    redis->is_tripped = false;
    wake_waiters(redis, 0);
}

static void link_failed(void *arg)
{
    struct redis *redis = arg;

    redis->is_tripped = true;
    if (redis->breaker_ms > 0)
        wake_waiters(redis, -EAGAIN);
}

static void link_down(void *arg)
{
    fail_all_pending(arg);
}

/* The earliest moment a reply is overdue; 0: never. */
static uint64_t earliest_end(const struct redis *redis)
{
    uint64_t earliest = 0;

    for (const struct redis_pending *each = redis->first; each; each = each->next) {
        if (each->until_ms != 0 && (earliest == 0 || each->until_ms < earliest))
            earliest = each->until_ms;
    }
    return earliest;
}

static void link_due(void *arg)
{
    struct redis *redis = arg;
    uint64_t end = earliest_end(redis);

    if (end == 0)
        return;
    if (end > clock_ms()) {
        redis_wire_alarm(redis->link.wire, end);
        return;
    }
    redis->is_tripped = true;
    redis_link_drop(&redis->link, "a reply is overdue", redis->breaker_ms);
}

static const struct redis_link_events link_events = {
    .up = link_up,
    .failed = link_failed,
    .down = link_down,
    .reply = take_reply,
    .due = link_due,
};

/* ---- birth and end ---- */

/* Redis takes no space or control character in a connection's name. */
static void set_client_name(struct redis_settings *settings, const char *name)
{
    size_t length = 0;

    for (; name && *name && length + 1 < sizeof(settings->client_name); name++)
        settings->client_name[length++] = *name > ' ' && *name <= '~' ? *name : '-';
    settings->client_name[length] = '\0';
}

static bool set_password(struct redis_address *address, const char *password)
{
    if (!password || !*password)
        return true;
    if (strlen(password) >= sizeof(address->password))
        return false;
    memcpy(address->password, password, strlen(password) + 1);
    return true;
}

struct redis *redis_new(const struct redis_options *options)
{
    struct redis *redis = calloc(1, sizeof(*redis));
    char error[160] = "the password is too long";

    if (!redis)
        fatal("out of memory");
    struct redis_address *address = &redis->settings.address;
    if (!redis_url_parse(options->url, address, error, sizeof(error)) ||
        !set_password(address, options->password)) {
        log_error("the Redis URL cannot be used: %s", error);
        free(redis);
        return NULL;
    }
    address->allow_unverified |= options->allow_unverified_tls;
    redis_address_show(address, redis->settings.place, sizeof(redis->settings.place));
    set_client_name(&redis->settings, options->client_name);
    redis->settings.connect_timeout_ms = options->connect_timeout_ms;
    redis->timeout_ms = options->timeout_ms;
    redis->breaker_ms = options->breaker_ms;
    redis->last = &redis->first;
    redis_link_init(&redis->link, &redis->settings, "commands", &link_events, redis);
    return redis;
}

void redis_free(struct redis *redis)
{
    if (!redis)
        return;
    redis_link_stop(&redis->link);
    fail_all_pending(redis);
    wake_waiters(redis, -ECONNRESET);
    redis_pubsub_free(redis->pubsub);
    while (redis->spare) {
        struct redis_pending *spare = redis->spare;

        redis->spare = spare->next;
        free(spare);
    }
    free(redis);
}

bool redis_is_up(const struct redis *redis)
{
    return redis_link_is_up(&redis->link);
}

/* ---- one call ---- */

uint64_t redis_call_until(uint64_t timeout_ms)
{
    return timeout_ms ? clock_ms() + timeout_ms : 0;
}

int redis_call_begin(struct redis *redis, uint64_t until_ms)
{
    while (!redis_link_is_up(&redis->link)) {
        redis_link_start(&redis->link);
        if (redis->is_tripped && redis->breaker_ms > 0)
            return -EAGAIN;
        int rc = wait_for_link(redis, until_ms);
        if (rc == 0)
            continue;
        /* redis_free() wakes with -ECONNRESET: then nothing of it is left. */
        if (rc == -ETIMEDOUT)
            redis->is_tripped = true;
        return rc == -ETIMEDOUT ? -EAGAIN : rc;
    }
    return 0;
}

struct buf *redis_call_out(struct redis *redis)
{
    return redis_wire_out(redis->link.wire);
}

static void free_replies(void *arg)
{
    struct reply_set *set = arg;

    for (size_t i = 0; i < set->count; i++)
        freeReplyObject(set->replies[i]);
}

/* The task ends in its wait. A reply without a timeout may never come, and whatever
 * was sent after it would wait in vain: then the connection goes. */
static void abandon(void *arg)
{
    struct redis_pending *pending = arg;
    struct redis *redis = pending->redis;

    pending->task = NULL;
    pending->set = NULL;
    if (pending->until_ms == 0)
        redis_link_drop(&redis->link, "a blocking command was given up", 0);
}

int redis_call_wait(struct redis *redis, uint64_t until_ms, size_t count,
                    redisReply ***ret_replies)
{
    struct reply_set *set = NULL;

    if (count == 0)
        return 0;
    /* The command is in the output already. Should the arena end the task below, its
     * replies still have their place in the queue, and nobody else gets them. */
    struct redis_pending *pending = push_pending(redis);
    pending->left = count;
    pending->until_ms = until_ms;
    if (until_ms != 0)
        redis_wire_alarm(redis->link.wire, until_ms);
    if (ret_replies) {
        set = arena_alloc(task_arena(), sizeof(*set) + count * sizeof(set->replies[0]));
        arena_defer(task_arena(), free_replies, set);
    }
    pending->task = task_self();
    pending->set = set;

    int rc = task_park(&(struct task_park){
        .waiting_on = "redis", .on_cancel = abandon, .arg = pending });
    if (rc == 0 && ret_replies)
        *ret_replies = set->replies;
    return rc;
}

int redis_call_wait_one(struct redis *redis, uint64_t until_ms, redisReply **ret)
{
    redisReply **replies = NULL;
    int rc = redis_call_wait(redis, until_ms, 1, &replies);

    if (rc < 0)
        return rc;
    assert(replies);
    if (ret)
        *ret = replies[0];
    return replies[0]->type == REDIS_REPLY_ERROR ? -EPROTO : 0;
}

/* ---- public calls ---- */

int redis_call(struct redis *redis, redisReply **ret, const char *format, ...)
{
    uint64_t until_ms = redis_call_until(redis->timeout_ms);
    char *command;
    va_list args;
    int rc = redis_call_begin(redis, until_ms);

    if (rc < 0)
        return rc;
    va_start(args, format);
    int length = redisvFormatCommand(&command, format, args);
    va_end(args);
    assert(length > 0);
    buf_add(redis_call_out(redis), command, (size_t)length);
    redisFreeCommand(command);
    return redis_call_wait_one(redis, until_ms, ret);
}

int redis_call_argv_timeout(struct redis *redis, redisReply **ret, uint64_t timeout_ms,
                            int argc, const char *const *argv, const size_t *lengths)
{
    uint64_t until_ms = redis_call_until(timeout_ms);
    int rc = redis_call_begin(redis, until_ms);

    if (rc < 0)
        return rc;
    redis_resp_argv(redis_call_out(redis), (size_t)argc, argv, lengths);
    return redis_call_wait_one(redis, until_ms, ret);
}

int redis_call_argv(struct redis *redis, redisReply **ret, int argc,
                    const char *const *argv, const size_t *lengths)
{
    return redis_call_argv_timeout(redis, ret, redis->timeout_ms, argc, argv, lengths);
}
