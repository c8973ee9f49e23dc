/* The producer: what it leaves in a real Redis, alone, in bulk, later and only once. */
#include "common/arena.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/task.h"
#include "jobs/rq/job_state.h"
#include "jobs/rq/maintenance.h"
#include "jobs/rq/payload.h"
#include "jobs/rq/queue.h"
#include "jobs/rq/scripts.h"
#include "tests/unit/redis_server.h"
#include "tests/unit/testing.h"
#include <errno.h>

#define MANY QUEUE_PUSH_MOST

static struct redis_server server;
static struct redis *redis;

/* ---- what Redis holds ---- */

static long long number(const char *format, const char *key)
{
    redisReply *reply;

    assert_int_equal(redis_call(redis, &reply, format, key), 0);
    return reply->str ? strtoll(reply->str, NULL, 10) : reply->integer;
}

static const char *text(const char *format, const char *key)
{
    redisReply *reply;

    assert_int_equal(redis_call(redis, &reply, format, key), 0);
    return reply->str ? reply->str : "";
}

static const char *status_of(const char *id)
{
    return text("HGET rq:job:%s status", id);
}

static void set_status(const char *id, const char *status)
{
    assert_int_equal(redis_call(redis, NULL, "HSET rq:job:%s status %s", id, status), 0);
}

static void assert_number(const char *format, const char *key, long long wanted)
{
    assert_int_equal(number(format, key), wanted);
}

static struct job_spec a_job(const char *id)
{
    return (struct job_spec){ .id = id,
                              .queue = "q",
                              .function = "mod.func",
                              .result_ttl_s = JOB_TTL_DEFAULT,
                              .failure_ttl_s = JOB_TTL_DEFAULT };
}

/* Under a key; the id it stands under. */
static const char *push_unique(const char *id, const char *key, bool while_running,
                               int wanted)
{
    struct job_spec spec = a_job(id);
    const char *got = NULL;

    spec.unique_key = key;
    spec.unique_while_running = while_running;
    assert_int_equal(queue_push(redis, &spec, &got), wanted);
    return got;
}

/* As claim.lua and Python leave it while it runs. */
static void start_job(const char *id)
{
    set_status(id, "started");
    assert_int_equal(redis_call(redis, NULL, "LREM rq:queue:q 0 %s", id), 0);
    assert_int_equal(redis_call(redis, NULL, "ZADD rq:wip:q 9999999999 %s", id), 0);
}

static void end_job(const char *id, const char *status)
{
    set_status(id, status);
    assert_int_equal(redis_call(redis, NULL, "ZREM rq:wip:q %s", id), 0);
}

/* ---- one ---- */

static void pushes_one_as_rq_would(void)
{
    struct job_spec spec = a_job(NULL);
    struct value *args = value_container(task_arena(), VALUE_TUPLE);
    struct call call;
    const char *error;
    const char *id;

    value_add(task_arena(), args, value_int(task_arena(), 7));
    spec.args = args;
    spec.timeout_s = 33;
    spec.result_ttl_s = 0;
    spec.retries = 2;
    spec.retry_intervals = (const int[]){ 10, 60 };
    spec.retry_interval_count = 2;
    assert_int_equal(queue_push(redis, &spec, &id), 1);
    assert_int_equal(strlen(id), 36);
    assert_string_equal(text("LINDEX %s 0", "rq:queue:q"), id);
    assert_number("SISMEMBER rq:queues %s", "rq:queue:q", 1);
    assert_string_equal(status_of(id), "queued");
    assert_string_equal(text("HGET rq:job:%s origin", id), "q");
    assert_string_equal(text("HGET rq:job:%s timeout", id), "33");
    assert_string_equal(text("HGET rq:job:%s result_ttl", id), "0");
    assert_number("HEXISTS rq:job:%s failure_ttl", id, 0);
    assert_string_equal(text("HGET rq:job:%s retries_left", id), "2");
    assert_string_equal(text("HGET rq:job:%s retry_intervals", id), "[10, 60]");
    assert_string_equal(text("HGET rq:job:%s description", id), "mod.func(7)");
    assert_number("HEXISTS rq:job:%s started_at", id, 1);
    assert_string_equal(text("HGET rq:job:%s started_at", id), "");
    /* Absent, never empty: RQ's readers fail on an empty one. */
    assert_number("HEXISTS rq:job:%s enqueue_at_front", id, 0);
    assert_number("TTL rq:job:%s", id, -1);

    redisReply *data;
    assert_int_equal(redis_call(redis, &data, "HGET rq:job:%s data", id), 0);
    assert_true(payload_read(task_arena(), data->str, data->len, &call, &error));
    assert_string_equal(call.name, "mod.func");
    assert_int_equal(call.args->list.items[0]->integer, 7);
}

