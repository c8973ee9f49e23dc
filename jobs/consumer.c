/*
 * consumer.c - a consumer's life: register, cycle, leave.
 *
 * The work is a chain of short tasks, each one cycle: take a job, or wait for one,
 * and run it; so nothing of a job stays behind in memory. Beside it: heartbeats
 * from a timer, commands from the worker's channel, and the master's signals.
 */
#include "jobs/consumer.h"
#include "common/arena.h"
#include "common/cache.h"
#include "common/clock.h"
#include "common/connect.h"
#include "common/ids.h"
#include "common/json.h"
#include "common/log.h"
#include "jobs/connections.h"
#include "jobs/consumer_parts.h"
#include "jobs/fetch/fetch.h"
#include "jobs/rq/payload.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define RECONNECT_MS    250
#define LISTEN_MS       2000
#define SUSPENDED_MS    500
#define LEAVE_MARGIN_MS 1000 /* of the graceful timeout, for the last words to Redis */
#define PG_CONNECTIONS  1
#define PG_OVERFLOW     1
#define PROOF_MS        5000

/* One consumer a process. */
static struct consumer consumer;

/* ---- waking the cycle ---- */

static void nap_cancelled(void *arg)
{
    struct consumer *c = arg;

    c->is_cycle_parked = false;
}

void consumer_nap(struct consumer *c, uint64_t ms)
{
    c->is_cycle_parked = true;
    task_park(&(struct task_park){
        .waiting_on = "job", .timeout_ms = ms, .on_cancel = nap_cancelled, .arg = c });
    c->is_cycle_parked = false;
}

void consumer_poke(struct consumer *c)
{
    if (!c->is_cycle_parked)
        return;
    c->is_cycle_parked = false;
    task_wake(c->cycle, 0);
}

/* ---- Redis is away: said once, and once when it is back ---- */

static void complain(struct consumer *c, int rc)
{
    const char *trouble = redis_trouble(c->services.redis);

    if (!c->is_complaining)
        log_warn("the queue's Redis cannot be used (%s); trying on",
                 *trouble ? trouble : strerror(-rc));
    c->is_complaining = true;
}

static void relieved(struct consumer *c)
{
    if (c->is_complaining)
        log_info("the queue's Redis is back");
    c->is_complaining = false;
}

static void be_ready(struct consumer *c)
{
    if (c->is_ready)
        return;
    c->is_ready = true;
    role_ready(c->context);
}

/* ---- the proof: what a new generation of consumers needs, tried out first ---- */

static void prove(void *arg)
{
    static const char *const ping[] = { "PING" };
    struct consumer *c = arg;
    redisReply *reply = NULL;
    int rc = pg_ping(c->services.pg, PROOF_MS);

    if (rc < 0)
        role_refuse(c->context, "database.url: %s",
                    *pg_last_error(c->services.pg) ? pg_last_error(c->services.pg)
                                                   : strerror(-rc));
    rc = redis_call_argv_timeout(c->services.redis, &reply, PROOF_MS, 1, ping, NULL);
    if (rc < 0)
        role_refuse(c->context, "%s: %s", connect_queue_option(c->context->options),
                    reply && reply->str                 ? reply->str
                    : *redis_trouble(c->services.redis) ? redis_trouble(c->services.redis)
                                                        : strerror(-rc));
}

static void start_cycle(struct consumer *c);

static void proven(void *arg, enum task_outcome outcome)
{
    (void)outcome;
    start_cycle(arg);
}

/* ---- the cycle ---- */

/*
 * Into the books: first what our predecessor in this slot, and others of this host,
 * held when they died, so that it is at the head of the queue when we claim.
 */
