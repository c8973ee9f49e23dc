/*
 * pg_pool.c - who gets which connection.
 *
 * A task takes an idle connection, else opens one, else waits its turn. Places:
 * `size` base ones, opened at once, and `overflow` more, opened only for a task
 * that has waited OVERFLOW_AFTER_MS: queries take a fraction of that, so a short
 * rush is served sooner by the warm connections than by new ones.
 *
 * A connection given back goes straight to the longest waiting task, through the
 * loop. Nothing here blocks; a lease is given back by its arena at the latest.
 */
#include "common/arena.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/pg_internal.h"
#include "common/scoreboard.h"
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Longer than a saturated pool's ordinary wait: 64 clients on 5 connections wait about
 * 20 ms for their turn, and more connections only make the server switch between more
 * processes. Measured on 2 cores, in turns: 1,144 and 1,124 lists/s when 10 ms were
 * enough to open one, 3,953 and 3,639 now.
 */
#define OVERFLOW_AFTER_MS 50
#define LOOK_AGAIN_MS     500 /* a place that was offered to a task that has ended */
#define BACKOFF_FIRST_MS  100
#define BACKOFF_LAST_MS   2000
#define BACKOFF_WATCHED   400 /* where probes alone try */

/* What a waiting task is woken with: it holds a connection, or looks again. */
enum { WOKEN_WITH_LEASE = 0, WOKEN_TO_LOOK = 1 };

/* ---- counters ---- */

void pg_count_in_use(const struct pg *pg, int change)
{
    if (pg->board)
        atomic_fetch_add_explicit(&pg->board->in_use, change, memory_order_relaxed);
    if (!pg->options.slot)
        return;
    if (change > 0)
        atomic_fetch_add_explicit(&pg->options.slot->count.pg_in_use, 1,
                                  memory_order_relaxed);
    else
        atomic_fetch_sub_explicit(&pg->options.slot->count.pg_in_use, 1,
                                  memory_order_relaxed);
}

static void count_wait(struct pg *pg)
{
    pg->waited++;
    pg_board_count(pg, PG_COUNT_WAITS);
    if (pg->options.slot)
        atomic_fetch_add_explicit(&pg->options.slot->count.pg_waits, 1,
                                  memory_order_relaxed);
}

/* ---- the queue ---- */

/* In the order of tickets: who comes back to the queue keeps the turn it had. */
static void enqueue(struct pg *pg, struct pg_waiter *waiter)
{
    struct pg_waiter *after = pg->waiting_last;

    while (after && after->ticket > waiter->ticket)
        after = after->previous;
    waiter->previous = after;
    waiter->next = after ? after->next : pg->waiting_first;
    if (waiter->next)
        waiter->next->previous = waiter;
    else
        pg->waiting_last = waiter;
    if (after)
        after->next = waiter;
    else
        pg->waiting_first = waiter;
    waiter->is_queued = true;
    pg->waiting++;
}

static void dequeue(struct pg_waiter *waiter)
{
    struct pg *pg = waiter->pg;

    if (!waiter->is_queued)
        return;
    if (waiter->previous)
        waiter->previous->next = waiter->next;
    else
        pg->waiting_first = waiter->next;
    if (waiter->next)
        waiter->next->previous = waiter->previous;
    else
        pg->waiting_last = waiter->previous;
    waiter->is_queued = false;
    pg->waiting--;
}

static void wait_given_up(void *arg)
{
    dequeue(arg);
}

static void wake_first(struct pg *pg, int result)
{
    struct pg_waiter *waiter = pg->waiting_first;

    dequeue(waiter);
    task_wake(waiter->task, result);
}

static void wake_all(struct pg *pg, int result)
{
    while (pg->waiting_first)
        wake_first(pg, result);
}

/* ---- back-off ---- */

static bool has_live_ones(const struct pg *pg)
{
    return pg->open > pg->connecting;
}

