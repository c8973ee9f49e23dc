/*
 * metrics.c - Prometheus' text, for all processes (contract 2.13).
 *
 * The numbers come from the scoreboard in shared memory, so any worker can answer for
 * all of them. What a process had counted stays counted when it is replaced.
 */
#include "common/arena.h"
#include "common/clock.h"
#include "common/ids.h"
#include "common/task.h"
#include "worker/backlog.h"
#include "worker/exposition.h"
#include "worker/handlers/handlers.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char metrics_type[] = "text/plain; version=0.0.4";

/* Younger numbers are not asked for; and the master gets so long for its answer. */
#define MEMORY_FRESH_MS 1000
#define MEMORY_WAIT_MS  200
#define MEMORY_LOOK_MS  2

struct page {
    struct request *req;
    struct scoreboard *board;
    struct board_totals totals;
    struct exposition text;
};

static const struct {
    enum board_role role;
    const char *name;
} roles[] = { { BOARD_WORKER, "worker" },
              { BOARD_CONSUMER, "consumer" },
              { BOARD_SCHEDULER, "scheduler" } };
#define ROLE_COUNT (sizeof(roles) / sizeof(roles[0]))

static bool is_alive(const struct board_slot *slot)
{
    int state = atomic_load(&slot->state);

    return state == BOARD_READY || state == BOARD_DRAINING;
}

/* A pool that was removed and is back may share names with its last process for a while:
 * the same name twice would spoil the whole page. */
static bool is_shown(struct scoreboard *board, size_t index)
{
    const struct board_slot *slot = board_slot(board, index);

    if (!is_alive(slot))
        return false;
    for (size_t i = 0; i < index; i++) {
        const struct board_slot *other = board_slot(board, i);

        if (is_alive(other) && other->role == slot->role &&
            other->number == slot->number && strcmp(other->pool, slot->pool) == 0)
            return false;
    }
    return true;
}

static bool is_worker(const struct board_slot *slot)
{
    return is_alive(slot) && atomic_load(&slot->role) == BOARD_WORKER;
}

/* ---- totals ---- */

struct total {
    const char *name, *help;
    size_t field;    /* in struct board_counters */
    bool is_seconds; /* counted in microseconds */
};

#define COUNTER(column) offsetof(struct board_counters, column)

/* Over all processes there were. */
static const struct total totals[] = {
    { "http_requests_total", "Requests answered.", COUNTER(requests), false },
    { "http_errors_total", "Answers with a status of 500 and above.", COUNTER(errors_5xx),
      false },
    { "connections_accepted_total", "Connections taken.", COUNTER(accepted), false },
    { "jobs_done_total", "Jobs that ended well.", COUNTER(jobs_done), false },
    { "jobs_failed_total", "Jobs that failed.", COUNTER(jobs_failed), false },
    { "job_seconds_total", "Time that jobs took.", COUNTER(job_us), true },
    { "database_waits_total", "Times a connection had to be waited for.",
      COUNTER(pg_waits), false },
    { "database_wait_seconds_total", "Time spent waiting for connections.",
      COUNTER(pg_wait_us), true },
    { "database_wait_failures_total", "Waits that ended without a connection.",
      COUNTER(pg_wait_failures), false },
    { "cache_hit_total", "Answers found in the cache.", COUNTER(cache_hits), false },
    { "cache_miss_total", "Answers not found in the cache.", COUNTER(cache_misses),
      false },
    { "cache_cluster_redirects_total", "MOVED and ASK that were followed.",
      COUNTER(cluster_redirects), false },
    { "cache_cluster_retries_total", "Commands put off by TRYAGAIN or CLUSTERDOWN.",
      COUNTER(cluster_retries), false },
    { "cache_cluster_refreshes_total", "Times the cluster's slots were learned.",
      COUNTER(cluster_refreshes), false },
    { "cache_cluster_errors_total", "Commands to the cluster without an answer.",
      COUNTER(cluster_errors), false },
};

static uint64_t read_counter(const struct board_counters *count, size_t field)
{
    const char *at = (const char *)count + field;

    return atomic_load_explicit((const _Atomic uint64_t *)(const void *)at,
                                memory_order_relaxed);
}

static uint64_t total_of(const struct page *page, size_t field)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < BOARD_ROLES; i++)
        sum += read_counter(&page->totals.of[i], field);
    return sum;
}

