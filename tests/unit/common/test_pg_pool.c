/*
 * test_pg_pool.c - limits, turns, timeouts, and tasks that leave in the middle.
 */
#include "tests/unit/pg_testing.h"
#include <stdio.h>
#include <string.h>

static char story[256];
static int results[32];
static int most_open;

static void note_open(void)
{
    int open = stats_now().open;

    if (open > most_open)
        most_open = open;
}

static void one_query(void *arg)
{
    int *result = arg;

    *result = run_sql("SELECT pg_sleep(0.002)");
    note_open();
}

static void start_many(int count, void (*run)(void *))
{
    most_open = 0;
    for (int i = 0; i < count; i++) {
        results[i] = 1;
        start_task(run, &results[i], 0);
    }
    task_run_loop();
}

/* A rush of short queries is served by the base connections alone. */
static void test_base(void **state)
{
    (void)state;
    start_many(20, one_query);
    for (int i = 0; i < 20; i++)
        assert_int_equal(results[i], 0);
    assert_true(most_open <= 3);
    assert_int_equal(stats_now().idle, 2);
    assert_int_equal(stats_now().in_use, 0);
    assert_int_equal(stats_now().acquired, 20);
    assert_true(stats_now().waited >= 18);
    assert_true(become_sessions("state = 'idle'", 2));
}

static void slow_query(void *arg)
{
    int *result = arg;

    *result = run_sql("SELECT pg_sleep(0.15)");
    note_open();
}

/* Slow ones get the overflow connection, which closes afterwards. */
static void test_overflow(void **state)
{
    (void)state;
    uint64_t began = clock_ms();
    start_many(6, slow_query);
    for (int i = 0; i < 6; i++)
        assert_int_equal(results[i], 0);
    assert_int_equal(most_open, 3);
    assert_true(clock_ms() - began < 600); /* two rounds of three, not three of two */
    assert_int_equal(stats_now().open, 2);
    assert_true(become_sessions("true", 2));
}

static void tell_turn(void *arg)
{
    assert_int_equal(run_sql("SELECT pg_sleep(0.005)"), 0);
    strncat(story, arg, sizeof(story) - strlen(story) - 1);
}

static void test_turns(void **state)
{
    static char names[10][2];
    struct pg_options options = pool_options();

    (void)state;
    options.size = 1;
    options.overflow = 0;
    use_pool(&options);
    story[0] = '\0';
    for (int i = 0; i < 10; i++) {
        names[i][0] = (char)('a' + i);
        start_task(tell_turn, names[i], 0);
    }
    task_run_loop();
    assert_string_equal(story, "abcdefghij");
}

/* Who waits too long is told so; the others go on. */
static void test_acquire_timeout(void **state)
{
    struct pg_options options = pool_options();
    int failed = 0;

    (void)state;
    options.acquire_timeout_ms = 100;
    use_pool(&options);
    start_many(5, slow_query);
    for (int i = 0; i < 5; i++)
        failed += results[i] == -EAGAIN;
    assert_int_equal(failed, 2);
    assert_int_equal(stats_now().waiting, 0);
    start_many(1, one_query);
    assert_int_equal(results[0], 0);
}

/* ---- time is over ---- */

static void late_statement(void *arg)
{
    uint64_t began = clock_ms();
    int *result = arg;

    *result = run_sql("SELECT pg_sleep(60) /* late */");
    assert_true(clock_ms() - began < 1000);
    assert_int_equal(run_sql("SELECT 1"), 0);
}

static void test_statement_timeout(void **state)
{
    struct pg_options options = pool_options();

    (void)state;
    options.statement_timeout_ms = 100;
    use_pool(&options);
    start_many(1, late_statement);
    assert_int_equal(results[0], -ETIMEDOUT);
    /* It has ended on the server, not only here. */
    assert_true(become_sessions("query LIKE '%late%'", 0));
}

static void sleep_on_server(void *arg)
{
    (void)arg;
    run_sql("SELECT pg_sleep(60) /* left */");
    fail();
}

static void cancel_soon(void *arg)
{
    task_sleep(50);
    assert_int_equal(sessions("state = 'active'"), 1);
    task_cancel(arg);
}

/* Cancelled, and at its deadline: the statement ends on the server, the place is free. */
static void test_task_ends_in_query(void **state)
{
    (void)state;
    start_task(cancel_soon, start_task(sleep_on_server, NULL, 0), 0);
    task_run_loop();
    assert_int_equal(stats_now().open, 0);
    assert_true(become_sessions("true", 0));

    run_task(sleep_on_server, NULL, 60);
    assert_int_equal(outcome, TASK_DEADLINE);
    assert_int_equal(stats_now().open, 0);
    assert_true(become_sessions("true", 0));
    start_many(1, one_query);
    assert_int_equal(results[0], 0);
}

