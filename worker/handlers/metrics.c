/*
 * metrics.c - Prometheus' text, added up over all processes (contract 2.13).
 *
 * The numbers come from the scoreboard in shared memory, so any worker can answer
 * for all of them. What a replaced process had counted goes with its slot: for
 * Prometheus that is a counter's reset.
 */
#include "common/arena.h"
#include "common/clock.h"
#include "common/ids.h"
#include "worker/handlers/handlers.h"
#include <inttypes.h>
#include <string.h>
#include <strings.h>

static const char metrics_type[] = "text/plain; version=0.0.4";

struct metric {
    const char *name, *type, *help;
    size_t field; /* in struct board_counters */
    bool is_wide; /* uint64_t, else uint32_t */
};

#define COUNTER(column) offsetof(struct board_counters, column)

/* Summed over all children. */
static const struct metric sums[] = {
    { "http_requests_total", "counter", "Requests answered.", COUNTER(requests), true },
    { "http_errors_total", "counter", "Answers with a status of 500 and above.",
      COUNTER(errors_5xx), true },
    { "connections_accepted_total", "counter", "Connections taken.", COUNTER(accepted),
      true },
    { "event_streams", "gauge", "Open event streams.", COUNTER(streams), false },
    { "jobs_done_total", "counter", "Jobs that ended well.", COUNTER(jobs_done), true },
    { "jobs_failed_total", "counter", "Jobs that failed.", COUNTER(jobs_failed), true },
    { "database_connections_in_use", "gauge", "Connections of the pools in use.",
      COUNTER(pg_in_use), true },
    { "database_waits_total", "counter", "Times a connection had to be waited for.",
      COUNTER(pg_waits), true },
    { "cache_hit_total", "counter", "Answers found in the cache.", COUNTER(cache_hits),
      true },
    { "cache_miss_total", "counter", "Answers not found in the cache.",
      COUNTER(cache_misses), true },
};

/* One line per worker. */
static const struct metric per_worker[] = {
    { "worker_connections", "gauge", "Open connections.", COUNTER(connections), false },
    { "worker_streams", "gauge", "Open event streams.", COUNTER(streams), false },
    { "worker_accepting", "gauge", "1 while it takes new connections.",
      COUNTER(accepting), false },
};

static uint64_t read_field(const struct board_slot *slot, const struct metric *metric)
{
    const char *field = (const char *)&slot->count + metric->field;

    if (metric->is_wide)
        return atomic_load_explicit((const _Atomic uint64_t *)(const void *)field,
                                    memory_order_relaxed);
    return atomic_load_explicit((const _Atomic uint32_t *)(const void *)field,
                                memory_order_relaxed);
}

static bool is_alive(const struct board_slot *slot)
{
    int state = atomic_load(&slot->state);

    return state == BOARD_READY || state == BOARD_DRAINING;
}

static bool is_worker(const struct board_slot *slot)
{
    return is_alive(slot) && atomic_load(&slot->role) == BOARD_WORKER;
}

struct page {
    struct request *req;
    struct scoreboard *board;
    const char *prefix;
    struct buf out;
};

static void add_head(struct page *page, const char *name, const char *type,
                     const char *help)
{
    buf_addf(&page->out, "# HELP %s%s %s\n# TYPE %s%s %s\n", page->prefix, name, help,
             page->prefix, name, type);
}

static void add_sums(struct page *page)
{
    for (size_t i = 0; i < sizeof(sums) / sizeof(sums[0]); i++) {
        uint64_t sum = 0;

        for (size_t n = 0; n < board_slots(page->board); n++)
            if (is_alive(board_slot(page->board, n)))
                sum += read_field(board_slot(page->board, n), &sums[i]);
        add_head(page, sums[i].name, sums[i].type, sums[i].help);
        buf_addf(&page->out, "%s%s %" PRIu64 "\n", page->prefix, sums[i].name, sum);
    }
}

static void add_per_worker(struct page *page)
{
    for (size_t i = 0; i < sizeof(per_worker) / sizeof(per_worker[0]); i++) {
        const struct metric *metric = &per_worker[i];

        add_head(page, metric->name, metric->type, metric->help);
        for (size_t n = 0; n < board_slots(page->board); n++) {
            const struct board_slot *slot = board_slot(page->board, n);

            if (is_worker(slot))
                buf_addf(&page->out, "%s%s{worker=\"%" PRId32 "\"} %" PRIu64 "\n",
                         page->prefix, metric->name, slot->number,
                         read_field(slot, metric));
        }
    }
}

