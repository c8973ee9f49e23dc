/*
 * scheduler.c - see scheduler.h: a table of duties, each a task of its own.
 *
 * A duty that waits (PostgreSQL is away, say) holds up no other, and is not started
 * again before it has ended. Due jobs are enqueued for the queues this scheduler leads;
 * upkeep is done for those that no other forkmark leads. What concerns no queue
 * (outbox, sweeps, groups) is a matter of whoever holds forkmark's own lock: RQ's may be
 * held by RQ. Cron entries need no leader (cron.h).
 */
#include "jobs/scheduler.h"
#include "common/arena.h"
#include "common/cache.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/task.h"
#include "jobs/backlog.h"
#include "jobs/connections.h"
#include "jobs/cron.h"
#include "jobs/outbox.h"
#include "jobs/rq/maintenance.h"
#include "jobs/rq/payload.h"
#include "jobs/rq/scheduler_lock.h"
#include "jobs/scheduler_sweeps.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SOON_MS 100
/* Duties fall due on multiples of this, so that one waking serves several. */
#define GRID_MS        500
#define MAX_QUEUES     10000
#define LAST_WORDS_MS  1000
#define PG_CONNECTIONS 2
#define PG_OVERFLOW    1

struct led_queue {
    char *name;
    enum scheduler_leader leader;
};

struct scheduler {
    const struct role_context *context;
    struct redis *redis, *cache_redis;
    struct cache *cache;
    struct pg *pg;
    struct rq_scheduler lock;
    struct cron_table *cron;
    struct led_queue *queues;
    size_t queue_count, queue_room;
    bool is_full; /* said already */
    char *chores_key;
    bool leads_chores;
    uv_timer_t tick;
    bool is_ready, is_leaving;
};

static struct scheduler scheduler;

/* ---- which queues there are ---- */

static bool has_room(struct scheduler *s)
{
    if (s->queue_count == MAX_QUEUES) {
        if (!s->is_full)
            log_warn("more than %d queues: the others are left to RQ", MAX_QUEUES);
        s->is_full = true;
        return false;
    }
    if (s->queue_count == s->queue_room) {
        s->queue_room = s->queue_room ? s->queue_room * 2 : 16;
        s->queues = realloc(s->queues, s->queue_room * sizeof(*s->queues));
        if (!s->queues)
            fatal("out of memory");
    }
    return true;
}

static void add_queue(struct scheduler *s, const char *name)
{
    for (size_t i = 0; i < s->queue_count; i++) {
        if (strcmp(s->queues[i].name, name) == 0)
            return;
    }
    if (!*name || !has_room(s))
        return;
    s->queues[s->queue_count] = (struct led_queue){ .name = strdup(name) };
    if (!s->queues[s->queue_count].name)
        fatal("out of memory");
    s->queue_count++;
}

static void add_configured_queues(struct scheduler *s)
{
    const struct options *options = s->context->options;

    for (size_t i = 0; i < options->jobs.pool_count; i++) {
        for (size_t k = 0; k < options->jobs.pools[i].queues.count; k++)
            add_queue(s, options->jobs.pools[i].queues.items[k]);
    }
}

/* Queues of others on this Redis are served too, as RQ's own maintenance does. */
static int find_queues(struct scheduler *s)
{
    static const char prefix[] = "rq:queue:";
    redisReply *reply;
    int rc = redis_call(s->redis, &reply, "SMEMBERS rq:queues");

    for (size_t i = 0; rc == 0 && i < reply->elements; i++) {
        const char *key = reply->element[i]->str;

        if (key && strncmp(key, prefix, strlen(prefix)) == 0)
            add_queue(s, key + strlen(prefix));
    }
    return rc;
}

/* Which of the queues: all, or those led by ... */
#define BIT(leader) (1U << (leader))
#define ALL_QUEUES  (BIT(LED_BY_US) | BIT(LED_BY_RQ) | BIT(LED_BY_FORKMARK))
#define OWN_QUEUES  BIT(LED_BY_US)
/* RQ's scheduler does no upkeep, and its workers theirs every ten minutes only. */
#define TENDED_QUEUES (BIT(LED_BY_US) | BIT(LED_BY_RQ))

/* In the task's arena. */
static struct conf_list queue_names(const struct scheduler *s, unsigned leaders)
{
    struct conf_list list = { .items = arena_array(task_arena(), s->queue_count + 1,
                                                   sizeof(char *)) };

    for (size_t i = 0; i < s->queue_count; i++) {
        if (leaders & BIT(s->queues[i].leader))
            list.items[list.count++] = s->queues[i].name;
    }
    return list;
}

/* ---- the duties ---- */