static void add_totals(struct page *page)
{
    for (size_t i = 0; i < sizeof(totals) / sizeof(totals[0]); i++) {
        uint64_t sum = total_of(page, totals[i].field);

        exposition_begin(&page->text, totals[i].name, METRIC_COUNTER, totals[i].help);
        if (totals[i].is_seconds)
            exposition_double(&page->text, NULL, (double)sum / 1e6);
        else
            exposition_int(&page->text, NULL, sum);
    }
}

static void add_classes(struct page *page)
{
    exposition_begin(&page->text, "http_responses_total", METRIC_COUNTER,
                     "Answers by the first digit of their status.");
    for (size_t i = 0; i < BOARD_CLASSES; i++) {
        char class[] = { (char)('1' + i), 'x', 'x', '\0' };

        exposition_int(&page->text, LABELS({ "class", class }),
                       total_of(page, COUNTER(responses) + i * sizeof(_Atomic uint64_t)));
    }
}

static void add_jobs(struct page *page)
{
    static const char *const outcomes[BOARD_JOB_ENDS] = {
        [BOARD_JOB_FINISHED] = "finished",   [BOARD_JOB_FAILED] = "failed",
        [BOARD_JOB_RETRIED] = "retried",     [BOARD_JOB_STOPPED] = "stopped",
        [BOARD_JOB_POSTPONED] = "postponed", [BOARD_JOB_RETURNED] = "returned",
        [BOARD_JOB_LOST] = "lost",
    };

    exposition_begin(&page->text, "jobs_total", METRIC_COUNTER,
                     "Jobs that consumers had, by how they ended.");
    for (size_t i = 0; i < BOARD_JOB_ENDS; i++)
        exposition_int(&page->text, LABELS({ "outcome", outcomes[i] }),
                       total_of(page, COUNTER(job_ends) + i * sizeof(_Atomic uint64_t)));
}

static void add_busy_totals(struct page *page)
{
    exposition_begin(&page->text, "busy_seconds_total", METRIC_COUNTER,
                     "Time that loops did not wait, and that consumers had jobs.");
    for (size_t i = 0; i < ROLE_COUNT; i++)
        exposition_double(&page->text, LABELS({ "role", roles[i].name }),
                          (double)page->totals.of[roles[i].role].busy_us / 1e6);
}

static void add_latency(struct page *page)
{
    uint64_t counts[BOARD_LATENCY_BUCKETS];

    for (size_t i = 0; i < BOARD_LATENCY_BUCKETS; i++)
        counts[i] = total_of(page, COUNTER(latency) + i * sizeof(_Atomic uint64_t));
    exposition_begin(&page->text, "http_request_duration_seconds", METRIC_HISTOGRAM,
                     "From the request line to the end of the answer.");
    exposition_histogram(&page->text, board_latency_limits, counts, BOARD_LATENCY_BUCKETS,
                         (double)total_of(page, COUNTER(latency_sum_us)) / 1e6);
}

/* ---- what there is now ---- */

static void add_sum_now(struct page *page, const char *name, const char *help,
                        uint64_t (*read)(const struct board_slot *slot))
{
    uint64_t sum = 0;

    for (size_t i = 0; i < board_slots(page->board); i++)
        if (is_alive(board_slot(page->board, i)))
            sum += read(board_slot(page->board, i));
    exposition_begin(&page->text, name, METRIC_GAUGE, help);
    exposition_int(&page->text, NULL, sum);
}

static uint64_t read_streams(const struct board_slot *slot)
{
    return slot->count.streams;
}

static uint64_t read_connections(const struct board_slot *slot)
{
    return slot->count.connections;
}

static uint64_t read_accepting(const struct board_slot *slot)
{
    return slot->count.accepting;
}

static uint64_t read_accepted(const struct board_slot *slot)
{
    return slot->count.accepted;
}

static uint64_t read_database(const struct board_slot *slot)
{
    return slot->count.pg_in_use;
}

static const struct {
    const char *name, *help;
    uint64_t (*read)(const struct board_slot *slot);
} per_worker[] = {
    { "worker_connections", "Open connections.", read_connections },
    { "worker_streams", "Open event streams.", read_streams },
    { "worker_accepting", "1 while it takes new connections.", read_accepting },
    { "worker_accepted", "Connections it has taken since it started.", read_accepted },
};