void pg_connect_failed(struct pg *pg, const char *why)
{
    uint64_t wait = pg->route || pg->primary ? BACKOFF_WATCHED : BACKOFF_LAST_MS;

    pg->failed++;
    snprintf(pg->last_error, sizeof(pg->last_error), "%.*s", (int)strcspn(why, "\n"),
             why);
    if (pg->failures == 0) {
        pg->failing_since = clock_ms();
        log_error("cannot connect to PostgreSQL%s%s: %.*s",
                  pg->primary ? " replica " : "", pg->primary ? pg->name : "",
                  (int)strcspn(why, "\n"), why);
    }
    if (pg->failures < 5 && (uint64_t)BACKOFF_FIRST_MS << pg->failures < wait)
        wait = (uint64_t)BACKOFF_FIRST_MS << pg->failures;
    pg->failures++;
    pg->retry_at = clock_ms() + wait;
    pg_board_show(pg, pg->options.max_lag_ms);
    /* With no connection left that could be handed on, waiting is in vain. */
    if (!has_live_ones(pg))
        wake_all(pg, -EAGAIN);
}

static bool may_connect(const struct pg *pg)
{
    return pg->failures == 0 || (pg->connecting == 0 && clock_ms() >= pg->retry_at);
}

/*
 * How many connections there may be. Where servers are probed the last of the overflow is
 * the probe's, which has to find out that all others wait in vain; without an overflow it
 * gets one beyond.
 */
static int places(const struct pg *pg, bool is_probe)
{
    bool is_watched = pg->route || pg->primary;
    int most = pg->options.size + pg->options.overflow;

    if (!is_watched)
        return most;
    if (pg->options.overflow == 0)
        return most + is_probe;
    return most - !is_probe;
}

bool pg_may_open(const struct pg *pg)
{
    return !pg->is_closing && pg->open < places(pg, false) && may_connect(pg);
}

/* ---- idle connections ---- */

void pg_forget_idle(struct pg_connection *connection)
{
    struct pg *pg = connection->pg;

    for (struct pg_connection **at = &pg->idle_first; *at; at = &(*at)->next) {
        if (*at == connection) {
            *at = connection->next;
            pg->idle--;
            connection->is_idle = false;
            pg_connection_set_busy(connection, true);
            return;
        }
    }
    assert(false && "an idle connection stands in its pool's list");
}

static void make_idle(struct pg_connection *connection)
{
    struct pg *pg = connection->pg;

    connection->idle_since = clock_ms();
    connection->is_idle = true;
    connection->next = pg->idle_first;
    pg->idle_first = connection;
    pg->idle++;
    pg_connection_set_busy(connection, false);
}

static bool is_too_old(const struct pg_connection *connection)
{
    uint64_t most = connection->pg->options.recycle_ms;

    if (connection->epoch != connection->pg->epoch)
        return true;

    return most != 0 && clock_ms() - connection->opened_at >= most;
}

static void free_idle(struct pg *pg)
{
    while (pg->idle_first) {
        struct pg_connection *connection = pg->idle_first;

        pg_forget_idle(connection);
        pg_connection_free(connection);
    }
}

void pg_retire_connections(struct pg *pg)
{
    pg->epoch++;
    free_idle(pg);
}

void pg_abandon(struct pg *pg)
{
    pg_retire_connections(pg);
    for (struct pg_connection *at = pg->all_first; at; at = at->all_next)
        if (!at->pipe && !at->is_connecting && !at->is_shut)
            pg_connection_abandon(at);
    if (pg->pipes)
        pg_pipes_close(pg->pipes);
    wake_all(pg, -EAGAIN);
}

bool pg_is_usable(const struct pg *pg)
{
    return !pg->is_closing && pg->health.state != PG_STATE_DOWN &&
           (pg->failures == 0 || has_live_ones(pg));
}

int pg_load(const struct pg *pg)
{
    return pg->open - pg->idle + pg->waiting + (pg->pipes ? pg_pipes_load(pg->pipes) : 0);
}

