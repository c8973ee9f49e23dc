/*
 * redis_link.c - see redis_link.h.
 *
 * Each attempt is one task: straight lines from sleeping over connecting to the
 * log-in. What it got is handed over in the task's on_end, because the events
 * belong on the loop's stack. An attempt whose link was stopped ends with its
 * task; its arena closes the stream.
 */
#include "common/redis_link.h"
#include "common/arena.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/redis_resp.h"
#include "common/task.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_WAIT_MS  50
#define LAST_WAIT_MS   1000
#define REPEAT_LOG_MS  60000 /* the same failure is logged again after this */
#define LOG_IN_REPLIES 4     /* AUTH, CLIENT SETNAME, SELECT, PING */

struct redis_try {
    struct redis_link *link; /* NULL: nobody wants the result any more */
    struct arena *arena;     /* it lives in this one; the task's, and freed with it */
    struct task *task;
    uint64_t wait_ms;
    struct redis_stream *stream;
    redisReader *reader;
    bool is_good;
    char error[192];
};

/* ---- the log-in ---- */

/* One command of it: what to send, and whether a refusal matters. */
struct log_in_step {
    const char *name;
    bool may_fail;
};

static size_t write_log_in(const struct redis_settings *settings, struct buf *out,
                           struct log_in_step steps[LOG_IN_REPLIES])
{
    const struct redis_address *address = &settings->address;
    size_t count = 0;

    if (address->password[0] && address->user[0])
        redis_resp_texts(out, "AUTH", address->user, address->password);
    else if (address->password[0])
        redis_resp_texts(out, "AUTH", address->password);
    if (address->password[0])
        steps[count++] = (struct log_in_step){ .name = "AUTH" };
    if (settings->client_name[0]) {
        /* A user without the right to CLIENT only goes nameless. */
        redis_resp_texts(out, "CLIENT", "SETNAME", settings->client_name);
        steps[count++] =
            (struct log_in_step){ .name = "CLIENT SETNAME", .may_fail = true };
    }
    if (address->db > 0) {
        char db[16];
        snprintf(db, sizeof(db), "%d", address->db);
        redis_resp_texts(out, "SELECT", db);
        steps[count++] = (struct log_in_step){ .name = "SELECT" };
    }
    /* PING tells a server that listens from one that answers, and shows LOADING. */
    redis_resp_texts(out, "PING");
    steps[count++] = (struct log_in_step){ .name = "PING" };
    return count;
}

static int wait_for(struct redis_stream *stream, int events, uint64_t until_ms)
{
    uint64_t now = clock_ms();

    return now < until_ms ? task_poll_fd(redis_stream_fd(stream), events, until_ms - now)
                          : -ETIMEDOUT;
}

