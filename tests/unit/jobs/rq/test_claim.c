/* Claims and ends in a real Redis, each told twice as after an answer that got lost. */
#include "common/arena.h"
#include "common/json.h"
#include "common/log.h"
#include "common/task.h"
#include "jobs/rq/claim.h"
#include "jobs/rq/queue.h"
#include "tests/unit/redis_server.h"
#include "tests/unit/testing.h"
#include <stdio.h>

#define FIRST  "11111111111111111111111111111111"
#define SECOND "22222222222222222222222222222222"
#define THIRD  "33333333333333333333333333333333"

static struct redis_server server;
static struct redis *redis;
static struct options options;
static struct rq_worker worker;

/* ---- what Redis holds ---- */

static const char *text(const char *format, const char *key)
{
    redisReply *reply;

    assert_int_equal(redis_call(redis, &reply, format, key), 0);
    if (reply->type == REDIS_REPLY_INTEGER)
        return arena_printf(task_arena(), "%lld", reply->integer);
    return reply->str ? reply->str : "";
}

static const char *status_of(const char *id)
{
    return text("HGET rq:job:%s status", id);
}

static const char *record(const char *field)
{
    return text(arena_printf(task_arena(), "HGET rq:worker:%s %%s", worker.name), field);
}

static void push(const char *id)
{
    struct job_spec spec = { .id = id,
                             .queue = "q",
                             .function = "mod.func",
                             .result_ttl_s = JOB_TTL_DEFAULT,
                             .failure_ttl_s = JOB_TTL_DEFAULT };

    assert_int_equal(queue_push(redis, &spec, NULL), 1);
}

static struct claimed_job *claim(const char *execution, const char *wanted)
{
    struct claimed_job *job = NULL;

    assert_int_equal(job_claim(&worker, execution, &job), CLAIM_JOB);
    assert_string_equal(job->id, wanted);
    assert_string_equal(job->queue, "q");
    return job;
}

/* The next job's id; NULL: none. */
static const char *finish(const struct claimed_job *job, enum job_end_kind kind,
                          const char *next_execution, bool is_lost)
{
    struct job_end end = { .kind = kind, .error = "Error: x", .worked_s = 1 };
    struct claimed_job *next = NULL;
    bool was_lost = !is_lost;
    int claimed;

    assert_int_equal(
        job_finish(&worker, job, &end, next_execution, &was_lost, &claimed, &next), 0);
    assert_int_equal(was_lost, is_lost);
    assert_int_equal(claimed, next ? CLAIM_JOB : CLAIM_EMPTY);
    const char *id = next ? arena_strdup(task_arena(), next->id) : NULL;
    claimed_job_free(next);
    return id;
}

/* ---- the checks ---- */

static void a_claim_asked_twice_gives_the_same_job(void)
{
    push("a");
    push("b");
    claimed_job_free(claim(FIRST, "a"));
    claimed_job_free(claim(FIRST, "a"));
    assert_string_equal(text("LLEN %s", "rq:queue:q"), "1");
    assert_string_equal(text("ZCARD %s", "rq:executions:a"), "1");
    assert_string_equal(record("current_job"), "a");
}

static void an_end_told_twice_is_one(void)
{
    push("a");
    struct claimed_job *job = claim(FIRST, "a");
    assert_null(finish(job, JOB_END_SUCCESS, NULL, false));
    assert_null(finish(job, JOB_END_SUCCESS, NULL, true));
    claimed_job_free(job);
    assert_string_equal(status_of("a"), "finished");
    assert_string_equal(text("XLEN %s", "rq:results:a"), "1");
    assert_string_equal(record("successful_job_count"), "1");
    assert_string_equal(record("state"), "idle");
    assert_string_equal(record("current_job"), "");
}

static void an_end_with_a_claim_told_twice_gives_the_same_next_job(void)
{
    push("a");
    push("b");
    push("c");
    struct claimed_job *job = claim(FIRST, "a");
    assert_string_equal(finish(job, JOB_END_FINAL, SECOND, false), "b");
    assert_string_equal(finish(job, JOB_END_FINAL, SECOND, true), "b");
    claimed_job_free(job);
    assert_string_equal(status_of("a"), "failed");
    assert_string_equal(status_of("c"), "queued");
    assert_string_equal(text("XLEN %s", "rq:results:a"), "1");
    assert_string_equal(record("failed_job_count"), "1");
    assert_string_equal(record("current_job"), "b");
    job = claim(SECOND, "b");
    assert_string_equal(finish(job, JOB_END_SUCCESS, THIRD, false), "c");
    claimed_job_free(job);
}

static void who_left_gets_nothing(void)
{
    struct claimed_job *job = NULL;

    push("a");
    assert_int_equal(worker_bury(&worker, FIRST), 0);
    assert_int_equal(job_claim(&worker, FIRST, &job), CLAIM_UNREGISTERED);
    assert_string_equal(status_of("a"), "queued");
}

/* Held in the books of a worker that leaves: `next` is the execution it would claim. */
static void leave_with(const char *id, const char *next, bool redeliver)
{
    push(id);
    claimed_job_free(claim(FIRST, id));
    options.jobs.redeliver = redeliver;
    assert_int_equal(worker_bury(&worker, next), 0);
    assert_string_equal(text("ZCARD %s", "rq:wip:q"), "0");
    assert_string_equal(text("EXISTS rq:executions:%s", id), "0");
    assert_int_equal(worker_register(&worker), 0);
}

static void what_a_leaving_worker_holds_is_given_back(void)
{
    leave_with("ran", SECOND, true);
    assert_string_equal(status_of("ran"), "queued");
}

static void without_redelivery_it_fails_unless_it_never_ran(void)
{
    leave_with("ran", SECOND, false);
    assert_string_equal(status_of("ran"), "failed");
    leave_with("did-not", FIRST, false);
    assert_string_equal(status_of("did-not"), "queued");
    assert_string_equal(text("LINDEX %s 0", "rq:queue:q"), "did-not");
}

/* ---- running them ---- */

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
    static char name[] = "q";
    static char *names[] = { name };
    static const struct conf_list queues = { .items = names, .count = 1 };

    assert_int_equal(redis_call(redis, NULL, "FLUSHALL"), 0);
    options = (struct options){ .jobs = { .heartbeat = 30000,
                                          .result_ttl = 500,
                                          .failure_ttl = 1000,
                                          .redeliver = true } };
    worker_init(&worker, redis, &options, &queues);
    assert_int_equal(worker_register(&worker), 0);
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
        CHECK(a_claim_asked_twice_gives_the_same_job),
        CHECK(an_end_told_twice_is_one),
        CHECK(an_end_with_a_claim_told_twice_gives_the_same_next_job),
        CHECK(who_left_gets_nothing),
        CHECK(what_a_leaving_worker_holds_is_given_back),
        CHECK(without_redelivery_it_fails_unless_it_never_ran),
    };

    return cmocka_run_group_tests(tests, open_server, close_server);
}
