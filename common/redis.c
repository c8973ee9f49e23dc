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
 *
 * A connection that has been silent may be dead without anybody having said so: what
 * stands between has forgotten it. Before it is used again after STALE_MS a PING must
 * come through; it has a small part of a command's time, and then a new connection is
 * made. So no command is ever sent into the void. A PING now and then keeps it warm, so
 * that, as a rule, nobody finds it dead.
 */
#include "common/redis.h"
#include "common/arena.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/redis_call.h"
#include "common/redis_cluster.h"
#include "common/redis_resp.h"
#include "common/redis_shown.h"
#include "common/redis_slot.h"
#include "common/task.h"
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STALE_MS     1000
#define PROBE_SHARE  4 /* of a command's timeout, for a PING */
#define LONGEST_PING 500
/* A replica answers at once: nobody is hurried by asking again a little later. */
#define DEMOTED_MS 250

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
    bool is_probe;
};

/* A task that waits for the connection, or for the PING on it; on its stack. */
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

/* ---- the PING on a silent connection ---- */

static bool is_silent(const struct redis *redis, uint64_t for_ms)
{
    return !redis->first && clock_ms() - redis->heard_ms >= for_ms;
}

static void probe(struct redis *redis)
{
    uint64_t patience_ms = redis->timeout_ms / PROBE_SHARE;

    if (patience_ms == 0 || patience_ms > LONGEST_PING)
        patience_ms = LONGEST_PING;
    redis_resp_texts(redis_call_out(redis), "PING");
    struct redis_pending *pending = push_pending(redis);
    pending->left = 1;
    pending->until_ms = clock_ms() + patience_ms;
    pending->is_probe = true;
    redis->is_probing = true;
    redis_wire_alarm(redis->link.wire, pending->until_ms);
}

/* ---- the link's events ---- */

/* What a server says that is no master any more. Nothing was done. */
static bool is_demoted(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_ERROR &&
           (strncmp(reply->str, "UNBLOCKED ", 10) == 0 ||
            strncmp(reply->str, "MASTERDOWN ", 11) == 0 ||
            /* Inside a script it comes behind other words before 7.0. */
            strstr(reply->str, "READONLY You can't write against"));
}