static void leaves_an_existing_job_alone(void)
{
    struct job_spec spec = a_job("same");
    const char *id;

    assert_int_equal(queue_push(redis, &spec, NULL), 1);
    spec.timeout_s = 1;
    assert_int_equal(queue_push(redis, &spec, &id), 0);
    assert_string_equal(id, "same");
    assert_number("LLEN %s", "rq:queue:q", 1);
    assert_string_equal(text("HGET rq:job:%s timeout", "same"), "180");
}

static void takes_the_front(void)
{
    struct job_spec spec = a_job("first");

    queue_push(redis, &spec, NULL);
    spec.id = "jumper";
    spec.at_front = true;
    queue_push(redis, &spec, NULL);
    assert_string_equal(text("LINDEX %s 0", "rq:queue:q"), "jumper");
}

static void forgets_what_waits_too_long(void)
{
    struct job_spec spec = a_job("brief");

    spec.waiting_ttl_s = 60;
    queue_push(redis, &spec, NULL);
    assert_in_range(number("TTL rq:job:%s", "brief"), 50, 60);
    assert_string_equal(text("HGET rq:job:%s ttl", "brief"), "60");
}

static void takes_odd_names(void)
{
    struct job_spec spec = a_job("an id: with \"all\" \xc3\xa9\n");

    spec.queue = "a queue: %s %d";
    assert_int_equal(queue_push(redis, &spec, NULL), 1);
    assert_number("LLEN rq:queue:%s", spec.queue, 1);
    assert_string_equal(status_of(spec.id), "queued");
}

/* ---- later ---- */

static void schedules(void)
{
    struct job_spec spec = a_job("later");

    spec.delay_s = 100;
    spec.at_front = true;
    assert_int_equal(queue_push(redis, &spec, NULL), 1);
    assert_string_equal(status_of("later"), "scheduled");
    assert_in_range(number("ZSCORE rq:scheduled:q %s", "later"), clock_unix() + 95,
                    clock_unix() + 100);
    assert_number("EXISTS %s", "rq:queue:q", 0);
    assert_number("SISMEMBER rq:queues %s", "rq:queue:q", 1);
    assert_number("HEXISTS rq:job:%s enqueued_at", "later", 0);
    assert_string_equal(text("HGET rq:job:%s enqueue_at_front", "later"), "1");
}

/* A scheduler that was stopped for so long that another one leads now must not act. */
static void who_lost_the_lock_enqueues_nothing(void)
{
    struct job_spec spec = a_job("due");

    spec.delay_s = 100;
    assert_int_equal(queue_push(redis, &spec, NULL), 1);
    assert_int_equal(redis_call(redis, NULL, "ZADD rq:scheduled:q 1 due"), 0);
    assert_int_equal(queue_enqueue_due(redis, "q", "7"), 0);
    assert_int_equal(redis_call(redis, NULL, "SET rq:scheduler-lock:q 8"), 0);
    assert_int_equal(queue_enqueue_due(redis, "q", "7"), 0);
    assert_string_equal(status_of("due"), "scheduled");
    assert_int_equal(queue_enqueue_due(redis, "q", "8"), 1);
    assert_string_equal(status_of("due"), "queued");
    assert_int_equal(redis_call(redis, NULL, "ZADD rq:scheduled:q 1 due"), 0);
    assert_int_equal(queue_enqueue_due(redis, "q", NULL), 1);
}