static int lead(struct scheduler *s)
{
    int rc = find_queues(s);

    if (rc == 0) {
        struct conf_list all = queue_names(s, ALL_QUEUES);
        rc = scheduler_record(&s->lock, &all);
    }
    if (rc >= 0)
        rc = scheduler_lead_key(&s->lock, s->chores_key);
    if (rc >= 0)
        s->leads_chores = rc == LED_BY_US;
    for (size_t i = 0; rc >= 0 && i < s->queue_count && !s->is_leaving; i++) {
        rc = scheduler_lead(&s->lock, s->queues[i].name);
        if (rc >= 0)
            s->queues[i].leader = (enum scheduler_leader)rc;
    }
    return rc;
}

static int enqueue_due(struct scheduler *s)
{
    struct conf_list led = queue_names(s, OWN_QUEUES);
    int rc = 0;

    for (size_t i = 0; rc >= 0 && i < led.count; i++)
        rc = queue_enqueue_due(s->redis, led.items[i], s->lock.value);
    return rc;
}

static int enqueue_cron(struct scheduler *s)
{
    return cron_table_run(s->cron, s->redis);
}

static int maintain(struct scheduler *s)
{
    struct conf_list tended = queue_names(s, TENDED_QUEUES);
    int rc = 0;

    for (size_t i = 0; rc >= 0 && i < tended.count; i++)
        rc = queue_maintain(s->redis, s->context->options, tended.items[i]);
    return rc;
}

static int tidy(struct scheduler *s)
{
    struct conf_list tended = queue_names(s, TENDED_QUEUES);
    int rc = s->leads_chores ? groups_maintain(s->redis) : 0;

    for (size_t i = 0; rc >= 0 && i < tended.count; i++)
        rc = queue_tidy(s->redis, tended.items[i]);
    return rc;
}

static int flush_outbox(struct scheduler *s)
{
    if (!s->leads_chores)
        return 0;
    int pushed = outbox_flush(s->pg, s->redis, s->context->options->jobs.outbox_age);
    if (pushed > 0)
        log_warn("%d jobs were owed to Redis and are pushed now", pushed);
    return pushed;
}

static int sweep(struct scheduler *s)
{
    struct conf_list queues = queue_names(s, ALL_QUEUES);

    if (!s->leads_chores)
        return 0;
    return sweep_unfinished(s->pg, s->redis, s->cache, s->context->options, &queues);
}

static int clean_up(struct scheduler *s)
{
    return s->leads_chores ? sweep_expired(s->pg) : 0;
}

/* For the master, which scales the pools whose count is a range. */
static int count_backlogs(struct scheduler *s)
{
    const struct options *options = s->context->options;
    int rc = 0;

    for (size_t i = 0; rc >= 0 && i < options->jobs.pool_count; i++) {
        const struct pool_options *pool = &options->jobs.pools[i];
        struct board_backlog *of_pool = board_backlog(s->context->board, pool->name);
        struct backlog backlog;

        if (!pool->consumers.is_range || !of_pool)
            continue;
        rc = backlog_count(s->redis, options, pool, &backlog);
        if (rc < 0)
            break;
        atomic_store(&of_pool->waiting, backlog.waiting);
        atomic_store(&of_pool->age_ms, backlog.age_ms);
        atomic_store(&of_pool->counted_ms, clock_ms());
    }
    return rc;
}

/* In the order in which they are due at the start: nothing is led before `lead`. */
static struct duty {
    const char *name;
    int (*run)(struct scheduler *s);
    uint64_t every_ms, first_ms;
    uint64_t due_ms;
    struct task *task;
    bool is_complaining;
} duties[] = {
    { .name = "lead", .run = lead, .every_ms = 1000 },
    { .name = "due jobs", .run = enqueue_due, .every_ms = 1000, .first_ms = 100 },
    { .name = "cron", .run = enqueue_cron, .every_ms = 500, .first_ms = 100 },
    { .name = "backlog", .run = count_backlogs, .every_ms = 1000, .first_ms = 150 },
    { .name = "maintenance", .run = maintain, .every_ms = 30000, .first_ms = 200 },
    { .name = "tidying", .run = tidy, .every_ms = 600000, .first_ms = 300 },
    { .name = "outbox", .run = flush_outbox, .every_ms = 2000, .first_ms = 500 },
    { .name = "sweep", .run = sweep, .every_ms = 60000, .first_ms = 5000 },
    { .name = "clean-up", .run = clean_up, .every_ms = 600000, .first_ms = 30000 },
};
#define DUTY_COUNT (sizeof(duties) / sizeof(duties[0]))

static void do_duty(void *arg)
{
    struct duty *duty = arg;
    struct scheduler *s = &scheduler;
    int rc = duty->run(s);

    /* Said once when it starts to fail, and once when it works again. */
    if (rc < 0 && !duty->is_complaining)
        log_warn("scheduler: %s failed (%s); trying on", duty->name, strerror(-rc));
    else if (rc >= 0 && duty->is_complaining)
        log_info("scheduler: %s works again", duty->name);
    duty->is_complaining = rc < 0;
    if (!s->is_ready) {
        s->is_ready = true;
        role_ready(s->context);
    }
}

