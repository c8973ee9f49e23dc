/*
 * worker.c - the HTTP worker: boot, serve, drain.
 *
 * One thread, one loop. All that a request may need is made here before the first
 * connection is accepted, and nothing of it before the fork: connections and loops
 * do not survive one.
 */
#include "worker/worker.h"
#include "common/clock.h"
#include "common/connect.h"
#include "common/json.h"
#include "common/log.h"
#include "common/task.h"
#include "jobs/rq/payload.h"
#include "worker/accept.h"
#include "worker/access.h"
#include "worker/access_log.h"
#include "worker/client_ip.h"
#include "worker/exchange.h"
#include "worker/headers.h"
#include "worker/http.h"
#include "worker/proof.h"
#include "worker/router.h"
#include "worker/server.h"
#include "worker/stream.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>

/* How often a drain looks whether everyone has gone. */
#define DRAIN_LOOK_MS 20
/* Requests that were ended get this long to send their answers. */
#define LAST_WORDS_MS 1000

static struct {
    struct server server;
    struct accept *accept;
    char name[48];
    uv_timer_t drain;
    uint64_t drain_until, settle_until; /* 0: connections are left */
    bool is_cancelled;
} worker;

/* ---- boot ---- */

static void open_services(struct server *server)
{
    const struct options *options = server->options;
    struct connect_redis redis = { .name = worker.name,
                                   .timeout_ms = options->redis.timeout,
                                   .breaker_ms = options->redis.breaker,
                                   .slot = server->slot };

    snprintf(worker.name, sizeof(worker.name), "forkmark-worker-%d",
             (int)server->slot->number);
    server->pg = connect_pg(
        options, &(struct connect_pool){ .size = (int)options->database.pool_size,
                                         .overflow = (int)options->database.max_overflow,
                                         .pipelines = (int)options->database.pipelines,
                                         .name = worker.name,
                                         .slot = server->slot,
                                         .board = server->board,
                                         .reads_replicas = true });
    server->redis = connect_queue(options, &redis);
    server->cache_redis =
        connect_has_own_cache(options) ? connect_cache(options, &redis) : server->redis;
    if (!server->redis || !server->cache_redis)
        fatal("%s is no address of a Redis", connect_queue_option(options));
    server->cache = cache_new(server->cache_redis, options->redis.prefix);
    cache_count(server->cache, server->slot);
    if (!options->cache.enabled)
        cache_disable(server->cache);
}

static void prepare_handlers(struct server *server)
{
    router_init();
    headers_init(server->options);
    access_log_init(server->options);
    if (!client_ip_init(server->options))
        fatal("server.forwarded_allow_ips has an entry that is no address");
    if (!access_init(server))
        fatal("an option of `limits` is no limit");
}

/* ---- drain ---- */

static void on_drain_look(uv_timer_t *timer)
{
    struct server *server = &worker.server;

    (void)timer;
    if (http_connections(server->http) + accept_waiting(worker.accept) == 0) {
        if (worker.settle_until == 0)
            worker.settle_until = clock_ms() + CACHE_SETTLE_MS;
        if (!cache_owes(server->cache) || clock_ms() >= worker.settle_until)
            task_stop_loop();
    } else if (clock_ms() >= worker.drain_until) {
        if (worker.is_cancelled) {
            log_warn("%zu connections are cut off", http_connections(server->http));
            task_stop_loop();
            return;
        }
        log_warn("graceful_timeout is over: requests that still run get 503");
        worker.is_cancelled = true;
        worker.drain_until = clock_ms() + LAST_WORDS_MS;
        http_cancel_all(server->http);
    }
}

/* The last words come out of graceful_timeout: past it the master kills. */
static uint64_t drain_time(const struct options *options)
{
    uint64_t all = options->server.graceful_timeout;

    return all > 2 * LAST_WORDS_MS ? all - LAST_WORDS_MS - LAST_WORDS_MS / 2 : all / 2;
}

static void drain(void *arg)
{
    struct server *server = arg;

    if (server->draining)
        return;
    log_info("draining: %zu connections, %zu event streams",
             http_connections(server->http), hub_count(server->hub));
    worker.drain_until = clock_ms() + drain_time(server->options);
    if (worker.accept) /* none yet: the proof was called off */
        accept_stop(worker.accept);
    http_drain(server->http);
    hub_close_all(server->hub);
    uv_timer_init(task_loop(), &worker.drain);
    uv_timer_start(&worker.drain, on_drain_look, 0, DRAIN_LOOK_MS);
}

static void quick(void *arg)
{
    (void)arg;
    task_stop_loop();
}

/* ---- the role ---- */

static void serve(void)
{
    worker.accept = accept_new(&worker.server);
    role_ready(worker.server.role);
}

int worker_run(const struct role_context *context)
{
    struct server *server = &worker.server;

    server->options = context->options;
    server->role = context;
    server->board = context->board;
    server->slot = context->slot;

    signal(SIGPIPE, SIG_IGN); /* a client that left is an error of its write */
    task_runtime_init();
    json_init();
    payload_configure(context->options->jobs.serializer,
                      context->options->jobs.payload_limit);
    open_services(server);
    prepare_handlers(server);
    server->http = http_new(server);
    server->hub = hub_new(server);
    role_watch(context, drain, quick, server);
    role_on_report(exchange_report);
    if (context->is_proof)
        proof_start(server, serve);
    else
        serve();

    task_run_loop();

    /* What is left belongs to a process that ends: the kernel closes it. Clients hear of
     * that now: giving back the memory comes first, and takes a while. */
    http_hang_up(server->http);
    return 0;
}