static void defers_until_its_dependencies_end(void)
{
    const char *const on[] = { "one", "gone", "two" };
    struct job_spec spec = a_job("one");

    queue_push(redis, &spec, NULL);
    spec.id = "two";
    queue_push(redis, &spec, NULL);
    set_status("two", "finished");
    spec.id = "after";
    spec.depends_on = on;
    spec.depends_on_count = 3;
    assert_int_equal(queue_push(redis, &spec, NULL), 1);
    assert_string_equal(status_of("after"), "deferred");
    assert_string_equal(text("ZSCORE rq:deferred:q %s", "after"), "inf");
    assert_number("SISMEMBER rq:job:%s:dependents after", "one", 1);
    assert_number("SCARD rq:job::%s:dependencies", "after", 3);
    assert_string_equal(text("HGET rq:job:%s dependency_ids", "after"),
                        "[\"one\", \"gone\", \"two\"]");
    assert_string_equal(text("HGET rq:job:%s dependency_id", "after"), "one");

    set_status("one", "failed");
    spec.id = "anyway";
    spec.may_depend_on_failed = true;
    assert_int_equal(queue_push(redis, &spec, NULL), 1);
    assert_string_equal(status_of("anyway"), "queued");
    assert_string_equal(text("HGET rq:job:%s allow_dependency_failures", "anyway"), "1");
}

/* ---- many ---- */

static struct job_spec *many_jobs(size_t count)
{
    struct job_spec *specs = arena_array(task_arena(), count, sizeof(*specs));

    for (size_t i = 0; i < count; i++)
        specs[i] = a_job(arena_printf(task_arena(), "job-%zu", i));
    return specs;
}

static void pushes_a_thousand_in_one_round_trip(void)
{
    struct job_spec *specs = many_jobs(MANY);
    struct job_pushed *jobs = arena_array(task_arena(), MANY, sizeof(*jobs));
    struct job_spec first = a_job("job-7");

    queue_push(redis, &first, NULL); /* the script is known from here on */
    redis_call(redis, NULL, "CONFIG RESETSTAT");
    uint64_t begin = clock_us();
    assert_int_equal(queue_push_many(redis, specs, MANY, jobs), MANY - 1);
    print_message("%d jobs in %.1f ms\n", MANY, (double)(clock_us() - begin) / 1000.0);
    const char *stats = text("INFO %s", "commandstats");
    assert_non_null(strstr(stats, "cmdstat_evalsha:calls=1,"));
    assert_null(strstr(stats, "cmdstat_eval:"));
    for (size_t i = 0; i < MANY; i++) {
        assert_string_equal(jobs[i].id, specs[i].id);
        assert_int_equal(jobs[i].is_new, i != 7);
    }
    assert_number("LLEN %s", "rq:queue:q", MANY);
    assert_string_equal(text("LINDEX %s 1", "rq:queue:q"), "job-0");
    assert_string_equal(text("LINDEX %s -1", "rq:queue:q"), "job-999");
}

static void pushes_more_in_several_steps(void)
{
    size_t count = 2 * MANY + 1;

    assert_int_equal(queue_push_many(redis, many_jobs(count), count, NULL), count);
    assert_number("LLEN %s", "rq:queue:q", (long long)count);
    assert_int_equal(queue_push_many(redis, NULL, 0, NULL), 0);
}

/* The last of them cannot be pushed: its queue is no list. */
static void pushes_all_or_none(void)
{
    struct job_spec *specs = many_jobs(10);
    struct job_pushed jobs[10];

    redis_call(redis, NULL, "SET rq:queue:broken x");
    specs[9].queue = "broken";
    assert_int_equal(queue_push_many(redis, specs, 10, jobs), -EPROTO);
    assert_number("EXISTS %s", "rq:queue:q", 0);
    assert_number("EXISTS rq:job:%s", "job-0", 0);
    assert_string_equal(jobs[9].id, "job-9");

    specs[9].queue = "q";
    assert_int_equal(queue_push_many(redis, specs, 10, jobs), 10);
}

/* The caller that got no answer asks again: under the same ids, nothing doubles. */
static void may_be_asked_again(void)
{
    struct job_spec *specs = many_jobs(3);
    struct job_pushed jobs[3];

    specs[1].id = NULL;
    assert_int_equal(queue_push_many(redis, specs, 3, jobs), 3);
    for (size_t i = 0; i < 3; i++)
        specs[i].id = jobs[i].id;
    assert_int_equal(queue_push_many(redis, specs, 3, jobs), 0);
    assert_number("LLEN %s", "rq:queue:q", 3);
}