static void take_reply(void *arg, redisReply *reply)
{
    struct redis *redis = arg;
    struct redis_pending *pending = redis->first;

    redis->heard_ms = clock_ms();
    if (!pending || (redis->settings.needs_master && is_demoted(reply))) {
        freeReplyObject(reply);
        if (pending)
            redis_link_drop(&redis->link, "the server has become a replica", DEMOTED_MS);
        else
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
    bool is_probe = pending->is_probe;
    pop_pending(redis);
    if (task)
        task_wake(task, 0);
    if (is_probe) {
        redis->is_probing = false;
        wake_waiters(redis, 0);
    }
}

static void tell_change(const struct redis *redis)
{
    if (redis->changed)
        redis->changed(redis->changed_arg);
}

static void link_up(void *arg)
{
    struct redis *redis = arg;

    redis->is_tripped = false;
    redis->heard_ms = clock_ms();
    if (redis->ping_after_ms > 0)
        redis_wire_alarm(redis->link.wire, redis->heard_ms + redis->ping_after_ms);
    wake_waiters(redis, 0);
    tell_change(redis);
}

static void link_failed(void *arg)
{
    struct redis *redis = arg;

    redis->is_tripped = true;
    if (redis->breaker_ms > 0)
        wake_waiters(redis, -EAGAIN);
    tell_change(redis);
}

static void link_down(void *arg)
{
    struct redis *redis = arg;

    redis->is_probing = false;
    fail_all_pending(redis);
    tell_change(redis);
}

static bool link_is_idle(void *arg)
{
    const struct redis *redis = arg;

    return !redis->first || (redis->is_probing && !redis->first->next);
}

/* Who is overdue first; NULL: nobody ever. */
static const struct redis_pending *earliest(const struct redis *redis)
{
    const struct redis_pending *found = NULL;

    for (const struct redis_pending *each = redis->first; each; each = each->next) {
        if (each->until_ms != 0 && (!found || each->until_ms < found->until_ms))
            found = each;
    }
    return found;
}

static void link_due(void *arg)
{
    struct redis *redis = arg;
    const struct redis_pending *next = earliest(redis);

    if (next && next->until_ms <= clock_ms() && next->is_probe) {
        log_info("redis %s: a silent connection was dead: it is replaced",
                 redis->settings.place);
        redis_link_drop(&redis->link, NULL, 0);
    } else if (next && next->until_ms <= clock_ms()) {
        redis->is_tripped = true;
        redis_link_drop(&redis->link, "a reply is overdue", redis->breaker_ms);
    } else if (next) {
        redis_wire_alarm(redis->link.wire, next->until_ms);
    } else if (redis->ping_after_ms > 0 && is_silent(redis, redis->ping_after_ms)) {
        probe(redis);
    } else if (redis->ping_after_ms > 0 && !redis->first) {
        redis_wire_alarm(redis->link.wire, redis->heard_ms + redis->ping_after_ms);
    }
}

static const struct redis_link_events link_events = {
    .up = link_up,
    .failed = link_failed,
    .down = link_down,
    .reply = take_reply,
    .due = link_due,
    .is_idle = link_is_idle,
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

static bool set_text(char *field, size_t size, const char *text)
{
    if (!text || !*text)
        return true;
    if (strlen(text) >= size)
        return false;
    memcpy(field, text, strlen(text) + 1);
    return true;
}
#define SET(field, text) set_text((field), sizeof(field), (text))

/* What stands beside the URL. */
static bool complete_address(struct redis_address *address,
                             const struct redis_options *options)
{
    bool has_none = !*address->user && !*address->password;

    address->allow_unverified |= options->allow_unverified_tls;
    return (!has_none || (SET(address->user, options->user) &&
                          SET(address->password, options->password))) &&
           SET(address->ca_file, options->ca_file) &&
           SET(address->certificate, options->certificate) &&
           SET(address->key, options->key) && SET(address->tls_name, options->tls_name);
}

static bool set_sentinels(struct redis_settings *settings,
                          const struct redis_options *options)
{
    const struct redis_sentinel_choice *choice = &options->sentinel;

    if (choice->count == 0)
        return true;
    settings->sentinels = redis_sentinels_open(&(struct redis_sentinel_options){
        .places = choice->places,
        .count = choice->count,
        .master = choice->master,
        .user = choice->user ? choice->user : "",
        .password = choice->password ? choice->password : "",
        .tls_like = &settings->address,
        .tls = choice->tls,
        .timeout_ms = options->connect_timeout_ms,
    });
    snprintf(settings->place, sizeof(settings->place), "master `%.200s`", choice->master);
    return settings->sentinels != NULL;
}

struct redis *redis_single_new(const struct redis_settings *settings,
                               const struct redis_pace *pace)
{
    struct redis *redis = calloc(1, sizeof(*redis));

    if (!redis)
        fatal("out of memory");
    redis->settings = *settings;
    if (!redis->settings.place[0])
        redis_address_show(&settings->address, redis->settings.place,
                           sizeof(redis->settings.place));
    redis->timeout_ms = pace->timeout_ms;
    redis->breaker_ms = pace->breaker_ms;
    redis->ping_after_ms = pace->ping_after_ms;
    redis->last = &redis->first;
    redis_link_init(&redis->link, &redis->settings, "commands", &link_events, redis);
    return redis;
}

/* What the URL says, or for a cluster what its nodes have in common. */
static bool read_address(struct redis_settings *settings,
                         const struct redis_options *options)
{
    char error[200] = "a name, password or path beside it is too long";
    const char *url = !options->cluster ? options->url
                      : options->tls    ? "rediss://cluster"
                                        : "redis://cluster";

    if (redis_url_parse(url, &settings->address, error, sizeof(error)) &&
        complete_address(&settings->address, options))
        return true;
    log_error("the Redis URL cannot be used: %s", error);
    return false;
}

struct redis *redis_new(const struct redis_options *options)
{
    struct redis_settings settings = { .needs_master = options->needs_master,
                                       .connect_timeout_ms =
                                           options->connect_timeout_ms };
    const struct redis_pace pace = { .timeout_ms = options->timeout_ms,
                                     .breaker_ms = options->breaker_ms,
                                     .ping_after_ms = options->ping_after_ms };

    if (!read_address(&settings, options) || !set_sentinels(&settings, options))
        return NULL;
    set_client_name(&settings, options->client_name);
    struct redis *redis = redis_single_new(&settings, &pace);
    redis->one_slot = options->one_slot || options->cluster;
    if (options->cluster)
        redis->cluster = redis_cluster_new(redis, options);
    else if (options->slot)
        redis_show(redis, options->slot, options->uses);
    return redis;
}

bool redis_is_cluster(const struct redis *redis)
{
    return redis && redis->cluster; /* NULL in tests of what needs no Redis */
}

void redis_free(struct redis *redis)
{
    if (!redis)
        return;
    redis_link_stop(&redis->link);
    fail_all_pending(redis);
    wake_waiters(redis, -ECONNRESET);
    redis_shown_end(redis);
    redis_pubsub_free(redis->pubsub);
    redis_cluster_free(redis->cluster);
    while (redis->spare) {
        struct redis_pending *spare = redis->spare;

        redis->spare = spare->next;
        free(spare);
    }
    redis_sentinels_close(redis->settings.sentinels);
    free(redis);
}

const char *redis_trouble(const struct redis *redis)
{
    if (redis->cluster)
        return redis_cluster_trouble(redis->cluster);
    return redis->link.last_what ? redis->link.reason : "";
}

bool redis_is_refused(const struct redis *redis)
{
    if (redis->cluster)
        return redis_cluster_is_refused(redis->cluster);
    return redis->link.is_refused;
}

bool redis_is_up(const struct redis *redis)
{
    if (redis->cluster)
        return redis_cluster_is_up(redis->cluster);
    return redis_link_is_up(&redis->link);
}

int64_t redis_lost_until_us(const struct redis *redis, const char *key, size_t length)
{
    return redis->cluster ? redis_cluster_lost_until_us(redis->cluster, key, length) : 0;
}

/* ---- one call ---- */

uint64_t redis_call_until(uint64_t timeout_ms)
{
    return timeout_ms ? clock_ms() + timeout_ms : 0;
}

int redis_call_begin(struct redis *redis, uint64_t until_ms)
{
    for (;;) {
        bool is_up = redis_link_is_up(&redis->link);

        if (is_up && !redis->is_probing && !is_silent(redis, STALE_MS))
            return 0;
        if (is_up && !redis->is_probing)
            probe(redis);
        if (!is_up) {
            redis_link_start(&redis->link);
            if (redis->is_tripped && redis->breaker_ms > 0)
                return -EAGAIN;
        }
        int rc = wait_for_link(redis, until_ms);
        if (rc == 0)
            continue;
        /* redis_free() wakes with -ECONNRESET: then nothing of it is left. */
        if (rc == -ETIMEDOUT && !redis_link_is_up(&redis->link))
            redis->is_tripped = true;
        return rc == -ETIMEDOUT ? -EAGAIN : rc;
    }
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

int redis_execute(struct redis *redis, const struct redis_command *command,
                  uint64_t timeout_ms, redisReply **ret)
{
    uint64_t until_ms = redis_call_until(timeout_ms);

    if (redis->cluster)
        return redis_cluster_execute(redis->cluster, command, until_ms, ret);
    int rc = redis_call_begin(redis, until_ms);
    if (rc < 0)
        return rc;
    command->write(redis_call_out(redis), command->arg);
    return redis_call_wait_one(redis, until_ms, ret);
}

struct argv {
    size_t argc;
    const char *const *argv;
    const size_t *lengths;
};

static void write_argv(struct buf *out, const void *arg)
{
    const struct argv *command = arg;

    redis_resp_argv(out, command->argc, command->argv, command->lengths);
}

static int call_argv(struct redis *redis, redisReply **ret, uint64_t timeout_ms,
                     const struct argv *argv, bool may_be_stale)
{
    struct redis_command command = { .write = write_argv,
                                     .arg = argv,
                                     .may_be_stale = may_be_stale };

    if (redis->cluster)
        command.key =
            redis_key_of(argv->argc, argv->argv, argv->lengths, &command.key_length);
    return redis_execute(redis, &command, timeout_ms, ret);
}

static void write_text(struct buf *out, const void *arg)
{
    const struct buf *text = arg;

    buf_add(out, text->data, text->length);
}

/* It may have to be written more than once, and its key looked for. */
static int call_in_cluster(struct redis *redis, redisReply **ret, const char *format,
                           va_list args)
{
    struct buf text = BUF_IN(task_arena());
    struct redis_command command = { .write = write_text, .arg = &text };

    redis_resp_format(&text, format, args);
    command.key = redis_resp_key(&text, 0, &command.key_length);
    return redis_execute(redis, &command, redis->timeout_ms, ret);
}

static int call_one(struct redis *redis, redisReply **ret, const char *format,
                    va_list args)
{
    uint64_t until_ms = redis_call_until(redis->timeout_ms);
    int rc = redis_call_begin(redis, until_ms);

    if (rc < 0)
        return rc;
    redis_resp_format(redis_call_out(redis), format, args);
    return redis_call_wait_one(redis, until_ms, ret);
}

int redis_call(struct redis *redis, redisReply **ret, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int rc = redis->cluster ? call_in_cluster(redis, ret, format, args)
                            : call_one(redis, ret, format, args);
    va_end(args);
    return rc;
}

int redis_call_argv_timeout(struct redis *redis, redisReply **ret, uint64_t timeout_ms,
                            int argc, const char *const *argv, const size_t *lengths)
{
    struct argv command = { .argc = (size_t)argc, .argv = argv, .lengths = lengths };

    return call_argv(redis, ret, timeout_ms, &command, false);
}

int redis_call_argv(struct redis *redis, redisReply **ret, int argc,
                    const char *const *argv, const size_t *lengths)
{
    return redis_call_argv_timeout(redis, ret, redis->timeout_ms, argc, argv, lengths);
}

int redis_read_argv(struct redis *redis, redisReply **ret, int argc,
                    const char *const *argv, const size_t *lengths)
{
    struct argv command = { .argc = (size_t)argc, .argv = argv, .lengths = lengths };

    return call_argv(redis, ret, redis->timeout_ms, &command, true);
}