static int enter_books(struct consumer *c)
{
    const char *predecessor = c->context->predecessor;
    int rc = 0;

    if (*predecessor && strcmp(predecessor, c->worker.name) != 0)
        rc = worker_recover(c->worker.redis, c->context->options, predecessor,
                            c->context->predecessor_overran);
    if (rc >= 0)
        rc = worker_register(&c->worker);
    if (rc >= 0)
        rc = worker_recover_host(c->worker.redis, c->context->options);
    if (rc < 0)
        return rc;
    c->is_registered = true;
    c->state = "started";
    log_debug("registered as RQ worker %s", c->worker.name);
    return 0;
}

static void show_state(struct consumer *c, const char *state)
{
    if (c->state && strcmp(c->state, state) == 0)
        return;
    if (worker_heartbeat(&c->worker, state, NULL, NULL) >= 0)
        c->state = state;
}

/* Nothing to do: as long as that goes on, and for as long as the pool lets it. */
static void be_idle(struct consumer *c)
{
    uint64_t limit_ms = c->context->pool->max_idle_time;
    uint64_t now_ms = clock_ms();

    show_state(c, "idle");
    if (c->idle_since_ms == 0)
        c->idle_since_ms = now_ms;
    if (!consumer_has_looked(c)) /* a long queue is looked through in steps */
        return;
    if (c->context->pool->burst)
        consumer_done(c, "its queues are empty");
    else if (limit_ms > 0 && now_ms - c->idle_since_ms >= limit_ms)
        consumer_done(c, "it had no job for as long as max_idle_time says");
    else
        consumer_wait(c);
}

static void be_suspended(struct consumer *c)
{
    c->idle_since_ms = 0;
    show_state(c, "suspended");
    if (c->context->pool->burst)
        consumer_done(c, "workers are suspended");
    else
        consumer_nap(c, SUSPENDED_MS);
}

static void take_job(struct consumer *c)
{
    int rc = consumer_look(c);

    if (rc >= 0)
        rc = job_claim(&c->worker, c->next_execution, &c->job);
    if (rc < 0) {
        complain(c, rc);
        consumer_nap(c, RECONNECT_MS);
        return;
    }
    relieved(c);
    switch ((enum claim_result)rc) {
    case CLAIM_JOB:
        consumer_claimed(c, c->job);
        id_hex(c->next_execution, sizeof(c->next_execution) - 1);
        break;
    case CLAIM_EMPTY:
        consumer_claimed(c, NULL);
        be_idle(c);
        break;
    case CLAIM_MORE:
        consumer_claimed(c, NULL);
        break;
    case CLAIM_SUSPENDED:
        be_suspended(c);
        break;
    case CLAIM_UNREGISTERED:
        c->is_registered = false;
        break;
    }
}

static void cycle(void *arg)
{
    struct consumer *c = arg;

    if (!c->is_registered) {
        int rc = enter_books(c);

        if (rc >= 0)
            rc = consumer_start_burst(c);
        /* A consumer is worth having before Redis is: it will find it. */
        be_ready(c);
        if (rc < 0) {
            complain(c, rc);
            consumer_nap(c, RECONNECT_MS);
            return;
        }
        relieved(c);
        /* A job that is claimed before can be told nothing: `stop-job` would be lost. */
        if (!c->is_listening)
            consumer_nap(c, LISTEN_MS);
    }
    if (!c->job && !c->is_leaving)
        take_job(c);
    if (c->job)
        consumer_run_job(c);
}

/* ---- leaving ---- */

static void say_goodbye(void *arg)
{
    struct consumer *c = arg;

    if (c->is_registered && worker_bury(&c->worker, c->next_execution) < 0)
        log_warn("gone without telling Redis; the record of worker %s expires by itself",
                 c->worker.name);
    else
        c->context->slot->rq_name[0] = '\0'; /* nothing left to take back */
    cache_settle(c->services.cache, CACHE_SETTLE_MS);
}

static void gone(void *arg, enum task_outcome outcome)
{
    struct consumer *c = arg;

    (void)outcome;
    uv_timer_stop(&c->heartbeat);
    uv_timer_stop(&c->grace);
    consumer_wait_stop(c);
    task_stop_loop();
}