/* The one used last that still lives, or NULL. */
static struct pg_connection *take_idle(struct pg *pg)
{
    while (pg->idle_first) {
        struct pg_connection *connection = pg->idle_first;

        pg_forget_idle(connection);
        if (!is_too_old(connection) && pg_connection_is_alive(connection))
            return connection;
        if (connection->is_lost)
            pg->reconnects++;
        pg_connection_free(connection);
    }
    return NULL;
}

/* ---- leases ---- */

static void lease_ends(void *arg)
{
    struct pg_lease *lease = arg;

    lease->deferred = NULL;
    pg_release(lease);
}

static struct pg_lease *lease_new(void)
{
    struct pg_lease *lease = arena_alloc(task_arena(), sizeof(*lease));

    lease->deferred = arena_defer(task_arena(), lease_ends, lease);
    return lease;
}

static void take_back(struct pg_connection *connection)
{
    if (connection->is_lent)
        pg_count_in_use(connection->pg, -1);
    connection->is_lent = false;
}

static void lend(struct pg_lease *lease, struct pg_connection *connection)
{
    struct pg *pg = connection->pg;

    lease->connection = connection;
    connection->is_lent = true;
    pg->acquired++;
    pg_count_in_use(pg, 1);
}

/* Takes the lease out of the arena's care; it holds nothing. */
static void lease_drop(struct pg_lease *lease)
{
    if (lease->deferred)
        arena_undefer(lease->deferred);
    lease->deferred = NULL;
}

/* ---- a transaction that was left open ---- */

static void roll_back(void *arg)
{
    struct pg_lease *lease = lease_new();

    lease->connection = arg;
    pg_statement_command(lease->connection, "pg:rollback", "ROLLBACK", clock_ms() + 1000);
    pg_release(lease);
}

static void hand_on(struct pg_connection *connection)
{
    struct pg *pg = connection->pg;

    if (pg->waiting_first) {
        lend(pg->waiting_first->lease, connection);
        wake_first(pg, WOKEN_WITH_LEASE);
    } else if (pg->open > pg->options.size) {
        pg_connection_free(connection);
    } else {
        make_idle(connection);
    }
}

static bool is_reusable(const struct pg_connection *connection)
{
    return !connection->is_shut && !connection->pg->is_closing &&
           !connection->is_connecting && !connection->in_flight && !connection->is_lost &&
           !is_too_old(connection);
}

void pg_release(struct pg_lease *lease)
{
    struct pg_connection *connection = lease->connection;

    lease_drop(lease);
    lease->connection = NULL;
    if (!connection)
        return;
    take_back(connection);
    if (!is_reusable(connection)) {
        pg_connection_free(connection);
        return;
    }
    PQclear(connection->result);
    connection->result = NULL;
    switch (PQtransactionStatus(connection->libpq)) {
    case PQTRANS_IDLE:
        hand_on(connection);
        break;
    case PQTRANS_INTRANS:
    case PQTRANS_INERROR: /* its task has gone: one of its own tidies up */
        task_spawn(&(struct task_spec){
            .name = "pg:rollback", .run = roll_back, .arg = connection });
        break;
    default:
        pg_connection_free(connection);
    }
}

void pg_place_is_free(struct pg *pg)
{
    if (pg->waiting_first && may_connect(pg))
        wake_first(pg, WOKEN_TO_LOOK);
}

/* ---- acquire ---- */

/* Yields. 0, or -EAGAIN. */
static int connect_now(struct pg *pg, struct pg_lease *lease)
{
    struct pg_connection *connection = pg_connection_new(pg);

    lease->connection = connection;
    int rc = pg_connection_open(connection);
    if (rc < 0) {
        lease->connection = NULL;
        pg_connection_free(connection);
        return rc;
    }
    lend(lease, connection);
    return 0;
}

