/*
 * pg_route.c - a primary and its replicas: which one serves a read.
 *
 * A replica is good for a reader when it answers, has seen all that the primary had
 * written max_lag ago, and has replayed what this reader wrote. Of those the one with
 * the fewest queries in flight (and waiting) is asked, in turns among equals. None: the
 * primary. The primary is gone: the replica that is the furthest, even if behind.
 *
 * A server that fails is not asked again for this read, and by nobody once its pool
 * cannot connect or its probe has failed.
 */
#include "common/clock.h"
#include "common/log.h"
#include "common/pg_internal.h"
#include <errno.h>
#include <stdlib.h>

/* A replica that is down is only tried by probes: they need not be patient. */
#define CONNECT_MS 2000
/* Of max_lag: how fine moments are told apart. */
#define SAMPLES_A_LAG 64
/* A read is asked so often: here, elsewhere, and where nobody had failed yet. */
#define MOST_ATTEMPTS 3
/* What a position outlives max_lag, for clocks that do not run alike. */
#define MARGIN_MS 2000

struct tried {
    const struct pg *servers[MOST_ATTEMPTS];
    int count;
};

static bool was_tried(const struct tried *tried, const struct pg *pg)
{
    for (int i = 0; i < tried->count; i++)
        if (tried->servers[i] == pg)
            return true;
    return false;
}

static bool is_up(const struct pg *replica)
{
    return replica->health.state == PG_STATE_UP && pg_is_usable(replica);
}

static bool is_fresh(const struct pg *replica, uint64_t max_lag_ms,
                     const struct pg_reader *reader)
{
    const struct pg_health *health = &replica->health;

    if (reader->freshness == PG_FRESH_PRIMARY || !health->is_replica ||
        health->caught_up_ms == 0 || clock_ms() - health->caught_up_ms > max_lag_ms)
        return false;
    return reader->freshness == PG_FRESH_ANY || health->position >= reader->position;
}

static struct pg *choose_fresh(struct pg *pg, const struct pg_reader *reader,
                               const struct tried *tried)
{
    struct pg_route *route = pg->route;
    struct pg *best = NULL;
    int least = 0;

    route->turn++;
    for (size_t i = 0; i < route->count; i++) {
        struct pg *replica = route->replicas[(i + route->turn) % route->count];

        if (!is_up(replica) || was_tried(tried, replica) ||
            !is_fresh(replica, pg->options.max_lag_ms, reader))
            continue;
        int load = pg_load(replica);
        if (!best || load < least) {
            best = replica;
            least = load;
        }
    }
    return best;
}

/* One that was promoted is ahead of all others. */
static struct pg *choose_furthest(const struct pg_route *route, const struct tried *tried)
{
    struct pg *best = NULL;

    for (size_t i = 0; i < route->count; i++) {
        struct pg *replica = route->replicas[i];

        if (!is_up(replica) || was_tried(tried, replica))
            continue;
        if (!best || (best->health.is_replica && !replica->health.is_replica) ||
            (best->health.is_replica == replica->health.is_replica &&
             replica->health.position > best->health.position))
            best = replica;
    }
    return best;
}

/* Its lag does not matter to who knows that their own writes are there. */
static bool has_passed(const struct pg *replica, const struct pg_reader *reader)
{
    return reader->freshness == PG_FRESH_AT &&
           replica->health.position >= reader->position;
}

/* NULL: everybody was tried. */
static struct pg *choose(struct pg *pg, struct pg_reader *reader,
                         const struct tried *tried)
{
    struct pg *chosen = choose_fresh(pg, reader, tried);

    if (chosen)
        return chosen;
    if (!was_tried(tried, pg) && pg_is_usable(pg)) {
        if (pg->health.is_replica && !has_passed(pg, reader)) /* it is none any more */
            reader->was_behind = true;
        return pg;
    }
    chosen = choose_furthest(pg->route, tried);
    if (chosen && !has_passed(chosen, reader))
        reader->was_behind = true;
    if (!chosen && !was_tried(tried, pg))
        chosen = pg;
    return chosen;
}

/* What another server may answer: a lost one, a query that a replica's replay had to
 * cancel (40001), a table that it does not have yet. */
