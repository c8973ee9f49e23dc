/*
 * pg_lag.c - how each server is: does it answer, is it a replica, how far is it?
 *
 * Asked every probe_ms by a task of its own for each server, never by a request. A
 * server that does not answer, or is silent for longer than SILENT_MS, is down, and
 * whoever waits for it is told at once, so that a read goes elsewhere.
 *
 * Lag is measured without any server's clock: each answer of the primary says where its
 * log was when we asked, and a replica has caught up with the latest of those moments
 * that its own position is past. A replica that is not asked any more, or a primary
 * that is gone, lets the lag grow: nothing is fresh because nobody looked.
 */
#include "common/clock.h"
#include "common/log.h"
#include "common/pg_internal.h"
#include "queries.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A read may always be asked elsewhere; to give up on the primary costs writes. */
#define SILENT_REPLICA_MS 2000
#define SILENT_PRIMARY_MS 4000
/* Of a page of the log: what it begins with, and the longer form in a file's first. */
#define LOG_PAGE        8192
#define LOG_HEADER      24
#define LOG_LONG_HEADER 40

/* ---- positions and moments ---- */

/*
 * A server that stands at the end of a page names the first byte behind the next page's
 * header, a replica that has replayed all of it the end of the page: the same. (No
 * record ends within or right behind a header.)
 */
uint64_t pg_position_of(const char *digits)
{
    uint64_t position = strtoull(digits, NULL, 10);
    uint64_t in_page = position % LOG_PAGE;

    if (in_page == LOG_HEADER || in_page == LOG_LONG_HEADER)
        position -= in_page;
    return position;
}

void pg_log_add(struct pg_log *log, uint64_t at_ms, uint64_t position)
{
    struct pg_sample sample = { at_ms, position };
    struct pg_sample *last = log->count ? &log->samples[log->count - 1] : NULL;

    /* Another primary, which has not all that the former had. */
    if (last && position < last->position)
        log->count = 0;
    /* The last one is always the newest; those before it keep their distance. */
    if (log->count > 1 && at_ms - last[-1].at_ms < log->spacing_ms) {
        *last = sample;
        return;
    }
    if (log->count == PG_SAMPLES)
        memmove(log->samples, log->samples + 1, --log->count * sizeof(log->samples[0]));
    log->samples[log->count++] = sample;
}

uint64_t pg_log_time_of(const struct pg_log *log, uint64_t position)
{
    for (size_t i = log->count; i > 0; i--)
        if (log->samples[i - 1].position <= position)
            return log->samples[i - 1].at_ms;
    return 0;
}

/* ---- a probe ---- */

struct probe {
    struct pg *pg, *primary;
};

static void catch_up(const struct pg_log *log, struct pg *replica)
{
    uint64_t moment = pg_log_time_of(log, replica->health.position);

    if (moment > replica->health.caught_up_ms)
        replica->health.caught_up_ms = moment;
}

static void found_primary(struct pg *primary, uint64_t asked_ms)
{
    struct pg_route *route = primary->route;

    pg_log_add(&route->log, asked_ms, primary->health.position);
    for (size_t i = 0; i < route->count; i++)
        if (route->replicas[i]->health.state == PG_STATE_UP)
            catch_up(&route->log, route->replicas[i]);
}

static void found_replica(struct pg *primary, struct pg *replica, uint64_t before)
{
    if (replica->health.position < before) /* another copy of the data */
        replica->health.caught_up_ms = 0;
    catch_up(&primary->route->log, replica);
}

