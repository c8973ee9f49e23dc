/*
 * test_redis.c - the Redis client against a real server: calls, batches, scripts,
 * pipelining, deadlines, a stopped, killed or forgetful server.
 */
#include "common/arena.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/redis.h"
#include "common/task.h"
#include "tests/unit/redis_server.h"
#include "tests/unit/testing.h"

static struct redis_server server;
static struct redis *redis;

static struct redis *connect_with(uint64_t timeout_ms, uint64_t breaker_ms)
{
    return redis_new(&(struct redis_options){ .url = server.url,
                                              .connect_timeout_ms = 2000,
                                              .timeout_ms = timeout_ms,
                                              .breaker_ms = breaker_ms,
                                              .client_name = "test one" });
}

static int start_server(void **state)
{
    (void)state;
    log_set_level(LOGL_ERROR);
    redis_server_start(&server, NULL);
    return 0;
}

static int stop_server(void **state)
{
    (void)state;
    redis_server_remove(&server);
    return 0;
}

static int setup(void **state)
{
    (void)state;
    task_runtime_init();
    redis = connect_with(1000, 300);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    task_runtime_done();
    return 0;
}

static void free_and_stop(void *arg, enum task_outcome outcome)
{
    (void)arg;
    assert_int_equal(outcome, TASK_DONE);
    redis_free(redis);
}

static void run_task(void (*run)(void *arg))
{
    task_spawn(
        &(struct task_spec){ .name = "test", .run = run, .on_end = free_and_stop });
    task_run_loop();
}

static pid_t stopped; /* for a server that is continued by a task */

/* ---- calls ---- */

static void call_and_read(void *arg)
{
    redisReply *reply;

    (void)arg;
    assert_false(redis_is_up(redis));
    assert_int_equal(redis_call(redis, &reply, "SET %s %b", "k", "a\0b", (size_t)3), 0);
    assert_string_equal(reply->str, "OK");
    assert_true(redis_is_up(redis));
    assert_int_equal(redis_call(redis, &reply, "GET k"), 0);
    assert_int_equal(reply->len, 3);
    assert_memory_equal(reply->str, "a\0b", 3);
    assert_int_equal(redis_call(redis, &reply, "CLIENT GETNAME"), 0);
    assert_string_equal(reply->str, "test-one");
    assert_int_equal(redis_call(redis, &reply, "GET nothing"), 0);
    assert_int_equal(reply->type, REDIS_REPLY_NIL);
    assert_int_equal(redis_call(redis, NULL, "DEL k"), 0);
}

static void a_call_brings_its_reply(void **state)
{
    (void)state;
    run_task(call_and_read);
}

static void call_wrongly(void *arg)
{
    redisReply *reply = NULL;

    (void)arg;
    assert_int_equal(redis_call(redis, &reply, "GET"), -EPROTO);
    assert_int_equal(reply->type, REDIS_REPLY_ERROR);
    assert_memory_equal(reply->str, "ERR wrong number", 16);
    assert_int_equal(redis_call(redis, NULL, "NOSUCH"), -EPROTO);
    assert_int_equal(redis_call(redis, &reply, "PING"), 0);
}

static void an_error_reply_is_an_error(void **state)
{
    (void)state;
    run_task(call_wrongly);
}

#define BIG ((size_t)20 * 1024 * 1024)

static void send_and_get_much(void *arg)
{
    char *big = malloc(BIG);
    const char *argv[] = { "SET", "big", big };
    const size_t lengths[] = { 3, 3, BIG };
    redisReply *reply;

    (void)arg;
    arena_defer(task_arena(), free, big);
    for (size_t i = 0; i < BIG; i++)
        big[i] = (char)(i * 7 + i / 251);
    assert_int_equal(redis_call_argv_timeout(redis, NULL, 20000, 3, argv, lengths), 0);
    argv[0] = "GET";
    assert_int_equal(redis_call_argv_timeout(redis, &reply, 20000, 2, argv, lengths), 0);
    assert_int_equal(reply->len, BIG);
    assert_memory_equal(reply->str, big, BIG);
    assert_int_equal(redis_call(redis, NULL, "DEL big"), 0);
}

static void large_values_go_both_ways(void **state)
{
    (void)state;
    run_task(send_and_get_much);
}

