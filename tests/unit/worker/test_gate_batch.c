/*
 * test_gate_batch.c - many who ask at once: each gets its own answer, counted once, also
 * when those who lead or follow go away in the middle.
 */
#include "common/clock.h"
#include "common/log.h"
#include "common/task.h"
#include "tests/unit/redis_server.h"
#include "tests/unit/testing.h"
#include "worker/gate.h"

#define ASKERS 150 /* more than a batch holds */

static struct redis_server server;
static struct redis *redis;
static struct limit limit; /* 40 an hour */
static const struct route route = { .method = METHOD_GET, .pattern = "/list" };

static struct asker {
    struct token token;
    struct gate_answer answer;
    struct task *task;
    int rc, ended;
    enum task_outcome outcome;
} askers[ASKERS];
static int left;

static void ask(void *arg)
{
    struct asker *asker = arg;

    asker->rc = gate_ask_user(redis, &asker->token, &limit, &route, &asker->answer);
    if (asker->rc == 0 && asker->answer.generation)
        assert_int_equal(strlen(asker->answer.generation), 16);
}

static void has_ended(void *arg, enum task_outcome outcome)
{
    struct asker *asker = arg;

    asker->outcome = outcome;
    asker->ended++;
    if (--left == 0)
        redis_free(redis);
}

static void spawn_all(int count, int users)
{
    memset(askers, 0, sizeof(askers));
    left = count;
    for (int i = 0; i < count; i++) {
        askers[i].rc = 1;
        token_make(&askers[i].token, TOKEN_ACCESS, 1 + i % users, "f", 3600);
        askers[i].task = task_spawn(&(struct task_spec){
            .name = "asker", .run = ask, .arg = &askers[i], .on_end = has_ended });
    }
}

static void begin(bool is_cluster)
{
    static char prefix[16];
    static int number;

    snprintf(prefix, sizeof(prefix), "b%d:", number++); /* counters of its own */
    task_runtime_init();
    redis = redis_new(&(struct redis_options){
        .url = server.url, .connect_timeout_ms = 2000, .timeout_ms = 2000 });
    gate_init(prefix, 0, is_cluster);
    assert_true(limit_parse("40/1h", &limit));
}

static void run(void)
{
    task_run_loop();
    task_runtime_done();
}

static int passed(int user, int users, int count)
{
    int passes = 0;

    for (int i = user - 1; i < count; i += users)
        passes += askers[i].rc == 0 && askers[i].answer.wait == 0;
    return passes;
}

/* As many of each user pass as one after the other would, and each is told the truth. */
static void each_is_counted_once(void **state)
{
    (void)state;
    for (int is_cluster = 0; is_cluster < 2; is_cluster++) {
        begin(is_cluster);
        spawn_all(ASKERS, 3);
        run();
        for (int user = 1; user <= 3; user++) {
            bool was_told[40] = { false };

            assert_int_equal(passed(user, 3, ASKERS), 40);
            for (int i = user - 1; i < ASKERS; i += 3) {
                const struct gate_answer *answer = &askers[i].answer;

                assert_int_equal(askers[i].rc, 0);
                assert_int_equal(answer->token, GATE_UNKNOWN);
                assert_non_null(answer->window);
                assert_in_range(answer->left, 0, 39);
                if (answer->wait > 0)
                    continue;
                assert_false(was_told[answer->left]);
                was_told[answer->left] = true;
            }
        }
    }
}

/* Ends the leader and one who follows after so many turns of the loop. */
static void cancel_some(void *arg)
{
    for (int turns = *(int *)arg; turns > 0; turns--)
        task_pause();
    for (int i = 0; i <= 5; i += 5)
        if (!askers[i].ended)
            task_cancel(askers[i].task);
}

static void who_goes_takes_nobody_along(void **state)
{
    (void)state;
    for (int turns = 0; turns < 6; turns++) {
        begin(false);
        spawn_all(50, 50);
        task_spawn(
            &(struct task_spec){ .name = "cancel", .run = cancel_some, .arg = &turns });
        run();
        for (int i = 0; i < 50; i++) {
            assert_int_equal(askers[i].ended, 1);
            if (i == 0 || i == 5)
                continue;
            assert_int_equal(askers[i].outcome, TASK_DONE);
            assert_int_equal(askers[i].rc, 0);
            /* Asked anew under another leader, it may count twice; never not at all. */
            assert_in_range(askers[i].answer.left, 38, 39);
        }
    }
}

static void nobody_waits_for_a_redis_that_is_not_there(void **state)
{
    (void)state;
    begin(false);
    redis_free(redis);
    redis = redis_new(&(struct redis_options){ .url = "unix:///nowhere/redis.sock",
                                               .connect_timeout_ms = 200,
                                               .timeout_ms = 200,
                                               .breaker_ms = 1000 });
    spawn_all(20, 20);
    run();
    for (int i = 0; i < 20; i++) {
        assert_true(askers[i].rc < 0);
        assert_int_equal(askers[i].outcome, TASK_DONE);
    }
}

static int start(void **state)
{
    (void)state;
    log_set_level(LOGL_ERROR);
    redis_server_start(&server, NULL);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    redis_server_remove(&server);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_is_counted_once),
        cmocka_unit_test(who_goes_takes_nobody_along),
        cmocka_unit_test(nobody_waits_for_a_redis_that_is_not_there),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