/* One that idled long may have died without a word (a firewall). Yields. */
static bool answers(struct pg *pg, struct pg_lease *lease)
{
    struct pg_connection *connection = lease->connection;
    uint64_t most = pg->options.ping_after_ms;

    if (most == 0 || clock_ms() - connection->idle_since < most)
        return true;
    if (pg_statement_command(connection, "pg:ping", "SELECT 1",
                             clock_ms() + pg->options.connect_timeout_ms) == 0)
        return true;
    pg->reconnects++;
    take_back(connection);
    lease->connection = NULL;
    pg_connection_free(connection);
    return false;
}

/* Yields. A WOKEN_ value, -ETIMEDOUT or -EAGAIN. */
static int wait_in_queue(struct pg *pg, struct pg_waiter *waiter, uint64_t until)
{
    uint64_t now = clock_ms();
    bool may_grow = pg->open < places(pg, waiter->is_probe);
    uint64_t left = until > now ? until - now : 1;

    if (left > (may_grow ? OVERFLOW_AFTER_MS : LOOK_AGAIN_MS))
        left = may_grow ? OVERFLOW_AFTER_MS : LOOK_AGAIN_MS;
    enqueue(pg, waiter);
    return task_park(&(struct task_park){ .waiting_on = "pg:connection",
                                          .timeout_ms = left,
                                          .on_cancel = wait_given_up,
                                          .arg = waiter });
}

static bool has_place(const struct pg *pg, bool is_probe, bool has_waited)
{
    int most = has_waited ? places(pg, is_probe) : pg->options.size;

    return pg->open < most && may_connect(pg);
}

/* How long those waited that had to, with or without success. */
static void count_waited(const struct pg *pg, uint64_t began_us, int rc)
{
    struct board_slot *slot = pg->options.slot;

    if (!slot)
        return;
    atomic_fetch_add_explicit(&slot->count.pg_wait_us, clock_us() - began_us,
                              memory_order_relaxed);
    if (rc < 0)
        atomic_fetch_add_explicit(&slot->count.pg_wait_failures, 1, memory_order_relaxed);
}

/* Yields. 0 or -EAGAIN. */
static int acquire(struct pg *pg, struct pg_waiter *waiter, uint64_t wait_ms)
{
    uint64_t began = clock_ms(), until = began + wait_ms;

    for (;;) {
        struct pg_connection *connection = take_idle(pg);

        if (connection) {
            lend(waiter->lease, connection);
            if (answers(pg, waiter->lease))
                return 0;
            continue;
        }
        if (has_place(pg, waiter->is_probe, clock_ms() - began >= OVERFLOW_AFTER_MS))
            return connect_now(pg, waiter->lease);
        if (pg->is_closing || clock_ms() >= until ||
            (pg->failures > 0 && !has_live_ones(pg)))
            return -EAGAIN;

        if (!waiter->ticket) {
            waiter->ticket = ++pg->next_ticket;
            count_wait(pg);
        }
        int rc = wait_in_queue(pg, waiter, until);
        if (rc == WOKEN_WITH_LEASE || rc == -EAGAIN)
            return rc;
    }
}

static int acquire_for(struct pg *pg, bool is_probe, uint64_t wait_ms,
                       struct pg_lease **ret)
{
    struct pg_lease *lease = lease_new();
    struct pg_connection *connection = pg->is_closing ? NULL : take_idle(pg);

    *ret = lease;
    if (connection) { /* the usual case needs no place in the queue */
        lend(lease, connection);
        if (answers(pg, lease))
            return 0;
    }
    struct pg_waiter *waiter = arena_alloc(task_arena(), sizeof(*waiter));
    *waiter = (struct pg_waiter){
        .task = task_self(), .lease = lease, .pg = pg, .is_probe = is_probe
    };
    uint64_t began_us = clock_us();
    int rc = acquire(pg, waiter, wait_ms);
    if (waiter->ticket)
        count_waited(pg, began_us, rc);
    if (rc < 0)
        lease_drop(lease);
    return rc;
}