static void run_batch(void *arg)
{
    struct redis_batch *batch = redis_batch_new(redis);
    const char *argv[] = { "RPUSH", "l", "x", "" };
    redisReply **replies;
    size_t count = 0;

    (void)arg;
    redis_batch_add(batch, "SET n %d", 5);
    redis_batch_argv(batch, 4, argv, NULL);
    redis_batch_add(batch, "INCR l");
    redis_batch_add(batch, "INCR n");
    assert_int_equal(redis_batch_run(batch, &replies, &count), 0);
    assert_int_equal(count, 4);
    assert_int_equal(replies[1]->integer, 2);
    assert_int_equal(replies[2]->type, REDIS_REPLY_ERROR);
    assert_int_equal(replies[3]->integer, 6);
    assert_int_equal(redis_call(redis, NULL, "DEL n l"), 0);
}

static void a_batch_is_answered_in_order(void **state)
{
    (void)state;
    run_task(run_batch);
}

static void run_script(void *arg)
{
    struct redis_script script;
    const char *keys[] = { "sk" }, *args[] = { "3", "4" };
    redisReply *reply;

    (void)arg;
    redis_script_init(&script, "add",
                      "redis.call('SET', KEYS[1], 'v')\n"
                      "return {ARGV[1] + ARGV[2], KEYS[1]}");
    for (int round = 0; round < 3; round++) {
        assert_int_equal(redis_run_script(redis, &script, &reply, 1, keys, 2, args, NULL),
                         0);
        assert_int_equal(reply->element[0]->integer, 7);
        assert_string_equal(reply->element[1]->str, "sk");
        if (round == 1)
            assert_int_equal(redis_call(redis, NULL, "SCRIPT FLUSH"), 0);
    }
    redis_script_init(&script, "bad", "return redis.error_reply('ERR no luck')");
    assert_int_equal(redis_run_script(redis, &script, &reply, 0, NULL, 0, NULL, NULL),
                     -EPROTO);
    assert_string_equal(reply->str, "ERR no luck");
    assert_int_equal(redis_call(redis, NULL, "DEL sk"), 0);
}

static void a_script_survives_a_flush(void **state)
{
    (void)state;
    run_task(run_script);
}

/* ---- many tasks ---- */

#define TASKS 100
#define CALLS 100

static int tasks_left;
static bool seen[TASKS * CALLS + 1];

static void count_up(void *arg)
{
    redisReply *reply;
    long long last = 0;

    (void)arg;
    for (int i = 0; i < CALLS; i++) {
        assert_int_equal(redis_call(redis, &reply, "INCR counter"), 0);
        assert_true(reply->integer > last && !seen[reply->integer]);
        last = reply->integer;
        seen[last] = true;
    }
    if (--tasks_left == 0) {
        assert_int_equal(redis_call(redis, &reply, "INFO stats"), 0);
        assert_int_equal(last, TASKS * CALLS);
        assert_int_equal(redis_call(redis, NULL, "DEL counter"), 0);
        redis_free(redis);
    }
}

static void many_tasks_share_the_connection(void **state)
{
    (void)state;
    tasks_left = TASKS;
    for (int i = 0; i < TASKS; i++)
        task_spawn(&(struct task_spec){ .name = "count", .run = count_up });
    task_run_loop();
    assert_int_equal(tasks_left, 0);
}

static void wait_long(void *arg)
{
    const char *argv[] = { "BLPOP", "never", "0" };

    (void)arg;
    redis_call_argv_timeout(redis, NULL, 400, 3, argv, NULL);
    fail_msg("a cancelled task came back");
}

static void ask_echo(void *arg)
{
    redisReply *reply;

    assert_int_equal(redis_call(redis, &reply, "ECHO %s", (const char *)arg), 0);
    assert_string_equal(reply->str, arg);
}

static void cancel_in_the_middle(void *arg)
{
    struct task *victims[3];
    redisReply *reply;

    (void)arg;
    assert_int_equal(redis_call(redis, NULL, "PING"), 0);
    for (int i = 0; i < 3; i++) {
        victims[i] = task_spawn(&(struct task_spec){
            .name = "victim", .run = ask_echo, .arg = "a lost one" });
        task_spawn(
            &(struct task_spec){ .name = "other", .run = ask_echo, .arg = "mine" });
    }
    task_pause(); /* all six have sent; nothing was read yet */
    for (int i = 0; i < 3; i++)
        task_cancel(victims[i]);
    assert_int_equal(redis_call(redis, &reply, "ECHO end"), 0);
    assert_string_equal(reply->str, "end");
}

