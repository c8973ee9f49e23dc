/*
 * test_pg_pipe.c - quick reads that share a connection: each gets its own answer, and
 * nobody fails because of a neighbour.
 */
#include "tests/unit/pg_testing.h"
#include <stdio.h>
#include <string.h>

#define TASKS 40

/* As in sql/queries: an id below query_count is prepared under its name. */
#define QUICK(number, sql, params)                    \
    (&(const struct query){ .name = "quick_" #number, \
                            .text = (sql),            \
                            .route = QUERY_REPLICA,   \
                            .param_count = (params),  \
                            .is_quick = true,         \
                            .id = (number) })

static int results[TASKS];

static void use_pipes(int pipelines, uint64_t statement_timeout_ms, uint64_t recycle_ms)
{
    struct pg_options options = pool_options();

    options.size = 3;
    options.overflow = 3;
    options.pipelines = pipelines;
    options.statement_timeout_ms = statement_timeout_ms;
    options.recycle_ms = recycle_ms;
    use_pool(&options);
}

static int ask_number(int number)
{
    struct pg_rows rows;
    int rc = pg_run(pg, QUICK(0, "SELECT $1::int", 1), PG_ARGS(pg_int(number)), &rows);

    return rc < 0 ? rc : (int)pg_get_int(&rows, 0, 0);
}

/* The first to ask finds no shared connection yet and lets one be opened. */
static void open_pipes(void *arg)
{
    (void)arg;
    for (int i = 0; i < 200 && stats_now().pipelined == 0; i++) {
        assert_int_equal(ask_number(7), 7);
        task_sleep(5);
    }
    task_sleep(20);
    assert_true(stats_now().pipelined > 0);
}

static void each_its_own(void *arg)
{
    int *result = arg;
    int number = (int)(result - results);

    for (int i = 0; i < 20; i++) {
        if (ask_number(number * 100 + i) != number * 100 + i)
            return;
    }
    *result = 0;
}

static void start_many(int count, void (*run)(void *))
{
    for (int i = 0; i < count; i++) {
        results[i] = 1;
        start_task(run, &results[i], 0);
    }
    task_run_loop();
}

static void test_own_answers(void **state)
{
    (void)state;
    for (int pipelines = 1; pipelines <= 2; pipelines++) {
        use_pipes(pipelines, 5000, 0);
        run_task(open_pipes, NULL, 0);
        uint64_t before = stats_now().pipelined, acquired = stats_now().acquired;
        start_many(TASKS, each_its_own);
        for (int i = 0; i < TASKS; i++)
            assert_int_equal(results[i], 0);
        assert_true(stats_now().pipelined - before >= TASKS * 20 - 20);
        /* A second pipe opens only now: few asked elsewhere until then. */
        assert_true(stats_now().acquired - acquired <= 20 + TASKS);
        assert_int_equal(stats_now().in_use, 0);
    }
}

/* One left for those that want a connection for themselves. */
static void test_not_all_are_shared(void **state)
{
    (void)state;
    use_pipes(9, 5000, 0);
    start_many(TASKS, each_its_own);
    start_many(TASKS, each_its_own);
    assert_true(stats_now().acquired > 0);
    assert_true(stats_now().open <= 3);
}

static void divide(void *arg)
{
    int *result = arg;
    int number = (int)(result - results);
    int by = number % 5 == 0 ? 0 : 1;

    *result = pg_run(pg, QUICK(1, "SELECT 1 / $1::int", 1), PG_ARGS(pg_int(by)), NULL);
}

/* The server skips what follows a mistake in a batch; that is asked again elsewhere. */
static void test_neighbours_mistake(void **state)
{
    (void)state;
    use_pipes(1, 5000, 0);
    run_task(open_pipes, NULL, 0);
    start_many(TASKS, divide);
    for (int i = 0; i < TASKS; i++)
        assert_int_equal(results[i], i % 5 == 0 ? -ERANGE : 0);
    start_many(TASKS, each_its_own);
    for (int i = 0; i < TASKS; i++)
        assert_int_equal(results[i], 0);
}

static void ask_nonsense(void *arg)
{
    int *result = arg;
    int number = (int)(result - results);

    if (number % 7 == 0)
        *result =
            pg_run(pg, QUICK(2, "SELECT nothing FROM nowhere", 0), PG_NO_ARGS, NULL);
    else
        *result = ask_number(number) == number ? 0 : 2;
}

static void test_cannot_be_prepared(void **state)
{
    (void)state;
    use_pipes(1, 5000, 0);
    run_task(open_pipes, NULL, 0);
    for (int round = 0; round < 2; round++) {
        start_many(TASKS, ask_nonsense);
        for (int i = 0; i < TASKS; i++)
            assert_int_equal(results[i], i % 7 == 0 ? -ENOSYS : 0);
    }
}