static void cycle_ended(void *arg, enum task_outcome outcome)
{
    struct consumer *c = arg;

    (void)outcome;
    c->cycle = NULL;
    c->is_cycle_parked = false;
    if (c->job || !c->is_leaving) {
        start_cycle(c);
        return;
    }
    task_spawn(&(struct task_spec){ .name = "goodbye",
                                    .run = say_goodbye,
                                    .arg = c,
                                    .timeout_ms = LEAVE_MARGIN_MS,
                                    .on_end = gone });
}

static void start_cycle(struct consumer *c)
{
    c->cycle = task_spawn(&(struct task_spec){
        .name = "consume", .run = cycle, .arg = c, .on_end = cycle_ended });
}

static void grace_over(uv_timer_t *timer)
{
    struct consumer *c = timer->data;

    if (c->job_task)
        log_warn("job %s is not done within the graceful timeout: put back", c->job->id);
    consumer_cut_job(c, CUT_BACK);
}

static void show_shutdown(void *arg)
{
    struct consumer *c = arg;

    worker_shutting_down(&c->worker);
}

static void shutdown_shown(void *arg, enum task_outcome outcome)
{
    struct consumer *c = arg;

    (void)outcome;
    c->shutdown_task = NULL;
}

void consumer_show_leaving(struct consumer *c)
{
    if (!c->shutdown_task)
        c->shutdown_task = task_spawn(&(struct task_spec){ .name = "shutdown",
                                                           .run = show_shutdown,
                                                           .arg = c,
                                                           .timeout_ms = LEAVE_MARGIN_MS,
                                                           .on_end = shutdown_shown });
}

void consumer_done(struct consumer *c, const char *why)
{
    log_info("leaves after %lld job%s: %s", (long long)c->jobs_run,
             c->jobs_run == 1 ? "" : "s", why);
    c->is_done = true;
    consumer_leave(c);
}

/* A job's own limit is enough for one that leaves alone: a reload, a pool that shrinks,
 * RQ's command. The server's end does not wait so long. */
static void hurry(struct consumer *c)
{
    uint64_t grace = c->context->options->server.graceful_timeout;

    if (uv_is_active((uv_handle_t *)&c->grace) ||
        !board_shared(c->context->board)->is_stopping)
        return;
    grace = grace > 2 * LEAVE_MARGIN_MS ? grace - LEAVE_MARGIN_MS : grace / 2;
    uv_timer_start(&c->grace, grace_over, grace, 0);
}

void consumer_leave(struct consumer *c)
{
    hurry(c);
    if (c->is_leaving)
        return;
    c->is_leaving = true;
    board_set_state(c->context->slot, BOARD_DRAINING);
    if (c->job_task)
        consumer_show_leaving(c);
    /* A cycle that waits for its job's end only looks, and waits on. */
    consumer_poke(c);
}

static void drain(void *arg)
{
    consumer_leave(arg);
}

static void quick(void *arg)
{
    struct consumer *c = arg;

    c->is_quick = true;
    consumer_leave(c);
    consumer_cut_job(c, CUT_BACK);
}

/* ---- heartbeats ---- */

static void beat(void *arg)
{
    struct consumer *c = arg;
    struct rq_running running;
    bool is_running = c->job_task != NULL || c->is_settling;

    if (is_running)
        running = (struct rq_running){
            /* The job may end, and its memory go, while this waits for Redis. */
            .id = arena_strdup(task_arena(), c->job->id),
            .queue = arena_strdup(task_arena(), c->job->queue),
            .execution = arena_strdup(task_arena(), c->job->execution),
            .elapsed_s = (double)(clock_ms() - c->run_started_ms) / 1000,
            .timeout_s = c->job->timeout_s,
        };
    int rc = worker_heartbeat(&c->worker, NULL, is_running ? &running : NULL, NULL);
    if (rc < 0) {
        complain(c, rc);
        return;
    }
    /* Redis forgot us (a flush, a stall beyond the record's TTL). */
    if (rc == WORKER_LOST && worker_register(&c->worker) == 0) {
        log_warn("the record of worker %s was gone: registered again", c->worker.name);
        c->state = "started";
        if (is_running)
            worker_heartbeat(&c->worker, NULL, &running, NULL);
    }
    /* RQ lets a job run on that was deleted or taken away; so its outcome is dropped. */
    if (rc == WORKER_JOB_LOST && is_running && c->job_task)
        log_debug("somebody else has decided about job %s", c->job->id);
}