static void add_per_worker(struct page *page)
{
    for (size_t i = 0; i < sizeof(per_worker) / sizeof(per_worker[0]); i++) {
        exposition_begin(&page->text, per_worker[i].name, METRIC_GAUGE,
                         per_worker[i].help);
        for (size_t n = 0; n < board_slots(page->board); n++) {
            const struct board_slot *slot = board_slot(page->board, n);
            char number[16];

            if (!is_worker(slot) || !is_shown(page->board, n))
                continue;
            snprintf(number, sizeof(number), "%" PRId32, slot->number);
            exposition_int(&page->text, LABELS({ "worker", number }),
                           per_worker[i].read(slot));
        }
    }
}

/* Of the workers that take connections; one that drains has its reasons. */
static void add_spread(struct page *page)
{
    uint64_t most = 0, fewest = UINT64_MAX;

    for (size_t i = 0; i < board_slots(page->board); i++) {
        const struct board_slot *slot = board_slot(page->board, i);
        uint64_t connections = slot->count.connections;

        if (!is_worker(slot) || slot->state != BOARD_READY)
            continue;
        most = connections > most ? connections : most;
        fewest = connections < fewest ? connections : fewest;
    }
    exposition_begin(&page->text, "worker_connections_spread", METRIC_GAUGE,
                     "Open connections of the worker with the most, less those of the "
                     "one with the fewest.");
    exposition_int(&page->text, NULL, most > fewest ? most - fewest : 0);
}

static void add_backlog(struct page *page)
{
    const struct role_context *role = page->req->server->role;
    struct backlog *list =
        arena_array(page->req->arena, role->listener_count + 1, sizeof(*list));
    size_t count = 0;

    for (size_t i = 0; i < role->listener_count; i++)
        count += backlog_read(role->listeners[i], &list[count]);
    exposition_begin(&page->text, "listen_backlog", METRIC_GAUGE,
                     "Connections that wait to be accepted.");
    for (size_t i = 0; i < count; i++)
        exposition_int(&page->text, LABELS({ "listener", list[i].name }),
                       list[i].waiting);
    exposition_begin(&page->text, "listen_backlog_limit", METRIC_GAUGE,
                     "Connections that may wait there.");
    for (size_t i = 0; i < count; i++)
        exposition_int(&page->text, LABELS({ "listener", list[i].name }), list[i].room);
}

/* ---- servers of PostgreSQL ---- */

static const char *server_role(int role)
{
    return role == BOARD_SERVER_PRIMARY ? "primary" : "replica";
}

static bool find_server(struct page *page, int place, struct board_server_sum *ret,
                        const struct label **ret_labels)
{
    struct label *labels = arena_array(page->req->arena, 3, sizeof(*labels));
    const char *name = board_server_name(page->board, place);

    if (!name || !board_server_sum(page->board, place, ret))
        return false;
    labels[0] = (struct label){ "server", name };
    labels[1] = (struct label){ "role", server_role(ret->role) };
    *ret_labels = labels;
    return true;
}

static double read_server_up(const struct board_server_sum *sum)
{
    return sum->state == BOARD_SERVER_UP;
}

static double read_server_lag(const struct board_server_sum *sum)
{
    return sum->lag_ms < 0 ? -1 : (double)sum->lag_ms / 1000;
}

static double read_server_in_use(const struct board_server_sum *sum)
{
    return (double)sum->in_use;
}

static const struct {
    const char *name, *help;
    double (*read)(const struct board_server_sum *sum); /* below 0: not known */
} per_server[] = {
    { "database_server_up",
      "1 while it answers and does what it is for; a replica: within max_lag.",
      read_server_up },
    { "database_server_lag_seconds", "How far a replica is behind the primary.",
      read_server_lag },
    { "database_server_connections_in_use", "Connections in use.", read_server_in_use },
};

static const struct {
    const char *name, *help;
    size_t field;
} per_server_totals[] = {
    { "database_server_queries_total", "Queries and transactions it was asked for.",
      COUNTER(server_queries) },
    { "database_server_waits_total", "Times a connection to it had to be waited for.",
      COUNTER(server_waits) },
    { "database_server_retries_total",
      "Reads that failed there and were asked elsewhere.", COUNTER(server_retries) },
};