static void sleep_a_little(void *arg)
{
    int *result = arg;

    *result = pg_run(pg, QUICK(3, "SELECT pg_sleep(0.2)", 0), PG_NO_ARGS, NULL);
}

static void end_sessions(void *arg)
{
    (void)arg;
    task_sleep(100);
    ask("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        "WHERE application_name = 'forkmark test' AND query LIKE '%pg_sleep(0.2)'");
}

static void test_connection_is_lost(void **state)
{
    (void)state;
    use_pipes(1, 5000, 0);
    run_task(open_pipes, NULL, 0);
    start_task(end_sessions, NULL, 0);
    start_many(4, sleep_a_little);
    for (int i = 0; i < 4; i++)
        assert_int_equal(results[i], 0);
    assert_true(stats_now().reconnects >= 1);
    /* A new one takes its place. */
    run_task(open_pipes, NULL, 0);
    start_many(TASKS, each_its_own);
    for (int i = 0; i < TASKS; i++)
        assert_int_equal(results[i], 0);
}

static void sleep_long(void *arg)
{
    int *result = arg;

    *result = pg_run(pg, QUICK(4, "SELECT pg_sleep(30)", 0), PG_NO_ARGS, NULL);
}

static void ask_behind(void *arg)
{
    task_pause();
    each_its_own(arg);
}

/* Who stands behind a statement that hangs goes elsewhere when that one is given up. */
static void test_task_ends(void **state)
{
    (void)state;
    use_pipes(1, 5000, 0);
    run_task(open_pipes, NULL, 0);
    results[0] = 1;
    start_task(sleep_long, &results[0], 150);
    for (int i = 1; i < 10; i++) {
        results[i] = 1;
        start_task(ask_behind, &results[i], 0);
    }
    task_run_loop();
    assert_int_equal(results[0], 1);
    for (int i = 1; i < 10; i++)
        assert_int_equal(results[i], 0);
    assert_true(become_sessions("state = 'active'", 0)); /* cancelled on the server */
}

static void test_statement_timeout(void **state)
{
    (void)state;
    use_pipes(1, 300, 0);
    run_task(open_pipes, NULL, 0);
    results[0] = 1;
    start_task(sleep_long, &results[0], 0);
    for (int i = 1; i < 10; i++) {
        results[i] = 1;
        start_task(ask_behind, &results[i], 0);
    }
    task_run_loop();
    assert_int_equal(results[0], -ETIMEDOUT);
    for (int i = 1; i < 10; i++)
        assert_int_equal(results[i], 0);
}

static void ask_and_rest(void *arg)
{
    int *result = arg;

    for (int i = 0; i < 10; i++) {
        if (ask_number(i) != i)
            return;
        task_sleep(20);
    }
    *result = 0;
}

static void test_recycle(void **state)
{
    (void)state;
    use_pipes(1, 5000, 50);
    start_many(3, ask_and_rest);
    for (int i = 0; i < 3; i++)
        assert_int_equal(results[i], 0);
    assert_int_equal(stats_now().reconnects, 0);
}

static void ask_changing(void *arg)
{
    struct pg_rows rows;

    (void)arg;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(
            pg_run(pg, QUICK(5, "SELECT * FROM changing", 0), PG_NO_ARGS, &rows), 0);
        assert_int_equal(PQnfields(rows.result), 1 + i);
        char sql[80];
        snprintf(sql, sizeof(sql), "ALTER TABLE changing ADD column_%d int", i);
        ask(sql);
    }
}

/* A prepared statement whose table has changed is prepared anew. */
static void test_stale_plan(void **state)
{
    (void)state;
    ask("CREATE TABLE changing (id int)");
    use_pipes(1, 5000, 0);
    run_task(open_pipes, NULL, 0);
    run_task(ask_changing, NULL, 0);
    assert_int_equal(outcome, TASK_DONE);
    ask("DROP TABLE changing");
}

static void close_it(void *arg)
{
    (void)arg;
    task_sleep(50);
    pg_free(pg);
    pg = NULL;
}

static void test_pool_closes(void **state)
{
    (void)state;
    use_pipes(1, 5000, 0);
    run_task(open_pipes, NULL, 0);
    start_task(close_it, NULL, 0);
    start_many(5, sleep_long);
    for (int i = 0; i < 5; i++)
        assert_int_equal(results[i], -EAGAIN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        POOL_TEST(test_own_answers),        POOL_TEST(test_not_all_are_shared),
        POOL_TEST(test_neighbours_mistake), POOL_TEST(test_cannot_be_prepared),
        POOL_TEST(test_connection_is_lost), POOL_TEST(test_task_ends),
        POOL_TEST(test_statement_timeout),  POOL_TEST(test_recycle),
        POOL_TEST(test_stale_plan),         POOL_TEST(test_pool_closes),
    };

    return cmocka_run_group_tests_name("pg_pipe", tests, open_server, close_server);
}