static void a_cancelled_tasks_reply_is_thrown_away(void **state)
{
    (void)state;
    run_task(cancel_in_the_middle);
}

static void ask_without_memory(void *arg)
{
    struct arena *arena = task_arena();
    redisReply *reply;

    (void)arg;
    arena_alloc(arena, arena_cap(arena) - arena_used(arena));
    redis_call(redis, &reply, "ECHO %s", "somebody else's");
    fail_msg("a task without memory came back");
}

static void has_no_memory(void *arg, enum task_outcome outcome)
{
    assert_int_equal(outcome, TASK_ARENA_FULL);
    arena_free(arg);
}

static void ask_after_one_without_memory(void *arg)
{
    struct arena *arena = arena_new(4096);

    (void)arg;
    assert_int_equal(redis_call(redis, NULL, "PING"), 0);
    task_spawn(&(struct task_spec){ .name = "victim",
                                    .run = ask_without_memory,
                                    .arg = arena,
                                    .arena = arena,
                                    .on_end = has_no_memory });
    task_spawn(&(struct task_spec){ .name = "other", .run = ask_echo, .arg = "mine" });
    task_pause();
    ask_echo("mine, too");
    assert_true(redis_is_up(redis));
}

/* What it sent is answered: nobody else may get that answer. */
static void a_task_that_ends_when_it_has_sent_shifts_no_replies(void **state)
{
    (void)state;
    run_task(ask_after_one_without_memory);
}

/* ---- a server in trouble ---- */

static uint64_t timed(int *ret_rc)
{
    uint64_t before = clock_ms();

    *ret_rc = redis_call(redis, NULL, "PING");
    return clock_ms() - before;
}

/* Waits until calls work again; returns how long that took. */
static uint64_t until_it_works(uint64_t give_up_ms)
{
    uint64_t before = clock_ms();

    while (redis_call(redis, NULL, "PING") != 0) {
        assert_true(clock_ms() - before < give_up_ms);
        task_sleep(10);
    }
    return clock_ms() - before;
}

static int bystander_rc;

static void stand_by(void *arg)
{
    (void)arg;
    task_sleep(200);
    bystander_rc = redis_call(redis, NULL, "PING");
}

static void meet_stopped_server(void *arg)
{
    int rc;

    (void)arg;
    assert_int_equal(redis_call(redis, NULL, "PING"), 0);
    kill(server.pid, SIGSTOP);
    task_spawn(&(struct task_spec){ .name = "bystander", .run = stand_by });
    uint64_t took = timed(&rc);
    assert_int_equal(rc, -ETIMEDOUT);
    assert_in_range(took, 990, 1200);
    assert_false(redis_is_up(redis));
    for (int i = 0; i < 20; i++) {
        /* Neither the breaker's time nor the connecting after it costs anybody. */
        assert_true(timed(&rc) < 20);
        assert_int_equal(rc, -EAGAIN);
        task_sleep(50);
    }
    assert_int_equal(bystander_rc, -ECONNRESET);
    kill(server.pid, SIGCONT);
    until_it_works(2000);
    assert_true(redis_is_up(redis));
}

static void a_stopped_server_costs_one_timeout(void **state)
{
    (void)state;
    bystander_rc = 0;
    run_task(meet_stopped_server);
}

static void first_meet_stopped_server(void *arg)
{
    int rc;

    (void)arg;
    kill(server.pid, SIGSTOP);
    uint64_t took = timed(&rc);
    assert_int_equal(rc, -EAGAIN);
    assert_in_range(took, 990, 1200);
    assert_true(timed(&rc) < 20);
    assert_int_equal(rc, -EAGAIN);
    kill(server.pid, SIGCONT);
    until_it_works(2000);
}

static void connecting_to_a_stopped_server_costs_one_timeout(void **state)
{
    (void)state;
    run_task(first_meet_stopped_server);
}