int pg_acquire(struct pg *pg, uint64_t wait_ms, struct pg_lease **ret)
{
    /* Its probe has found it so, and will find when it is not. */
    if (pg->health.state == PG_STATE_DOWN)
        return -EAGAIN;
    return acquire_for(pg, false, wait_ms, ret);
}

int pg_acquire_probe(struct pg *pg, uint64_t wait_ms, struct pg_lease **ret)
{
    return acquire_for(pg, true, wait_ms, ret);
}

/* ---- the pool ---- */

static const char *copied(const char *text)
{
    char *copy = strdup(text ? text : "");

    if (!copy)
        fatal("out of memory");
    return copy;
}

struct pg *pg_new(const struct pg_options *options)
{
    return pg_new_of(options, NULL);
}

struct pg *pg_new_of(const struct pg_options *options, struct pg *primary)
{
    struct pg *pg = calloc(1, sizeof(*pg));
    char *error = NULL;

    if (!pg || !(pg->labels = calloc(query_count + 1, sizeof(*pg->labels))))
        fatal("out of memory");
    pg->references = 1;
    pg->primary = primary;
    pg->options = *options;
    pg->options.url = copied(options->url);
    pg->options.ssl_mode = copied(options->ssl_mode);
    pg->options.ssl_root_cert = copied(options->ssl_root_cert);
    pg->options.application_name = copied(options->application_name);
    if (pg->options.size < 1)
        pg->options.size = 1;
    pg->info = PQconninfoParse(pg->options.url, &error);
    if (!pg->info)
        fatal("%s: %.*s", options->option ? options->option : "database.url",
              error ? (int)strcspn(error, "\n") : 0, error ? error : "");
    /* libpq sends these two when it connects, so times come and go as UTC in ISO form
     * whatever the server's settings; poolers accept them, unlike `options`. */
    setenv("PGTZ", "UTC", 1);
    setenv("PGDATESTYLE", "ISO", 1);
    /* One connection at least is left to those that want one for themselves. */
    if (pg->options.pipelines >= pg->options.size)
        pg->options.pipelines = pg->options.size - 1;
    if (pg->options.pipelines > 0 && pg->options.prepared)
        pg->pipes = pg_pipes_new(pg, pg->options.pipelines);
    pg_server_name(pg->options.url, pg->name, sizeof(pg->name));
    pg_board_open(pg);
    if (options->replica_count > 0)
        pg_route_init(pg);
    return pg;
}

void pg_unref(struct pg *pg)
{
    if (--pg->references > 0)
        return;
    if (pg->pipes)
        pg_pipes_free(pg->pipes);
    if (pg->route)
        pg_route_free(pg->route);
    PQconninfoFree(pg->info);
    for (size_t i = 0; i < query_count; i++)
        free((char *)pg->labels[i]);
    free(pg->labels);
    free((char *)pg->options.url);
    free((char *)pg->options.ssl_mode);
    free((char *)pg->options.ssl_root_cert);
    free((char *)pg->options.application_name);
    free(pg);
}

void pg_free(struct pg *pg)
{
    if (!pg)
        return;
    pg->is_closing = true;
    wake_all(pg, -EAGAIN);
    if (pg->pipes)
        pg_pipes_close(pg->pipes);
    free_idle(pg);
    if (pg->route)
        pg_route_close(pg);
    pg_unref(pg);
}

void pg_stats(const struct pg *pg, struct pg_stats *ret)
{
    int idle = pg->idle + (pg->pipes ? pg_pipes_idle(pg->pipes) : 0);

    *ret = (struct pg_stats){ .open = pg->open,
                              .in_use = pg->open - idle - pg->connecting,
                              .idle = idle,
                              .waiting = pg->waiting,
                              .acquired = pg->acquired,
                              .pipelined = pg->pipelined,
                              .waited = pg->waited,
                              .failed = pg->failed,
                              .reconnects = pg->reconnects };
}

const char *pg_last_error(const struct pg *pg)
{
    return pg->last_error;
}
