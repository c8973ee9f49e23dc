/*
 * cron.c - see cron.h.
 */
#include "jobs/cron.h"
#include "common/arena.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/task.h"
#include "jobs/functions.h"
#include "jobs/rq/payload.h"
#include "jobs/rq/queue.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_INTERVALS 32
#define UNSET_TTL     (-2)

struct cron_entry {
    const struct cron_options *options;
    struct cron cron;
    struct zone *zone;
    bool is_known; /* Redis was asked what was served before */
    int64_t since; /* known to us since then, by Redis' clock */
    int64_t next;  /* due then */
};

struct cron_table {
    const struct options *options;
    struct cron_entry *entries;
    size_t count;
    /* Redis' time when it was last told, and our monotonic clock's then: ours may be
     * set back or forth at any moment. */
    int64_t told;
    uint64_t told_ms;
};

const char *cron_entry_key(const struct options *options,
                           const struct cron_options *entry)
{
    return arena_printf(task_arena(), "%scron:%s", options->redis.prefix, entry->name);
}

struct cron_table *cron_table_new(const struct options *options)
{
    struct cron_table *table = calloc(1, sizeof(*table));
    size_t count = options->jobs.cron_count;

    if (!table || !(table->entries = calloc(count + 1, sizeof(*table->entries))))
        fatal("out of memory");
    table->options = options;
    for (size_t i = 0; i < count; i++) {
        const struct cron_options *entry = &options->jobs.cron[i];
        struct cron_entry *at = &table->entries[table->count];
        char error[CRON_ERROR_SIZE];
        const char *zone_error = "";

        if (!entry->enabled)
            continue;
        at->options = entry;
        at->zone = zone_open(entry->zone, &zone_error);
        /* Both were fine when the file was read. */
        if (at->zone && cron_parse(entry->schedule, &at->cron, error))
            table->count++;
        else
            log_error("cron %s is left out: its zone %s %s", entry->name, entry->zone,
                      zone_error);
    }
    return table;
}

void cron_table_free(struct cron_table *table)
{
    if (!table)
        return;
    for (size_t i = 0; i < table->count; i++)
        zone_free(table->entries[i].zone);
    free(table->entries);
    free(table);
}

/* ---- its job ---- */

static const struct value *json_of(const char *text)
{
    const char *ignored;

    return value_from_json(task_arena(), text, strlen(text), &ignored);
}

/* RQ's arguments are a tuple. */
static const struct value *args_of(const char *text)
{
    const struct value *list = json_of(text);
    struct value *args = value_container(task_arena(), VALUE_TUPLE);

    for (size_t i = 0; list && i < list->list.count; i++)
        value_add(task_arena(), args, list->list.items[i]);
    return args;
}

/* Of the last so many seconds: nobody waits longer for a time that was missed. */
static int64_t grace_of(const struct cron_entry *entry)
{
    return (int64_t)(entry->options->catch_up / 1000);
}

/* The id says what it is of; and a second job of that id is never pushed. */
static void describe_job(const struct cron_table *table, const struct cron_entry *entry,
                         int64_t due, struct job_spec *ret, int intervals[MAX_INTERVALS])
{
    const struct cron_options *o = entry->options;

    *ret = (struct job_spec){
        .id = arena_printf(task_arena(), "cron_%s_%lld", o->name, (long long)due),
        .queue = o->queue,
        .function = o->function,
        .args = args_of(o->args),
        .kwargs = json_of(o->kwargs),
        .timeout_s = o->timeout,
        .result_ttl_s =
            o->result_ttl == UNSET_TTL ? table->options->jobs.result_ttl : o->result_ttl,
        .failure_ttl_s = o->failure_ttl == UNSET_TTL ? table->options->jobs.failure_ttl
                                                     : o->failure_ttl,
        .retries = (int)o->retries,
        .retry_intervals = intervals,
        .at_front = o->at_front,
    };
    for (size_t i = 0; i < o->retry_intervals.count && i < MAX_INTERVALS; i++)
        intervals[ret->retry_interval_count++] =
            (int)strtol(o->retry_intervals.items[i], NULL, 10);
    const struct job_function *function = job_function_find(table->options, o->function);
    if (function)
        job_function_complete(function, ret);
    if (ret->timeout_s == 0)
        ret->timeout_s = table->options->jobs.default_timeout;
}