static void hold_100_ms(void *arg)
{
    struct pg_tx *tx;

    (void)arg;
    assert_int_equal(pg_begin(pg, &tx), 0);
    task_sleep(100);
    pg_rollback(tx);
}

static void want_one(void *arg)
{
    int *result = arg;

    *result = run_sql("SELECT 1");
}

/* The other task holds the connection from the rollback on, but has not run yet. */
static void hand_over_and_cancel(void *arg)
{
    struct pg_tx *tx;

    (void)arg;
    assert_int_equal(pg_begin(pg, &tx), 0);
    struct task *other = start_task(want_one, &results[0], 0);
    task_sleep(20);
    assert_int_equal(stats_now().waiting, 1);
    pg_rollback(tx);
    assert_int_equal(stats_now().waiting, 0);
    assert_int_equal(stats_now().in_use, 1);
    task_cancel(other);
}

/* Tasks that end while they wait for a connection: before and after one was given. */
static void test_task_ends_in_queue(void **state)
{
    struct pg_options options = pool_options();

    (void)state;
    options.size = 1;
    options.overflow = 0;
    use_pool(&options);
    results[0] = 1;
    start_task(hold_100_ms, NULL, 0);
    start_task(want_one, &results[0], 30);
    task_run_loop();
    assert_int_equal(results[0], 1);
    assert_int_equal(stats_now().idle, 1);

    run_task(hand_over_and_cancel, NULL, 0);
    assert_int_equal(results[0], 1);
    assert_int_equal(stats_now().in_use, 0);
    assert_int_equal(stats_now().idle, 1);
}

/* ---- upkeep ---- */

static void test_recycle(void **state)
{
    struct pg_options options = pool_options();
    char first[16];

    (void)state;
    options.recycle_ms = 100;
    use_pool(&options);
    start_many(1, one_query);
    snprintf(first, sizeof(first), "%s",
             ask("SELECT max(pid) FROM pg_stat_activity WHERE "
                 "application_name = 'forkmark test'"));
    task_spawn(&(struct task_spec){ .name = "x", .run = one_query, .arg = &results[0] });
    nanosleep(&(struct timespec){ .tv_nsec = 120000000 }, NULL);
    task_run_loop();
    assert_int_equal(results[0], 0);
    assert_string_not_equal(first, ask("SELECT max(pid) FROM pg_stat_activity WHERE "
                                       "application_name = 'forkmark test'"));
    assert_int_equal(stats_now().open, 1);
}

static void ping(void *arg)
{
    int *result = arg;

    *result = pg_ping(pg, 500);
}

static void test_ping(void **state)
{
    (void)state;
    start_many(1, ping);
    assert_int_equal(results[0], 0);
}

/* A name, resolved in the thread pool; nothing listens there. */
static void test_host_names(void **state)
{
    static const struct {
        const char *url;
    } urls[] = {
        { "postgresql://x@localhost:1/x" },
        { "postgresql://x@localhost:1,127.0.0.1:1/x" },
        { "postgresql://x@no-such-host.invalid/x" },
        { "host=/nowhere dbname=x" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        struct pg_options options = pool_options();

        options.url = urls[i].url;
        use_pool(&options);
        start_many(1, ping);
        assert_int_equal(results[0], -EAGAIN);
        assert_int_equal(stats_now().open, 0);
        assert_int_equal(stats_now().failed, 1);
    }
}

/* Several hosts, of which the last one works: a socket needs no address. */
static void test_several_hosts(void **state)
{
    struct pg_options options = pool_options();
    char url[256];

    (void)state;
    snprintf(url, sizeof(url),
             "host=localhost,no-such-host.invalid,%s port=1,1,5432 user=forkmark "
             "dbname=postgres",
             server.folder);
    options.url = url;
    use_pool(&options);
    start_many(1, ping);
    assert_int_equal(results[0], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        POOL_TEST(test_base),
        POOL_TEST(test_overflow),
        POOL_TEST(test_turns),
        POOL_TEST(test_acquire_timeout),
        POOL_TEST(test_statement_timeout),
        POOL_TEST(test_task_ends_in_query),
        POOL_TEST(test_task_ends_in_queue),
        POOL_TEST(test_recycle),
        POOL_TEST(test_ping),
        POOL_TEST(test_host_names),
        POOL_TEST(test_several_hosts),
    };

    return cmocka_run_group_tests_name("pg_pool", tests, open_server, close_server);
}