/* ---- once ---- */

static void one_of_a_key_waits(void)
{
    push_unique("a", "k", false, 1);
    assert_string_equal(push_unique("b", "k", false, 0), "a");
    assert_number("EXISTS rq:job:%s", "b", 0);
    assert_number("LLEN %s", "rq:queue:q", 1);
    assert_string_equal(push_unique("c", "other", false, 1), "c");
    /* The same id again is that very job. */
    assert_string_equal(push_unique("a", "k", false, 0), "a");
    assert_in_range(number("TTL fm:unique:%s", "k"), 6 * 86400, 7 * 86400);
}

static void a_started_job_frees_its_key(void)
{
    push_unique("a", "k", false, 1);
    start_job("a");
    assert_string_equal(push_unique("b", "k", false, 1), "b");
    assert_string_equal(push_unique("c", "k", false, 0), "b");
}

static void a_key_may_be_kept_while_it_runs(void)
{
    push_unique("a", "k", true, 1);
    start_job("a");
    assert_string_equal(push_unique("b", "k", true, 0), "a");
    end_job("a", "finished");
    assert_string_equal(push_unique("b", "k", true, 1), "b");
}

/* As RQ 2 marks what it runs: the registry's member is "id:execution" there. */
static void a_python_worker_keeps_it_too(void)
{
    push_unique("a", "k", true, 1);
    set_status("a", "started");
    redis_call(redis, NULL, "LREM rq:queue:q 0 a");
    redis_call(redis, NULL, "ZADD rq:executions:a 9999999999 e");
    assert_string_equal(push_unique("b", "k", true, 0), "a");
}

static void a_job_between_two_attempts_waits(void)
{
    push_unique("a", "k", false, 1);
    redis_call(redis, NULL, "LREM rq:queue:q 0 a");
    set_status("a", "scheduled");
    redis_call(redis, NULL, "ZADD rq:scheduled:q 9999999999 a");
    assert_string_equal(push_unique("b", "k", false, 0), "a");
}

static void every_end_frees_the_key(void)
{
    static const char *const ends[] = { "finished", "failed", "stopped", "canceled" };

    for (size_t i = 0; i < 4; i++) {
        const char *id = arena_printf(task_arena(), "job-%zu", i);
        push_unique(id, "k", true, 1);
        start_job(id);
        end_job(id, ends[i]);
    }
    push_unique("deleted", "k", true, 1);
    redis_call(redis, NULL, "DEL rq:job:deleted");
    push_unique("emptied", "k", true, 1);
    assert_int_equal(queue_empty(redis, "q"), 2); /* one id without a job */
    push_unique("canceled", "k", true, 1);
    assert_int_equal(queue_mark_canceled(redis, "q", "canceled"), 1);
    /* By hand: the status still says `queued`. */
    push_unique("removed", "k", true, 1);
    redis_call(redis, NULL, "LREM rq:queue:q 0 removed");
    push_unique("last", "k", true, 1);
}

static void keys_are_kept_within_one_call_too(void)
{
    struct job_spec *specs = many_jobs(4);
    struct job_pushed jobs[4];

    specs[1].unique_key = specs[2].unique_key = "k";
    assert_int_equal(queue_push_many(redis, specs, 4, jobs), 3);
    assert_true(jobs[1].is_new && !jobs[2].is_new && jobs[3].is_new);
    assert_string_equal(jobs[2].id, "job-1");
}

/* ---- what became of them ---- */

static void looks_up_what_became_of_jobs(void)
{
    const char *const ids[] = { "waits", "none" };
    struct job_spec spec = a_job("waits");
    struct job_state states[2];
    struct job_state state;

    queue_push(redis, &spec, NULL);
    assert_int_equal(job_states(redis, ids, 2, true, states), 1);
    assert_true(states[0].exists && !states[1].exists);
    assert_string_equal(states[0].status, "queued");
    assert_string_equal(states[0].queue, "q");
    assert_string_equal(states[0].description, "mod.func()");
    assert_int_equal(states[0].timeout_s, 180);
    assert_true(clock_unix_us() - states[0].enqueued_us < 60000000);
    assert_int_equal(states[0].started_us, 0);
    assert_string_equal(states[0].newest.what, "");
    assert_string_equal(states[1].status, "");
    assert_int_equal(job_state(redis, "none", &state), 0);
}