static int send_all(struct redis_stream *stream, const struct buf *out, uint64_t until_ms)
{
    size_t sent = 0;

    while (sent < out->length) {
        ssize_t done = redis_stream_write(stream, out->data + sent, out->length - sent);
        if (done > 0) {
            sent += (size_t)done;
            continue;
        }
        int rc = done == -EAGAIN ? wait_for(stream, UV_WRITABLE, until_ms) : (int)done;
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int next_reply(struct redis_try *try, uint64_t until_ms, redisReply **ret)
{
    char data[1024];

    for (;;) {
        void *reply = NULL;
        if (redisReaderGetReply(try->reader, &reply) != REDIS_OK)
            return -EPROTO;
        if (reply) {
            *ret = reply;
            return 0;
        }
        ssize_t done = redis_stream_read(try->stream, data, sizeof(data));
        if (done > 0 && redisReaderFeed(try->reader, data, (size_t)done) != REDIS_OK)
            return -ENOMEM;
        int rc = 0;
        if (done == -EAGAIN)
            rc = wait_for(try->stream, UV_READABLE, until_ms);
        else if (done < 0)
            rc = (int)done;
        if (rc < 0)
            return rc;
    }
}

/* "NOAUTH ..." names a missing option better than Redis does. */
static void refused(struct redis_try *try, const struct log_in_step *step,
                    const char *answer)
{
    if (strncmp(answer, "NOAUTH", 6) == 0)
        snprintf(try->error, sizeof(try->error),
                 "the server asks for a password and none is configured");
    else
        snprintf(try->error, sizeof(try->error), "%s refused: %.150s", step->name,
                 answer);
}

static bool read_log_in(struct redis_try *try, const struct log_in_step *step,
                        uint64_t until_ms)
{
    redisReply *reply;
    int rc = next_reply(try, until_ms, &reply);

    if (rc < 0) {
        snprintf(try->error, sizeof(try->error), "no answer to %s: %s", step->name,
                 rc == -EPROTO ? "this is no Redis" : strerror(-rc));
        return false;
    }
    bool is_good = reply->type != REDIS_REPLY_ERROR || step->may_fail;
    if (!is_good)
        refused(try, step, reply->str);
    freeReplyObject(reply);
    return is_good;
}

static bool log_in(struct redis_try *try, uint64_t until_ms)
{
    struct log_in_step steps[LOG_IN_REPLIES];
    struct buf out = BUF_IN(task_arena());
    size_t count = write_log_in(try->link->settings, &out, steps);
    int rc = send_all(try->stream, &out, until_ms);

    if (rc < 0) {
        snprintf(try->error, sizeof(try->error), "cannot send: %s", strerror(-rc));
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (!read_log_in(try, &steps[i], until_ms))
            return false;
    }
    return true;
}

/* ---- one attempt ---- */

static void free_reader(void *arg)
{
    struct redis_try *try = arg;

    if (!try->is_good)
        redisReaderFree(try->reader);
}

static void run_try(void *arg)
{
    struct redis_try *try = arg;
    const struct redis_settings *settings = try->link->settings;

    if (try->wait_ms > 0)
        task_sleep(try->wait_ms);
    uint64_t until_ms = clock_ms() + settings->connect_timeout_ms;
    if (redis_stream_open(&settings->address, until_ms, &try->stream, try->error,
                          sizeof(try->error)) < 0)
        return;
    try->reader = redisReaderCreate();
    if (!try->reader)
        fatal("out of memory");
    arena_defer(task_arena(), free_reader, try);
    if (!log_in(try, until_ms))
        return;
    redis_stream_keep(try->stream);
    try->is_good = true;
}

static void try_ended(void *arg, enum task_outcome outcome);

static void start_try(struct redis_link *link, uint64_t wait_ms)
{
    struct arena *arena = arena_new(0);
    struct redis_try *try = arena_alloc(arena, sizeof(*try));

    try->arena = arena;
    try->link = link;
    try->wait_ms = wait_ms;
    link->trying = try;
    try->task = task_spawn(&(struct task_spec){ .name = "redis: connect",
                                                .run = run_try,
                                                .arg = try,
                                                .arena = arena,
                                                .on_end = try_ended });
}

/* ---- what became of it ---- */

static void log_trouble(struct redis_link *link, const char *what, const char *reason)
{
    uint64_t now = clock_ms();
    char line[sizeof(link->last_error)];

    snprintf(line, sizeof(line), "%s: %.170s", what, reason);
    if (strcmp(line, link->last_error) == 0 && now - link->last_logged_ms < REPEAT_LOG_MS)
        return;
    memcpy(link->last_error, line, sizeof(line));
    link->last_logged_ms = now;
    log_warn("redis %s (%s): %s; trying again in the background", link->settings->place,
             link->purpose, line);
}

static void wire_reply(void *arg, redisReply *reply)
{
    struct redis_link *link = arg;

    link->events->reply(link->arg, reply);
}

static void wire_lost(void *arg, const char *reason)
{
    redis_link_drop(arg, reason, 0);
}

static void wire_due(void *arg)
{
    struct redis_link *link = arg;

    link->events->due(link->arg);
}

static const struct redis_wire_events wire_events = {
    .reply = wire_reply,
    .lost = wire_lost,
    .due = wire_due,
};

static void link_is_up(struct redis_link *link, struct redis_try *try)
{
    link->wire = redis_wire_new(try->stream, try->reader, &wire_events, link);
    link->next_wait_ms = FIRST_WAIT_MS;
    if (link->last_error[0])
        log_info("redis %s (%s): connected again", link->settings->place, link->purpose);
    else
        log_debug("redis %s (%s): connected", link->settings->place, link->purpose);
    link->last_error[0] = '\0';
    link->events->up(link->arg);
}

static void link_failed(struct redis_link *link, const char *reason)
{
    uint64_t wait = link->next_wait_ms;

    log_trouble(link, "not connected", reason);
    link->next_wait_ms = wait * 2 < LAST_WAIT_MS ? wait * 2 : LAST_WAIT_MS;
    start_try(link, wait);
    link->events->failed(link->arg);
}

static void try_ended(void *arg, enum task_outcome outcome)
{
    struct redis_try *try = arg;
    struct redis_link *link = try->link;

    (void)outcome;
    if (link) {
        link->trying = NULL;
        if (try->is_good)
            link_is_up(link, try);
        else
            link_failed(link, try->error);
    } else if (try->is_good) {
        redis_stream_close(try->stream);
        redisReaderFree(try->reader);
    }
    arena_free(try->arena);
}

/* ---- public ---- */

void redis_link_init(struct redis_link *link, const struct redis_settings *settings,
                     const char *purpose, const struct redis_link_events *events,
                     void *arg)
{
    *link = (struct redis_link){ .settings = settings,
                                 .purpose = purpose,
                                 .events = events,
                                 .arg = arg,
                                 .next_wait_ms = FIRST_WAIT_MS };
}

void redis_link_start(struct redis_link *link)
{
    if (!link->wire && !link->trying)
        start_try(link, 0);
}

void redis_link_stop(struct redis_link *link)
{
    redis_wire_close(link->wire);
    link->wire = NULL;
    if (!link->trying)
        return;
    link->trying->link = NULL;
    task_cancel(link->trying->task);
    link->trying = NULL;
}

void redis_link_drop(struct redis_link *link, const char *reason, uint64_t wait_ms)
{
    if (!link->wire)
        return;
    redis_wire_close(link->wire);
    link->wire = NULL;
    log_trouble(link, "connection lost", reason);
    start_try(link, wait_ms);
    link->events->down(link->arg);
}
