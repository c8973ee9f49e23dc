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

#define FIRST_WAIT_MS 50
#define LAST_WAIT_MS  1000
#define REPEAT_LOG_MS 60000 /* the same failure is logged again after this */
#define SHORT_LIFE_MS 250   /* a server that closes so soon is given a moment */

struct redis_try {
    struct redis_link *link; /* NULL: nobody wants the result any more */
    struct arena *arena;     /* it lives in this one; the task's, and freed with it */
    struct task *task;
    struct redis_talk *talk; /* NULL: it waits for its turn */
    uint64_t wait_ms;
    bool is_good, is_refused;
};

/* ---- one attempt ---- */

/* Yields. Where to connect to; the first half of the time is for the sentinels. */
static int find_server(struct redis_try *try, struct redis_address *ret)
{
    const struct redis_settings *settings = try->link->settings;

    *ret = settings->address;
    if (!settings->sentinels)
        return 0;
    return redis_sentinels_find(settings->sentinels, try->talk->until_ms, ret,
                                try->talk->error, sizeof(try->talk->error));
}

static int enter(struct redis_try *try, const struct redis_address *address)
{
    const struct redis_settings *settings = try->link->settings;
    struct redis_link *link = try->link;

    memcpy(link->peer.host, address->host, sizeof(link->peer.host));
    memcpy(link->peer.port, address->port, sizeof(link->peer.port));
    int rc = redis_talk_open(try->talk, address);
    if (rc == 0)
        rc = redis_talk_log_in(try->talk,
                               &(struct redis_login){
                                   .user = address->user,
                                   .password = address->password,
                                   .client_name = settings->client_name,
                                   .db = address->db,
                                   .needs_master = settings->needs_master,
                                   .is_reader = settings->is_reader,
                                   .options = "user and password in redis.url, or "
                                              "redis.user and redis.password "
                                              "(of redis.cache.cluster: redis.cache.user "
                                              "and redis.cache.password)",
                               });
    if (rc < 0 && settings->sentinels)
        redis_sentinels_doubt(settings->sentinels);
    return rc;
}

static void run_try(void *arg)
{
    struct redis_try *try = arg;
    struct redis_address *address = arena_alloc(task_arena(), sizeof(*address));

    if (try->wait_ms > 0)
        task_sleep(try->wait_ms);
    try->talk = redis_talk_new(clock_ms() + try->link->settings->connect_timeout_ms);
    int rc = find_server(try, address);
    if (rc == 0)
        rc = enter(try, address);
    if (rc == 0) {
        redis_talk_keep(try->talk);
        try->is_good = true;
    }
    try->is_refused = rc == -EACCES;
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

/* With sentinels: who it was; else the address says it all. */
static const char *place_of(const struct redis_link *link, char room[400])
{
    if (!link->settings->sentinels || !link->peer.host[0])
        return link->settings->place;
    snprintf(room, 400, "%s at %s:%s", link->settings->place, link->peer.host,
             link->peer.port);
    return room;
}

static void log_trouble(struct redis_link *link, const char *what, const char *reason)
{
    uint64_t now = clock_ms();
    char room[400];
    bool is_known = link->last_what == what && strcmp(link->reason, reason) == 0;

    if (is_known && now - link->last_logged_ms < REPEAT_LOG_MS)
        return;
    snprintf(link->reason, sizeof(link->reason), "%s", reason);
    link->last_what = what;
    link->last_logged_ms = now;
    log_warn("redis %s (%s): %s: %s; trying again in the background",
             place_of(link, room), link->purpose, what, link->reason);
}

/* Without a reason nothing is logged. */
static void lose(struct redis_link *link, const char *reason, uint64_t wait_ms)
{
    if (!link->wire)
        return;
    if (reason) /* first: it may be the connection's own text */
        log_trouble(link, "connection lost", reason);
    redis_wire_close(link->wire);
    link->wire = NULL;
    start_try(link, wait_ms);
    link->events->down(link->arg);
}

static void stop_trying(struct redis_link *link)
{
    if (!link->trying)
        return;
    link->trying->link = NULL;
    task_cancel(link->trying->task);
    link->trying = NULL;
}

/* The sentinels name the master. An attempt that hangs at another server is of no use any
 * more, and one that waits for its turn need not. */
static void switched(void *arg, const char *host, const char *port)
{
    struct redis_link *link = arg;
    bool is_there =
        strcmp(link->peer.host, host) == 0 && strcmp(link->peer.port, port) == 0;

    if (link->wire && !is_there) {
        lose(link, "the sentinels have named another master", 0);
    } else if (link->trying && (!is_there || !link->trying->talk)) {
        stop_trying(link);
        start_try(link, 0);
    }
}

static void wire_reply(void *arg, redisReply *reply)
{
    struct redis_link *link = arg;

    link->events->reply(link->arg, reply);
}

/* Servers, and what stands between, close what is idle for long: nothing to report. */
static void wire_lost(void *arg, const char *reason)
{
    struct redis_link *link = arg;

    bool is_idle = link->events->is_idle && link->events->is_idle(link->arg);
    bool is_young = clock_ms() - link->up_ms < SHORT_LIFE_MS;

    lose(link, is_idle ? NULL : reason, is_idle && is_young ? SHORT_LIFE_MS : 0);
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
    char room[400];

    link->wire = redis_wire_new(try->talk->stream, try->talk->reader, &wire_events, link);
    link->next_wait_ms = FIRST_WAIT_MS;
    link->up_ms = clock_ms();
    link->is_refused = false;
    if (link->last_what)
        log_info("redis %s (%s): connected again", place_of(link, room), link->purpose);
    else
        log_debug("redis %s (%s): connected", place_of(link, room), link->purpose);
    link->last_what = NULL;
    link->events->up(link->arg);
}

static void link_failed(struct redis_link *link, const struct redis_try *try)
{
    uint64_t wait = link->next_wait_ms;

    log_trouble(link, "not connected", try->talk->error);
    link->is_refused = try->is_refused;
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
            link_failed(link, try);
    } else if (try->is_good) {
        redis_stream_close(try->talk->stream);
        redisReaderFree(try->talk->reader);
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
                                 .ear = { .switched = switched, .arg = link },
                                 .next_wait_ms = FIRST_WAIT_MS };
}

void redis_link_start(struct redis_link *link)
{
    if (!link->wire && !link->trying)
        start_try(link, 0);
    if (link->settings->sentinels)
        redis_sentinels_listen(link->settings->sentinels, &link->ear);
}

void redis_link_stop(struct redis_link *link)
{
    if (link->settings->sentinels)
        redis_sentinels_unlisten(link->settings->sentinels, &link->ear);
    redis_wire_close(link->wire);
    link->wire = NULL;
    stop_trying(link);
}

void redis_link_drop(struct redis_link *link, const char *reason, uint64_t wait_ms)
{
    lose(link, reason, wait_ms);
}