static void looks_up_results(void)
{
    struct rq_result *results;
    struct job_state state;
    struct job_spec spec = a_job("job");
    struct rq_args args = RQ_ARGS;

    queue_push(redis, &spec, NULL);
    rq_arg_error(&args, "Traceback ...\n  line\nValueError: no such thing\n");
    redis_call(redis, NULL, "XADD rq:results:job * type 2 exc_string %s", args.items[0]);
    redis_call(redis, NULL,
               "XADD rq:results:job * type 1 return_value gARLBy4= worker_name w "
               "execution_started_at 10.5 execution_ended_at 12.0");
    assert_int_equal(rq_results(redis, "job", 10, &results), 2);
    assert_string_equal(results[0].what, "finished");
    assert_string_equal(results[0].worker, "w");
    assert_true(results[0].took_s > 1.49 && results[0].took_s < 1.51);
    assert_int_equal(results[0].value->integer, 7);
    assert_null(results[0].error);
    assert_string_equal(results[1].what, "failed");
    assert_string_equal(job_error_line(results[1].error), "ValueError: no such thing");
    assert_true(results[1].took_s < 0);
    assert_string_equal(job_error_line(NULL), "");
    assert_string_equal(job_error_line("\n \n"), "");

    redis_call(redis, NULL, "XADD rq:results:job * type 1 return_value !!!");
    assert_int_equal(job_state(redis, "job", &state), 1);
    assert_non_null(state.newest.unreadable);
    assert_null(state.newest.value);
}

/* ---- the fixture: each check in a task, on an empty Redis ---- */

struct check {
    void (*run)(void);
};

static int open_server(void **state)
{
    (void)state;
    log_set_level(LOGL_ERROR);
    redis_server_start(&server, NULL);
    return 0;
}

static int close_server(void **state)
{
    (void)state;
    redis_server_remove(&server);
    return 0;
}

static void run_check(void *arg)
{
    assert_int_equal(redis_call(redis, NULL, "FLUSHALL"), 0);
    ((struct check *)arg)->run();
}

static void check_ended(void *arg, enum task_outcome outcome)
{
    (void)arg;
    assert_int_equal(outcome, TASK_DONE);
    redis_free(redis);
}

static void in_a_task(void **state)
{
    task_runtime_init();
    json_init();
    redis = redis_new(&(struct redis_options){
        .url = server.url, .connect_timeout_ms = 5000, .timeout_ms = 5000 });
    task_spawn(&(struct task_spec){ .name = "check",
                                    .run = run_check,
                                    .arg = *state,
                                    .timeout_ms = 60000,
                                    .on_end = check_ended });
    task_run_loop();
    task_runtime_done();
}

#define CHECK(function)                                      \
    {                                                        \
        .name = #function, .test_func = in_a_task,           \
        .initial_state = &(struct check){ .run = function }, \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK(pushes_one_as_rq_would),
        CHECK(leaves_an_existing_job_alone),
        CHECK(takes_the_front),
        CHECK(forgets_what_waits_too_long),
        CHECK(takes_odd_names),
        CHECK(schedules),
        CHECK(who_lost_the_lock_enqueues_nothing),
        CHECK(defers_until_its_dependencies_end),
        CHECK(pushes_a_thousand_in_one_round_trip),
        CHECK(pushes_more_in_several_steps),
        CHECK(pushes_all_or_none),
        CHECK(may_be_asked_again),
        CHECK(one_of_a_key_waits),
        CHECK(a_started_job_frees_its_key),
        CHECK(a_key_may_be_kept_while_it_runs),
        CHECK(a_python_worker_keeps_it_too),
        CHECK(a_job_between_two_attempts_waits),
        CHECK(every_end_frees_the_key),
        CHECK(keys_are_kept_within_one_call_too),
        CHECK(looks_up_what_became_of_jobs),
        CHECK(looks_up_results),
    };

    return cmocka_run_group_tests(tests, open_server, close_server);
}
