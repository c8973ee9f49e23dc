/*
 * status.c - see status.h. Everything comes from the scoreboard; nobody is asked.
 */
#include "master/status.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/log.h"
#include "master/master.h"
#include "master/upgrade.h"
#include <stddef.h>
#include <stdio.h>

static const char *const states[] = {
    [BOARD_FREE] = "free",         [BOARD_STARTING] = "starting", [BOARD_READY] = "ready",
    [BOARD_DRAINING] = "draining", [BOARD_DEAD] = "dead",
};

static const char *const phases[] = {
    [PHASE_SERVICES] = "waiting for its services",
    [PHASE_MIGRATE] = "bringing the schema up to date",
    [PHASE_SERVING] = "serving",
    [PHASE_STOPPING] = "stopping",
    [PHASE_GONE] = "stopped",
};

/* What is written by another process may be younger than this look at the clock. */
static double seconds_since(uint64_t then_ms, uint64_t now_ms)
{
    return now_ms > then_ms ? (double)(now_ms - then_ms) / 1000 : 0;
}

/* A client's path may hold anything; on a terminal it is to be text. */
static void make_harmless(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            *text = '?';
}

static void add_doing(cJSON *row, const struct board_slot *slot, uint64_t now)
{
    struct board_doing doing;

    if (!board_read_doing(slot, &doing) || !doing.since_ms)
        return;
    make_harmless(doing.id);
    make_harmless(doing.what);
    cJSON *object = cJSON_AddObjectToObject(row, "doing");
    cJSON_AddStringToObject(object, "id", doing.id);
    cJSON_AddStringToObject(object, "what", doing.what);
    cJSON_AddStringToObject(object, "waiting_on", doing.waiting_on);
    cJSON_AddNumberToObject(object, "seconds", seconds_since(doing.since_ms, now));
}

/* Three digits behind the point: more would be noise. */
static double rounded(double number)
{
    return (double)(int64_t)(number * 1000 + 0.5) / 1000;
}

static cJSON *child_json(struct master *m, size_t index, uint64_t now)
{
    const struct child *child = &m->children[index];
    const struct board_slot *slot = board_slot(m->board, index);
    const struct board_counters *count = &slot->count;
    cJSON *row = cJSON_CreateObject();
    char name[48];

    child_title(child->pool, slot->number, name, sizeof(name));
    cJSON_AddStringToObject(row, "name", name);
    cJSON_AddNumberToObject(row, "pid", child->pid);
    cJSON_AddStringToObject(row, "state",
                            child->is_draining ? "draining" : states[slot->state]);
    cJSON_AddNumberToObject(row, "age", (double)(now - slot->started_ms) / 1000);
    cJSON_AddNumberToObject(row, "silent", seconds_since(count->beat_ms, now));
    cJSON_AddNumberToObject(row, "memory", (double)memory_of(child->pid));
    cJSON_AddNumberToObject(row, "busy", rounded(child->meter.busy));
    cJSON_AddNumberToObject(row, "per_second", rounded(child->meter.rate));
    if (child->pool->role->board == BOARD_WORKER) {
        cJSON_AddNumberToObject(row, "connections", count->connections);
        cJSON_AddNumberToObject(row, "streams", count->streams);
        cJSON_AddNumberToObject(row, "requests", (double)count->requests);
        cJSON_AddNumberToObject(row, "errors_5xx", (double)count->errors_5xx);
    } else {
        cJSON_AddNumberToObject(row, "jobs_done", (double)count->jobs_done);
        cJSON_AddNumberToObject(row, "jobs_failed", (double)count->jobs_failed);
    }
    cJSON_AddNumberToObject(row, "busy_seconds", (double)count->busy_us / 1e6);
    add_doing(row, slot, now);
    return row;
}

/* "2026-11-26T02:20:00Z" */
static void add_moment(cJSON *row, const char *name, int64_t unix_s)
{
    char text[CLOCK_TEXT_SIZE], short_text[32];

    clock_iso_z(unix_s * 1000000, text);
    snprintf(short_text, sizeof(short_text), "%.19sZ", text);
    cJSON_AddStringToObject(row, name, short_text);
}

/* Who scaled the pool, and until when. */
static void add_order(cJSON *row, const struct pool_order *order)
{
    if (!order->is_given)
        return;
    cJSON *scaled = cJSON_AddObjectToObject(row, "scaled");

    cJSON_AddStringToObject(scaled, "by", order->who);
    add_moment(scaled, "since", order->since_unix);
    if (order->until_unix_ms)
        add_moment(scaled, "until", order->until_unix_ms / 1000);
}