static void came_up(struct pg *pg, bool is_replica)
{
    struct pg_health *health = &pg->health;
    bool was_wrong = health->is_replica != !!pg->primary;
    bool is_wrong = is_replica != !!pg->primary;

    if (health->state == PG_STATE_DOWN)
        log_info("PostgreSQL %s answers again", pg->name);
    if (is_wrong && (health->state == PG_STATE_UNKNOWN || !was_wrong))
        log_warn(pg->primary ? "PostgreSQL %s is no replica: it takes writes"
                             : "PostgreSQL %s is a replica: it takes no writes",
                 pg->name);
    health->state = PG_STATE_UP;
    health->is_replica = is_replica;
    /* With several hosts in the URL another connection may lead to the right one. */
    if (is_wrong && !pg->primary && pg_host_count(pg) > 1)
        pg_retire_connections(pg);
}

static void found_down(struct pg *pg, const char *why)
{
    if (pg->health.state == PG_STATE_UP)
        log_warn("PostgreSQL %s: %s: it is left alone until it answers", pg->name, why);
    pg->health.state = PG_STATE_DOWN;
    pg_abandon(pg);
}

/* Yields. 0 or an error. */
static int ask(struct pg *pg, uint64_t silent_ms, struct pg_rows *ret)
{
    struct pg_lease *lease;
    int rc = pg_acquire_probe(pg, silent_ms, &lease);

    if (rc < 0)
        return rc;
    rc = pg_statement_run(lease->connection, &sql_server_position, NULL, 0, false,
                          clock_ms() + silent_ms);
    if (rc == 0)
        pg_rows_of(lease->connection->result, ret);
    return rc;
}

/* It has let somebody wait for a connection in vain, and the open ones heard nothing
 * either: those who wait there would do so until their deadlines. */
static bool is_mute(const struct pg *pg, uint64_t since_ms)
{
    return pg->is_silent && pg->heard_ms < since_ms;
}

static void run(void *arg)
{
    struct probe *probe = arg;
    struct pg *pg = probe->pg;
    uint64_t silent_ms = pg->primary ? SILENT_REPLICA_MS : SILENT_PRIMARY_MS;
    uint64_t asked_ms = clock_ms(), before = pg->health.position;
    uint64_t began_ms = uv_now(task_loop());
    struct pg_rows rows;
    int rc = ask(pg, silent_ms, &rows);

    if (pg->is_closing)
        return;
    if (rc == -ETIMEDOUT) {
        found_down(pg, "no answer");
    } else if (rc == 0 && rows.count == 1) {
        came_up(pg, pg_get_bool(&rows, 0, 0));
        pg->health.position = pg_position_of(pg_get_text(&rows, 0, 1));
        if (pg->primary)
            found_replica(probe->primary, pg, before);
        else if (!pg->health.is_replica)
            found_primary(pg, asked_ms);
    } else if (pg->failures > 0 &&
               (pg->open == pg->connecting || is_mute(pg, began_ms))) {
        found_down(pg, pg->last_error);
    } /* That all are busy, or that it takes no more of them, is no news. One that broke
       * may have been an old one. */
    pg_board_show(pg, probe->primary->options.max_lag_ms);
}

static void ended(void *arg, enum task_outcome outcome)
{
    struct probe *probe = arg;

    (void)outcome;
    probe->pg->health.is_probing = false;
    pg_unref(probe->pg);
    pg_unref(probe->primary);
    free(probe);
}

static void start(struct pg *primary, struct pg *pg)
{
    struct probe *probe;

    if (pg->health.is_probing)
        return;
    probe = calloc(1, sizeof(*probe));
    if (!probe)
        fatal("out of memory");
    *probe = (struct probe){ .pg = pg, .primary = primary };
    pg->health.is_probing = true;
    pg->references++;
    primary->references++;
    task_spawn(&(struct task_spec){
        .name = "pg:probe", .run = run, .arg = probe, .on_end = ended });
}

void pg_lag_probe(struct pg *primary)
{
    struct pg_route *route = primary->route;

    start(primary, primary); /* first: replicas are measured against its answer */
    for (size_t i = 0; i < route->count; i++) {
        start(primary, route->replicas[i]);
        pg_board_show(route->replicas[i], primary->options.max_lag_ms);
    }
}