static void arm(struct scheduler *s);

static void duty_ended(void *arg, enum task_outcome outcome)
{
    struct duty *duty = arg;

    (void)outcome;
    duty->task = NULL;
    duty->due_ms = clock_ms() + duty->every_ms;
    if (duty->every_ms >= GRID_MS)
        duty->due_ms -= duty->due_ms % GRID_MS;
    arm(&scheduler);
}

static void on_due(uv_timer_t *timer)
{
    uint64_t now = clock_ms();

    for (size_t i = 0; i < DUTY_COUNT; i++) {
        struct duty *duty = &duties[i];

        if (!duty->task && duty->due_ms <= now)
            duty->task = task_spawn(&(struct task_spec){
                .name = duty->name, .run = do_duty, .arg = duty, .on_end = duty_ended });
    }
    arm(timer->data);
}

/* Sleeps until the first duty is due that is not at work. */
static void arm(struct scheduler *s)
{
    uint64_t now = clock_ms(), next = UINT64_MAX;

    for (size_t i = 0; i < DUTY_COUNT; i++) {
        if (!duties[i].task && duties[i].due_ms < next)
            next = duties[i].due_ms;
    }
    if (next == UINT64_MAX || s->is_leaving)
        return;
    uv_update_time(task_loop());
    uv_timer_start(&s->tick, on_due, next > now ? next - now : 0, 0);
}

/* Tests and small installations want small ages served in small steps. */
static void set_due_times(const struct options *options)
{
    uint64_t now = clock_ms();

    for (size_t i = 0; i < DUTY_COUNT; i++) {
        uint64_t age = duties[i].run == flush_outbox ? options->jobs.outbox_age
                       : duties[i].run == sweep      ? options->jobs.sweep_age
                                                     : UINT64_MAX;

        duties[i].due_ms = now + duties[i].first_ms;
        if (duties[i].every_ms > age)
            duties[i].every_ms = age > SOON_MS ? age : SOON_MS;
    }
}

/* ---- leaving: the locks are given back, so that another leads at once ---- */

static void say_goodbye(void *arg)
{
    struct scheduler *s = arg;
    struct conf_list all = queue_names(s, ALL_QUEUES);

    /* All: a lock's answer may have been on its way. Only our own are dropped. */
    for (size_t i = 0; i < all.count; i++)
        scheduler_drop(&s->lock, all.items[i]);
    scheduler_drop_key(&s->lock, s->chores_key);
    scheduler_forget(&s->lock);
    cache_settle(s->cache, CACHE_SETTLE_MS);
}

static void gone(void *arg, enum task_outcome outcome)
{
    (void)arg;
    (void)outcome;
    task_stop_loop();
}

static void leave(void *arg)
{
    struct scheduler *s = arg;

    if (s->is_leaving)
        return;
    s->is_leaving = true;
    uv_timer_stop(&s->tick);
    /* A duty is a row of small steps, each safe to stop after. */
    for (size_t i = 0; i < DUTY_COUNT; i++) {
        if (duties[i].task)
            task_cancel(duties[i].task);
    }
    task_spawn(&(struct task_spec){ .name = "goodbye",
                                    .run = say_goodbye,
                                    .arg = s,
                                    .timeout_ms = LAST_WORDS_MS,
                                    .on_end = gone });
}

int scheduler_run(const struct role_context *context)
{
    struct scheduler *s = &scheduler;

    *s = (struct scheduler){ .context = context };
    task_runtime_init();
    json_init();
    payload_configure(context->options->jobs.serializer,
                      context->options->jobs.payload_limit);
    s->redis = jobs_queue_redis(context->options, "forkmark-scheduler", context->slot);
    s->cache_redis =
        jobs_cache_redis(context->options, "forkmark-scheduler", context->slot);
    s->pg = jobs_pg(context->options, PG_CONNECTIONS, PG_OVERFLOW, "forkmark scheduler",
                    context);
    if (!s->redis || !s->cache_redis || !s->pg)
        return 1;
    s->cache = cache_new(s->cache_redis, context->options->redis.prefix);
    scheduler_init(&s->lock, s->redis);
    if (asprintf(&s->chores_key, "%sscheduler-lock", context->options->redis.prefix) < 0)
        fatal("out of memory");
    s->cron = cron_table_new(context->options);
    add_configured_queues(s);
    set_due_times(context->options);
    role_watch(context, leave, leave, s);
    uv_timer_init(task_loop(), &s->tick);
    s->tick.data = s;
    arm(s);
    task_run_loop();
    cache_free(s->cache);
    pg_free(s->pg);
    redis_free(s->cache_redis);
    redis_free(s->redis);
    for (size_t i = 0; i < s->queue_count; i++)
        free(s->queues[i].name);
    cron_table_free(s->cron);
    free(s->queues);
    free(s->chores_key);
    return 0;
}