static void add_backlog(cJSON *row, struct master *m, const struct pool *pool)
{
    const struct board_backlog *backlog = board_backlog(m->board, pool->name);

    if (!backlog || !backlog->counted_ms || pool->most <= pool->configured)
        return;
    cJSON_AddNumberToObject(row, "waiting", (double)backlog->waiting);
    cJSON_AddNumberToObject(row, "oldest", (double)backlog->age_ms / 1000);
}

static cJSON *pool_json(struct master *m, struct pool *pool, uint64_t now)
{
    cJSON *row = cJSON_CreateObject(), *children;

    cJSON_AddStringToObject(row, "name", pool->name);
    cJSON_AddStringToObject(row, "role", pool->role->name);
    cJSON_AddNumberToObject(row, "configured", pool->configured);
    if (pool->most > pool->configured)
        cJSON_AddNumberToObject(row, "most", pool->most);
    cJSON_AddNumberToObject(row, "wanted", pool->wanted);
    add_order(row, &pool->order);
    add_backlog(row, m, pool);
    cJSON_AddNumberToObject(row, "ready", pool_ready(m, pool));
    if (pool->failures > 0) {
        cJSON_AddNumberToObject(row, "failed_starts", pool->failures);
        cJSON_AddNumberToObject(row, "next_start",
                                pool->fork_at > now ? (double)(pool->fork_at - now) / 1000
                                                    : 0);
    }
    children = cJSON_AddArrayToObject(row, "children");
    for (size_t i = 0; i < board_slots(m->board); i++)
        if (m->children[i].pid && m->children[i].pool == pool)
            cJSON_AddItemToArray(children, child_json(m, i, now));
    return row;
}

static void add_services(cJSON *status, struct master *m)
{
    cJSON *list = cJSON_AddArrayToObject(status, "services");

    for (int i = 0; i < SERVICE_COUNT; i++) {
        const struct service *service = &m->services.services[i];

        if (!m->embedded[i])
            continue;
        cJSON *row = cJSON_CreateObject();
        cJSON_AddStringToObject(row, "name", service->kind->name);
        cJSON_AddNumberToObject(row, "pid", service->pid);
        cJSON_AddStringToObject(row, "state", service_state_text(service));
        cJSON_AddItemToArray(list, row);
    }
}

static uint64_t total_of(const struct board_totals *totals, size_t field, int place)
{
    uint64_t sum = 0;

    for (int i = 0; i < BOARD_ROLES; i++) {
        const char *at = (const char *)&totals->of[i] + field;

        sum += ((const _Atomic uint64_t *)(const void *)at)[place];
    }
    return sum;
}

/* The servers of PostgreSQL, as the processes find them. */
static void add_databases(cJSON *status, struct master *m)
{
    static const struct {
        const char *name;
        size_t field;
    } counters[] = {
        { "queries", offsetof(struct board_counters, server_queries) },
        { "waits", offsetof(struct board_counters, server_waits) },
        { "retries", offsetof(struct board_counters, server_retries) },
    };
    cJSON *list = cJSON_AddArrayToObject(status, "databases");
    struct board_totals totals;
    struct board_server_sum sum;

    board_sum(m->board, &totals);
    for (int place = 0; place < BOARD_SERVERS; place++) {
        const char *name = board_server_name(m->board, place);

        if (!name || !board_server_sum(m->board, place, &sum))
            continue;
        cJSON *row = cJSON_CreateObject();
        bool is_primary = sum.role == BOARD_SERVER_PRIMARY;
        cJSON_AddStringToObject(row, "name", name);
        cJSON_AddStringToObject(row, "role", is_primary ? "primary" : "replica");
        cJSON_AddStringToObject(row, "state", board_server_states[sum.state]);
        if (sum.lag_ms >= 0)
            cJSON_AddNumberToObject(row, "lag", (double)sum.lag_ms / 1000);
        cJSON_AddNumberToObject(row, "in_use", (double)sum.in_use);
        for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++)
            cJSON_AddNumberToObject(row, counters[i].name,
                                    (double)total_of(&totals, counters[i].field, place));
        cJSON_AddNumberToObject(row, "seen_by", sum.seen_by);
        cJSON_AddItemToArray(list, row);
    }
}