static void add_servers(struct page *page)
{
    struct board_server_sum sum;
    const struct label *labels;

    for (size_t i = 0; i < sizeof(per_server) / sizeof(per_server[0]); i++) {
        exposition_begin(&page->text, per_server[i].name, METRIC_GAUGE,
                         per_server[i].help);
        for (int place = 0; place < BOARD_SERVERS; place++)
            if (find_server(page, place, &sum, &labels) && per_server[i].read(&sum) >= 0)
                exposition_double(&page->text, labels, per_server[i].read(&sum));
    }
    for (size_t i = 0; i < sizeof(per_server_totals) / sizeof(per_server_totals[0]);
         i++) {
        size_t field = per_server_totals[i].field;

        exposition_begin(&page->text, per_server_totals[i].name, METRIC_COUNTER,
                         per_server_totals[i].help);
        for (int place = 0; place < BOARD_SERVERS; place++)
            if (find_server(page, place, &sum, &labels))
                exposition_int(
                    &page->text, labels,
                    total_of(page, field + (size_t)place * sizeof(_Atomic uint64_t)));
    }
}

/* ---- the Redis servers ---- */

/* "idle": known, and not needed yet by that many processes. */
static void add_redis(struct page *page)
{
    struct board_redis_sum *sums =
        arena_array(page->req->arena, BOARD_REDIS, sizeof(*sums));
    size_t count = board_sum_redis(page->board, sums, BOARD_REDIS);

    if (count == 0)
        return;
    exposition_begin(&page->text, "redis_server_processes", METRIC_GAUGE,
                     "Processes that see this Redis server so.");
    for (size_t i = 0; i < count; i++) {
        const char *role = sums[i].is_replica ? "replica" : "primary";
        const char *use = board_redis_use_name(sums[i].uses);
        const struct {
            const char *name;
            uint32_t count;
        } states[] = { { "up", sums[i].up },
                       { "away", sums[i].away },
                       { "idle", sums[i].idle } };

        for (size_t k = 0; k < sizeof(states) / sizeof(states[0]); k++)
            exposition_int(&page->text,
                           LABELS({ "server", sums[i].name }, { "use", use },
                                  { "role", role }, { "state", states[k].name }),
                           states[k].count);
    }
}

/* ---- the process tree ---- */

static const char *role_name(int role)
{
    for (size_t i = 0; i < ROLE_COUNT; i++)
        if ((int)roles[i].role == role)
            return roles[i].name;
    return "";
}

/* "worker 3", "consumer default 1", "scheduler": as in the log and in `ctl status`. (A
 * second scheduler is there while it takes over from the first.) */
static const char *child_name(struct page *page, const struct board_slot *slot)
{
    int role = atomic_load(&slot->role);

    if (role == BOARD_SCHEDULER && slot->number == 1)
        return role_name(role);
    return arena_printf(page->req->arena, "%s %s%s%" PRId32, role_name(role),
                        role == BOARD_CONSUMER ? slot->pool : "",
                        role == BOARD_CONSUMER ? " " : "", slot->number);
}

static double busy_ratio(const struct board_slot *slot)
{
    return (double)slot->busy_permille / 1000;
}

/* Since 1970: clocks that are set meanwhile move it, as they move Prometheus' own. */
static double started_at(const struct board_slot *slot)
{
    return (double)clock_unix_us() / 1e6 - (double)(clock_ms() - slot->started_ms) / 1000;
}

static void add_per_child(struct page *page, const char *name, const char *help,
                          double (*read)(const struct board_slot *slot))
{
    exposition_begin(&page->text, name, METRIC_GAUGE, help);
    for (size_t i = 0; i < board_slots(page->board); i++) {
        const struct board_slot *slot = board_slot(page->board, i);

        if (is_shown(page->board, i))
            exposition_double(&page->text, LABELS({ "child", child_name(page, slot) }),
                              read(slot));
    }
}

/* The master alone may look at everybody's pages; it is asked, and not for long. */
static void await_memory(struct page *page)
{
    struct board_shared *shared = board_shared(page->board);
    uint64_t now = clock_ms(), until = now + MEMORY_WAIT_MS;

    if (page->req->server->role->notify_fd < 0 ||
        now < shared->memory_at_ms + MEMORY_FRESH_MS)
        return;
    shared->memory_wanted_ms = now;
    role_tell(page->req->server->role);
    while (shared->memory_at_ms < now && clock_ms() < until)
        task_sleep(MEMORY_LOOK_MS);
}

static uint64_t read_pss(const struct board_slot *slot)
{
    return slot->pss;
}

static uint64_t read_rss(const struct board_slot *slot)
{
    return slot->rss;
}