static void lose_server(void *arg)
{
    int rc;

    (void)arg;
    assert_int_equal(redis_call(redis, NULL, "SET here yes"), 0);
    redis_server_stop(&server);
    timed(&rc);
    assert_true(rc == -ECONNRESET || rc == -EAGAIN);
    task_sleep(100);
    assert_true(timed(&rc) < 20);
    assert_int_equal(rc, -EAGAIN);
    redis_server_start(&server, NULL);
    assert_true(until_it_works(3000) < 1500);
}

static void a_killed_server_is_found_again(void **state)
{
    (void)state;
    run_task(lose_server);
}

static void be_thrown_out(void *arg)
{
    int rc;

    (void)arg;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(redis_call(redis, NULL, "CLIENT KILL TYPE normal SKIPME no"), 0);
        /* The end of the connection may be seen before or after this was sent. */
        timed(&rc);
        assert_true(rc == 0 || rc == -ECONNRESET);
        timed(&rc);
        assert_int_equal(rc, 0);
    }
}

static void a_closed_connection_is_opened_again_at_once(void **state)
{
    (void)state;
    run_task(be_thrown_out);
}

static void continue_server(void *arg)
{
    (void)arg;
    task_sleep(600);
    kill(stopped, SIGCONT);
}

static void wait_without_breaker(void *arg)
{
    redisReply *reply;

    (void)arg;
    redis_free(redis);
    redis = connect_with(3000, 0);
    stopped = server.pid;
    kill(stopped, SIGSTOP);
    task_spawn(&(struct task_spec){ .name = "continue", .run = continue_server });
    assert_int_equal(redis_call(redis, &reply, "ECHO patient"), 0);
    assert_string_equal(reply->str, "patient");
}

static void without_a_breaker_calls_wait(void **state)
{
    (void)state;
    run_task(wait_without_breaker);
}

static void block_and_be_cancelled(void *arg)
{
    int rc;

    (void)arg;
    assert_int_equal(redis_call(redis, NULL, "PING"), 0);
    struct task *victim =
        task_spawn(&(struct task_spec){ .name = "victim", .run = wait_long });
    task_pause();
    task_cancel(victim);
    /* The connection is held by BLPOP: its time passes, nobody is left to be told. */
    timed(&rc);
    assert_int_equal(rc, -ECONNRESET);
    until_it_works(2000);
}

static void an_abandoned_call_still_has_its_timeout(void **state)
{
    (void)state;
    run_task(block_and_be_cancelled);
}

static void be_busy(void *arg)
{
    uint64_t before = clock_ms();

    (void)arg;
    while (clock_ms() - before < 1300)
        continue;
}

static void be_held_up(void *arg)
{
    int rc;

    (void)arg;
    assert_int_equal(redis_call(redis, NULL, "PING"), 0);
    task_spawn(&(struct task_spec){ .name = "busy", .run = be_busy });
    timed(&rc);
    assert_int_equal(rc, 0);
    assert_true(redis_is_up(redis));
}

static void a_process_held_up_does_not_blame_the_server(void **state)
{
    (void)state;
    run_task(be_held_up);
}

static void a_wrong_url_makes_no_client(void **state)
{
    (void)state;
    assert_null(redis_new(&(struct redis_options){ .url = "http://localhost" }));
    redis_free(redis);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(a_call_brings_its_reply),
        TEST(an_error_reply_is_an_error),
        TEST(large_values_go_both_ways),
        TEST(a_batch_is_answered_in_order),
        TEST(a_script_survives_a_flush),
        TEST(many_tasks_share_the_connection),
        TEST(a_cancelled_tasks_reply_is_thrown_away),
        TEST(a_task_that_ends_when_it_has_sent_shifts_no_replies),
        TEST(a_stopped_server_costs_one_timeout),
        TEST(connecting_to_a_stopped_server_costs_one_timeout),
        TEST(a_killed_server_is_found_again),
        TEST(a_closed_connection_is_opened_again_at_once),
        TEST(without_a_breaker_calls_wait),
        TEST(an_abandoned_call_still_has_its_timeout),
        TEST(a_process_held_up_does_not_blame_the_server),
        TEST(a_wrong_url_makes_no_client),
    };

    return cmocka_run_group_tests(tests, start_server, stop_server);
}