static bool may_ask_another(const struct pg *server, int rc, bool may_repeat)
{
    if (rc == -EAGAIN || may_repeat)
        return true;
    return server->primary && (rc == -EDEADLK || rc == -ENOSYS || rc == -EIO);
}

/* A primary that is there, but too busy for this read, is not to be replaced by a replica
 * that may not have what the reader has written. (One that cannot be connected to may be
 * dying: its other connections are not found broken in the same moment.) */
static bool is_busy_primary(const struct pg *server, int rc, bool may_repeat)
{
    return !server->primary && rc == -EAGAIN && !may_repeat && server->failures == 0 &&
           pg_is_usable(server);
}

int pg_read(struct pg *pg, struct pg_reader *reader, const struct query *query,
            const struct pg_param *params, int count, struct pg_rows *ret)
{
    struct tried tried = { .count = 0 };
    bool is_second = false; /* the primary lost a connection, no more, perhaps */
    int rc = -EAGAIN;

    if (!pg->route)
        return pg_run(pg, query, params, count, ret);
    while (tried.count < MOST_ATTEMPTS) {
        struct pg *server = choose(pg, reader, &tried);
        bool may_repeat;

        if (!server)
            break;
        rc = pg_run_here(server, query, params, count, ret, &may_repeat);
        if (rc == 0 || !may_ask_another(server, rc, may_repeat) ||
            is_busy_primary(server, rc, may_repeat))
            break;
        if (server == pg && !is_second && pg_is_usable(pg)) {
            is_second = true;
            continue;
        }
        tried.servers[tried.count++] = server;
        pg_board_count(server, PG_COUNT_RETRIES);
    }
    return rc;
}

uint64_t pg_settled_ms(const struct pg *pg)
{
    return pg && pg->route ? pg->options.max_lag_ms + MARGIN_MS : 0;
}

bool pg_is_read_only(const struct pg *pg)
{
    return pg->health.state == PG_STATE_UP && pg->health.is_replica;
}

bool pg_has_reader(const struct pg *pg)
{
    for (size_t i = 0; pg->route && i < pg->route->count; i++)
        if (is_up(pg->route->replicas[i]))
            return true;
    return false;
}

/* ---- beginning and end ---- */

static void on_timer(uv_timer_t *timer)
{
    pg_lag_probe(timer->data);
}

static struct pg *new_replica(struct pg *pg, const char *url)
{
    struct pg_options options = pg->options;

    options.url = url;
    options.option = "database.replicas";
    options.replicas = NULL;
    options.replica_count = 0;
    options.keeps_positions = false;
    if (options.connect_timeout_ms > CONNECT_MS)
        options.connect_timeout_ms = CONNECT_MS;
    return pg_new_of(&options, pg);
}

void pg_route_init(struct pg *pg)
{
    const struct pg_options *options = &pg->options;
    struct pg_route *route = calloc(1, sizeof(*route));

    if (!route ||
        !(route->replicas = calloc(options->replica_count, sizeof(struct pg *))))
        fatal("out of memory");
    pg->route = route;
    if (pg->options.probe_ms > options->max_lag_ms / 2) /* or nobody would be fresh */
        pg->options.probe_ms = options->max_lag_ms / 2;
    for (size_t i = 0; i < options->replica_count; i++)
        route->replicas[route->count++] = new_replica(pg, options->replicas[i]);
    pg->options.replicas = NULL; /* the caller's */
    route->log.spacing_ms = options->max_lag_ms / SAMPLES_A_LAG;
    uv_timer_init(task_loop(), &route->timer);
    route->timer.data = pg;
    uv_timer_start(&route->timer, on_timer, 0, options->probe_ms);
    uv_unref((uv_handle_t *)&route->timer);
}

void pg_route_close(struct pg *pg)
{
    struct pg_route *route = pg->route;

    uv_timer_stop(&route->timer);
    for (size_t i = 0; i < route->count; i++)
        pg_free(route->replicas[i]);
}

static void timer_closed(uv_handle_t *handle)
{
    struct pg_route *route =
        (struct pg_route *)(void *)((char *)handle - offsetof(struct pg_route, timer));

    free(route->replicas);
    free(route);
}

void pg_route_free(struct pg_route *route)
{
    uv_close((uv_handle_t *)&route->timer, timer_closed);
}