static void beat_ended(void *arg, enum task_outcome outcome)
{
    struct consumer *c = arg;

    (void)outcome;
    c->beat_task = NULL;
}

static void on_heartbeat(uv_timer_t *timer)
{
    struct consumer *c = timer->data;

    if (c->beat_task || !c->is_registered)
        return;
    c->beat_task = task_spawn(&(struct task_spec){
        .name = "heartbeat", .run = beat, .arg = c, .on_end = beat_ended });
}

/* What the job waits on, if anything, for the report of one that hangs. */
static void report(struct board_doing *ret)
{
    *ret = consumer.context->slot->doing;
    if (consumer.job_task)
        snprintf(ret->waiting_on, sizeof(ret->waiting_on), "%s",
                 task_waiting_on(consumer.job_task));
}

/* ---- the role ---- */

static bool open_services(struct consumer *c)
{
    const struct options *options = c->context->options;
    struct job_services *services = &c->services;

    services->options = options;
    services->redis = jobs_queue_redis(options, c->worker.name, c->context->slot);
    services->cache_redis =
        jobs_cache_redis(options, "forkmark-consumer", c->context->slot);
    if (!services->redis || !services->cache_redis)
        return false;
    services->pg =
        jobs_pg(options, PG_CONNECTIONS, PG_OVERFLOW, "forkmark consumer", c->context);
    services->cache = cache_new(services->cache_redis, options->redis.prefix);
    services->fetcher = fetcher_new(options);
    return services->pg && services->cache && services->fetcher;
}

static void close_services(struct consumer *c)
{
    fetcher_free(c->services.fetcher);
    consumer_queues_free(c);
    cache_free(c->services.cache);
    pg_free(c->services.pg);
    redis_free(c->services.cache_redis);
    redis_free(c->services.redis);
}

static void start_timers(struct consumer *c)
{
    uint64_t interval = (uint64_t)c->worker.interval_s * 1000;

    uv_timer_init(task_loop(), &c->heartbeat);
    uv_timer_init(task_loop(), &c->grace);
    c->heartbeat.data = c;
    c->grace.data = c;
    uv_timer_start(&c->heartbeat, on_heartbeat, interval, interval);
}

int consumer_run(const struct role_context *context)
{
    struct consumer *c = &consumer;

    *c = (struct consumer){ .context = context };
    task_runtime_init();
    json_init();
    payload_configure(context->options->jobs.serializer,
                      context->options->jobs.payload_limit);
    worker_init(&c->worker, NULL, context->options, &context->pool->queues);
    if (!open_services(c))
        return 1;
    c->worker.redis = c->services.redis;
    /* Before the record is: whoever follows in this slot must know whom to look for. */
    memcpy(context->slot->rq_name, c->worker.name, sizeof(c->worker.name));
    id_hex(c->next_execution, sizeof(c->next_execution) - 1);
    role_watch(context, drain, quick, c);
    role_on_report(report);
    consumer_queues_init(c);
    consumer_wait_init(c);
    consumer_listen(c);
    start_timers(c);
    if (context->is_proof)
        task_spawn(&(struct task_spec){
            .name = "proof", .run = prove, .arg = c, .on_end = proven });
    else
        start_cycle(c);
    task_run_loop();
    close_services(c);
    return c->is_done ? ROLE_DONE : 0;
}