/* A size that is 0 is one that could not be read: a missing number is not 0. */
static void add_memory(struct page *page, const char *name, const char *help,
                       uint64_t of_master, uint64_t (*read)(const struct board_slot *))
{
    exposition_begin(&page->text, name, METRIC_GAUGE, help);
    if (of_master > 0)
        exposition_int(&page->text, LABELS({ "child", "master" }), of_master);
    for (size_t i = 0; i < board_slots(page->board); i++) {
        const struct board_slot *slot = board_slot(page->board, i);

        if (is_shown(page->board, i) && read(slot) > 0)
            exposition_int(&page->text, LABELS({ "child", child_name(page, slot) }),
                           read(slot));
    }
}

static void add_restarts(struct page *page)
{
    static const char *const reasons[BOARD_RESTARTS] = {
        [BOARD_RESTART_CRASH] = "crash",
        [BOARD_RESTART_KILLED] = "killed",
        [BOARD_RESTART_OOM] = "oom",
        [BOARD_RESTART_EXIT] = "exit",
        [BOARD_RESTART_START] = "start",
        [BOARD_RESTART_HUNG] = "hung",
        [BOARD_RESTART_OVERRUN] = "overrun",
        [BOARD_RESTART_MAX_REQUESTS] = "max_requests",
        [BOARD_RESTART_MAX_RSS] = "max_rss",
        [BOARD_RESTART_RELOAD] = "reload",
        [BOARD_RESTART_OPERATOR] = "operator",
        [BOARD_RESTART_ENDED] = "ended",
    };
    struct board_shared *shared = board_shared(page->board);

    exposition_begin(&page->text, "child_restarts_total", METRIC_COUNTER,
                     "Processes that were replaced.");
    for (size_t r = 0; r < ROLE_COUNT; r++)
        for (size_t i = 0; i < BOARD_RESTARTS; i++)
            exposition_int(&page->text,
                           LABELS({ "role", roles[r].name }, { "reason", reasons[i] }),
                           shared->restarts_by[roles[r].role][i]);
    exposition_begin(&page->text, "child_kills_total", METRIC_COUNTER,
                     "Processes that the master had to kill.");
    exposition_int(&page->text, NULL, shared->kills);
}

static void add_reloads(struct page *page)
{
    struct board_shared *shared = board_shared(page->board);

    exposition_begin(&page->text, "reloads_total", METRIC_COUNTER,
                     "Reloads that succeeded.");
    exposition_int(&page->text, NULL, shared->reloads);
    exposition_begin(&page->text, "reload_failures_total", METRIC_COUNTER,
                     "Reloads that changed nothing, or were rolled back.");
    exposition_int(&page->text, NULL, shared->reload_failures);
}

static void add_children(struct page *page)
{
    exposition_begin(&page->text, "children", METRIC_GAUGE, "Processes that serve.");
    for (size_t i = 0; i < ROLE_COUNT; i++) {
        uint64_t count = 0;

        for (size_t n = 0; n < board_slots(page->board); n++) {
            const struct board_slot *slot = board_slot(page->board, n);

            count += is_alive(slot) && atomic_load(&slot->role) == (int)roles[i].role;
        }
        exposition_int(&page->text, LABELS({ "role", roles[i].name }), count);
    }
}

static void add_tree(struct page *page)
{
    struct board_shared *shared = board_shared(page->board);
    int64_t up = clock_unix() - shared->started_unix;

    add_children(page);
    add_restarts(page);
    add_reloads(page);
    exposition_begin(&page->text, "process_start_time_seconds", METRIC_GAUGE,
                     "When the master started, since 1970.");
    exposition_int(&page->text, NULL, (uint64_t)shared->started_unix);
    exposition_begin(&page->text, "uptime_seconds", METRIC_GAUGE,
                     "Since the master started.");
    exposition_int(&page->text, NULL, up > 0 ? (uint64_t)up : 0);
    add_per_child(page, "child_start_time_seconds", "When it was forked, since 1970.",
                  started_at);
    add_per_child(page, "child_busy_ratio",
                  "Share of the last seconds that its loop did not wait, or had a job.",
                  busy_ratio);
    add_memory(page, "child_resident_memory_bytes",
               "Resident memory, shared pages whole.", shared->master_rss, read_rss);
    add_memory(page, "child_proportional_memory_bytes",
               "Memory, each shared page divided by those who share it (PSS).",
               shared->master_pss, read_pss);
}

/* ---- the queues ---- */