static void add_busy(struct page *page)
{
    add_head(page, "worker_busy_seconds_total", "counter",
             "Time its loop did not spend waiting.");
    for (size_t n = 0; n < board_slots(page->board); n++) {
        const struct board_slot *slot = board_slot(page->board, n);

        if (is_worker(slot))
            buf_addf(&page->out,
                     "%sworker_busy_seconds_total{worker=\"%" PRId32 "\"} %.3f\n",
                     page->prefix, slot->number,
                     (double)atomic_load(&slot->count.busy_us) / 1e6);
    }
}

static void add_latency(struct page *page)
{
    static const char name[] = "http_request_duration_seconds";
    uint64_t buckets[BOARD_LATENCY_BUCKETS] = { 0 }, sum_us = 0, sum = 0;

    for (size_t n = 0; n < board_slots(page->board); n++) {
        const struct board_slot *slot = board_slot(page->board, n);

        if (!is_worker(slot))
            continue;
        for (size_t b = 0; b < BOARD_LATENCY_BUCKETS; b++)
            buckets[b] +=
                atomic_load_explicit(&slot->count.latency[b], memory_order_relaxed);
        sum_us += atomic_load_explicit(&slot->count.latency_sum_us, memory_order_relaxed);
    }
    add_head(page, name, "histogram", "From the request line to the end of the answer.");
    for (size_t b = 0; b < BOARD_LATENCY_BUCKETS - 1; b++) {
        sum += buckets[b];
        buf_addf(&page->out, "%s%s_bucket{le=\"%g\"} %" PRIu64 "\n", page->prefix, name,
                 board_latency_limits[b], sum);
    }
    sum += buckets[BOARD_LATENCY_BUCKETS - 1];
    buf_addf(&page->out, "%s%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", page->prefix, name,
             sum);
    buf_addf(&page->out, "%s%s_sum %.6f\n%s%s_count %" PRIu64 "\n", page->prefix, name,
             (double)sum_us / 1e6, page->prefix, name, sum);
}

static void add_children(struct page *page)
{
    static const struct {
        enum board_role role;
        const char *name;
    } roles[] = { { BOARD_WORKER, "worker" },
                  { BOARD_CONSUMER, "consumer" },
                  { BOARD_SCHEDULER, "scheduler" } };
    const struct board_shared *shared = board_shared(page->board);

    add_head(page, "children", "gauge", "Processes that serve.");
    for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
        int count = 0;

        for (size_t n = 0; n < board_slots(page->board); n++) {
            const struct board_slot *slot = board_slot(page->board, n);

            count += is_alive(slot) && atomic_load(&slot->role) == (int)roles[i].role;
        }
        buf_addf(&page->out, "%schildren{role=\"%s\"} %d\n", page->prefix, roles[i].name,
                 count);
    }
    add_head(page, "child_restarts_total", "counter", "Children replaced after a death.");
    buf_addf(&page->out, "%schild_restarts_total %" PRIu64 "\n", page->prefix,
             atomic_load(&shared->restarts));
    add_head(page, "uptime_seconds", "gauge", "Since the master started.");
    buf_addf(&page->out, "%suptime_seconds %" PRId64 "\n", page->prefix,
             clock_unix() - shared->started_unix);
}

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

/* Left out while Redis is away: a missing number is not 0. */
static void add_queues(struct page *page)
{
    const char *names[64] = { NULL };
    size_t count = list_queues(page->req->server->options, names, 64);
    struct redis_batch *batch = redis_batch_new(page->req->server->redis);
    redisReply **replies = NULL;
    size_t answered = 0;

    if (count == 0)
        return;
    for (size_t i = 0; i < count; i++)
        redis_batch_add(batch, "LLEN rq:queue:%s", names[i]);
    if (redis_batch_run(batch, &replies, &answered) < 0)
        return;
    add_head(page, "rq_queue_depth", "gauge", "Jobs that wait.");
    for (size_t i = 0; i < answered; i++)
        if (replies[i]->type == REDIS_REPLY_INTEGER)
            buf_addf(&page->out, "%srq_queue_depth{queue=\"%s\"} %lld\n", page->prefix,
                     names[i], replies[i]->integer);
}

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

    struct page page = { .req = req,
                         .board = req->server->board,
                         .prefix = req->server->options->metrics.prefix,
                         .out = BUF_IN(req->arena) };
    add_children(&page);
    add_per_worker(&page);
    add_busy(&page);
    add_sums(&page);
    add_latency(&page);
    add_queues(&page);
    return reply_data(req, HTTP_OK, metrics_type, page.out.data, page.out.length);
}