static void say(const struct cron_entry *entry, int outcome, int64_t due,
                const struct cron_push *push, const char *job_id)
{
    char text[CLOCK_TEXT_SIZE];

    clock_iso(due * 1000000, text);
    if (outcome == CRON_PUSHED)
        log_info("cron %s: job %s is in queue %s%s", entry->options->name, job_id,
                 entry->options->queue,
                 push->now - due > 30 ? arena_printf(task_arena(), ", %lld s late",
                                                     (long long)(push->now - due))
                                      : "");
    else if (outcome == CRON_LATE)
        log_warn("cron %s: what was due at %s UTC is passed over: nobody was there, and "
                 "now it is too late (catch_up)",
                 entry->options->name, text);
}

/* ---- when ---- */

#define ASK_AGAIN_MS 30000

static void tell_time(struct cron_table *table, int64_t redis_now)
{
    table->told = redis_now;
    table->told_ms = clock_ms();
}

static int ask_time(struct cron_table *table, struct redis *redis)
{
    redisReply *reply;

    if (table->told_ms && clock_ms() - table->told_ms < ASK_AGAIN_MS)
        return 0;
    int rc = redis_call(redis, &reply, "TIME");
    if (rc == 0 && reply->type == REDIS_REPLY_ARRAY && reply->elements > 0)
        tell_time(table, strtoll(reply->element[0]->str, NULL, 10));
    return rc;
}

static int64_t now_by_redis(const struct cron_table *table)
{
    return table->told + (int64_t)((clock_ms() - table->told_ms) / 1000);
}

/* At our start: what was due and is not served is due now, but only its last time. */
static int get_known(struct cron_table *table, struct cron_entry *entry,
                     struct redis *redis)
{
    struct cron_push push = { .key = cron_entry_key(table->options, entry->options) };
    int rc = queue_push_cron(redis, NULL, &push);

    if (rc < 0)
        return rc;
    tell_time(table, push.now);
    entry->is_known = true;
    entry->since = push.now;
    entry->next = cron_next(&entry->cron, entry->zone, push.last_due);
    return 0;
}

/* 1 enqueued, 0 not due (or not by us), or an error. */
static int run_entry(struct cron_table *table, struct cron_entry *entry,
                     struct redis *redis)
{
    struct cron_push push = { .key = cron_entry_key(table->options, entry->options),
                              .grace_s = grace_of(entry) };
    int intervals[MAX_INTERVALS];
    struct job_spec spec;

    if (!entry->is_known) {
        int rc = get_known(table, entry, redis);
        if (rc < 0)
            return rc;
    }
    int64_t now = now_by_redis(table);
    if (entry->next == CRON_NEVER || now < entry->next)
        return 0;
    int64_t last = cron_last(&entry->cron, entry->zone, now);
    push.due = last > entry->next ? last : entry->next;
    push.since = entry->since;
    describe_job(table, entry, push.due, &spec, intervals);
    int outcome = queue_push_cron(redis, &spec, &push);
    if (outcome < 0)
        return outcome;
    tell_time(table, push.now);
    say(entry, outcome, push.due, &push, spec.id);
    if (outcome != CRON_EARLY)
        entry->next = cron_next(&entry->cron, entry->zone, push.due);
    return outcome == CRON_PUSHED;
}

int cron_table_run(struct cron_table *table, struct redis *redis)
{
    int pushed = 0;
    int error = table->count > 0 ? ask_time(table, redis) : 0;

    if (error < 0)
        return error;
    /* One that fails (its queue's key is something else) does not stop the others. */
    for (size_t i = 0; i < table->count; i++) {
        int rc = run_entry(table, &table->entries[i], redis);

        if (rc < 0)
            error = rc;
        else
            pushed += rc;
        if (rc < 0 && rc != -EPROTO)
            break;
    }
    return error < 0 ? error : pushed;
}