/* Every queue some pool listens to, once. */
static size_t list_queues(const struct options *options, const char **names, size_t room)
{
    size_t count = 0;

    for (size_t p = 0; p < options->jobs.pool_count; p++)
        for (size_t q = 0; q < options->jobs.pools[p].queues.count && count < room; q++) {
            const char *name = options->jobs.pools[p].queues.items[q];
            size_t i = 0;

            while (i < count && strcmp(names[i], name) != 0)
                i++;
            if (i == count)
                names[count++] = name;
        }
    return count;
}

static const struct {
    const char *name, *key;
} registries[] = {
    { "started", "wip" },   { "deferred", "deferred" }, { "scheduled", "scheduled" },
    { "failed", "failed" }, { "finished", "finished" }, { "canceled", "canceled" },
};
#define REGISTRY_COUNT (sizeof(registries) / sizeof(registries[0]))
#define PER_QUEUE      (REGISTRY_COUNT + 1)
#define MOST_QUEUES    64

static void add_number(struct page *page, const struct label *labels,
                       const redisReply *reply)
{
    if (reply->type == REDIS_REPLY_INTEGER)
        exposition_int(&page->text, labels, (uint64_t)reply->integer);
}

/* Left out while Redis is away: a missing number is not 0. */
static void add_queues(struct page *page)
{
    const char *names[MOST_QUEUES] = { NULL };
    size_t count = list_queues(page->req->server->options, names, MOST_QUEUES);
    struct redis_batch *batch = redis_batch_new(page->req->server->redis);
    redisReply **replies = NULL;
    size_t answered = 0;

    for (size_t i = 0; i < count; i++) {
        redis_batch_add(batch, "LLEN rq:queue:%s", names[i]);
        for (size_t r = 0; r < REGISTRY_COUNT; r++)
            redis_batch_add(batch, "ZCARD rq:%s:%s", registries[r].key, names[i]);
    }
    if (count == 0 || redis_batch_run(batch, &replies, &answered) < 0 ||
        answered < count * PER_QUEUE)
        return;
    exposition_begin(&page->text, "rq_queue_depth", METRIC_GAUGE, "Jobs that wait.");
    for (size_t i = 0; i < count; i++)
        add_number(page, LABELS({ "queue", names[i] }), replies[i * PER_QUEUE]);
    exposition_begin(&page->text, "rq_registry_jobs", METRIC_GAUGE,
                     "Jobs in RQ's registries.");
    for (size_t i = 0; i < count; i++)
        for (size_t r = 0; r < REGISTRY_COUNT; r++)
            add_number(page,
                       LABELS({ "queue", names[i] }, { "registry", registries[r].name }),
                       replies[i * PER_QUEUE + 1 + r]);
}

/* ---- the page ---- */

static bool is_allowed(struct request *req)
{
    const char *wanted = req->server->options->metrics.auth_token;
    const char *given = request_header(req, "Authorization");

    if (!wanted[0])
        return true;
    if (!given || strncasecmp(given, "Bearer ", 7) != 0)
        return false;
    return secret_equals(given + 7, strlen(given + 7), wanted, strlen(wanted));
}

/* GET /metrics */
enum http_status metrics_show(struct request *req)
{
    static const char disabled[] = "{\"status\":\"metrics_disabled\"}";

    if (!req->server->options->metrics.enabled)
        return reply_text(req, HTTP_NOT_FOUND, disabled, sizeof(disabled) - 1);
    if (!is_allowed(req))
        return reply_message(req, HTTP_UNAUTHORIZED, "Unauthorized");

    struct buf out = BUF_IN(req->arena);
    struct page *page = arena_alloc(req->arena, sizeof(*page));
    *page = (struct page){
        .req = req,
        .board = req->server->board,
        .text = { .out = &out, .prefix = req->server->options->metrics.prefix },
    };
    await_memory(page);
    board_sum(page->board, &page->totals);
    add_tree(page);
    add_per_worker(page);
    add_spread(page);
    add_backlog(page);
    add_sum_now(page, "event_streams", "Open event streams.", read_streams);
    add_sum_now(page, "database_connections_in_use", "Connections of the pools in use.",
                read_database);
    add_servers(page);
    add_redis(page);
    add_totals(page);
    add_classes(page);
    add_busy_totals(page);
    add_jobs(page);
    add_latency(page);
    add_queues(page);
    return reply_data(req, HTTP_OK, metrics_type, out.data, out.length);
}