static void add_redis(cJSON *status, struct master *m)
{
    struct board_redis_sum sums[BOARD_REDIS];
    size_t count = board_sum_redis(m->board, sums, BOARD_REDIS);
    cJSON *list = cJSON_AddArrayToObject(status, "redis");

    for (size_t i = 0; i < count; i++) {
        cJSON *row = cJSON_CreateObject();

        cJSON_AddStringToObject(row, "name", sums[i].name);
        cJSON_AddStringToObject(row, "use", board_redis_use_name(sums[i].uses));
        cJSON_AddStringToObject(row, "role", sums[i].is_replica ? "replica" : "primary");
        cJSON_AddNumberToObject(row, "up", sums[i].up);
        cJSON_AddNumberToObject(row, "away", sums[i].away);
        cJSON_AddNumberToObject(row, "idle", sums[i].idle);
        cJSON_AddItemToArray(list, row);
    }
}

static const char *const stages[] = {
    [RELOAD_NONE] = "",
    [RELOAD_PROBE] = "looking at the database",
    [RELOAD_PROOF] = "proving the first process of the new generation",
    [RELOAD_ROLL] = "one in, one out",
    [RELOAD_ON_TRIAL] = "on trial",
};

static void add_reload(cJSON *status, struct master *m)
{
    cJSON *row = cJSON_AddObjectToObject(status, "reload");

    cJSON_AddStringToObject(row, "stage", stages[m->reload.stage]);
    cJSON_AddNumberToObject(row, "generation", m->generation);
    if (!m->reload.has_failed)
        return;
    cJSON_AddStringToObject(row, "failure", m->reload.failure);
    cJSON_AddNumberToObject(row, "failed_seconds_ago",
                            (double)(clock_unix() - m->reload.failed_unix));
}

static void add_upgrade(cJSON *status, struct master *m)
{
    const struct upgrade *upgrade = &m->upgrade;
    cJSON *row = cJSON_AddObjectToObject(status, "upgrade");

    cJSON_AddStringToObject(row, "stage", upgrade_stage(m));
    if (upgrade->successor || upgrade->former)
        cJSON_AddNumberToObject(
            row, "other", upgrade->successor ? upgrade->successor : upgrade->former);
    if (upgrade->successor)
        cJSON_AddStringToObject(row, "version", upgrade->version);
    if (upgrade->failure)
        cJSON_AddStringToObject(row, "failure", upgrade->failure);
}

cJSON *status_json(struct master *m)
{
    cJSON *status = cJSON_CreateObject();
    struct board_shared *shared = board_shared(m->board);
    struct buf where = BUF_HEAP;
    uint64_t now = clock_ms();

    listeners_describe(&m->listeners, &where);
    cJSON_AddStringToObject(status, "version", FORKMARK_VERSION);
    cJSON_AddNumberToObject(status, "pid", m->pid);
    cJSON_AddNumberToObject(status, "memory", (double)memory_of(m->pid));
    cJSON_AddStringToObject(status, "phase", phases[m->phase]);
    cJSON_AddStringToObject(status, "address", buf_text(&where));
    cJSON_AddNumberToObject(status, "uptime",
                            (double)(clock_unix() - shared->started_unix));
    cJSON_AddNumberToObject(status, "restarts", (double)shared->restarts);
    cJSON_AddNumberToObject(status, "kills", (double)shared->kills);
    cJSON_AddNumberToObject(status, "reloads", (double)shared->reloads);
    cJSON_AddNumberToObject(status, "reload_failures", (double)shared->reload_failures);
    size_t used = 0;
    for (size_t i = 0; i < board_slots(m->board); i++)
        used += board_slot(m->board, i)->state != BOARD_FREE;
    cJSON_AddNumberToObject(status, "slots", (double)board_slots(m->board));
    cJSON_AddNumberToObject(status, "slots_used", (double)used);
    if (log_get_level() != (enum log_level)m->options->log.level)
        cJSON_AddStringToObject(status, "log_level", log_level_text(log_get_level()));
    add_reload(status, m);
    add_upgrade(status, m);
    add_services(status, m);
    add_databases(status, m);
    add_redis(status, m);
    cJSON *pools = cJSON_AddArrayToObject(status, "pools");
    for (size_t i = 0; i < m->pool_count; i++)
        if (!m->pools[i].is_removed || pool_running(m, &m->pools[i]) > 0)
            cJSON_AddItemToArray(pools, pool_json(m, &m->pools[i], now));
    buf_done(&where);
    return status;
}
