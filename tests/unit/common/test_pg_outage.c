/*
 * test_pg_outage.c - sessions killed, the server gone and back: what callers see.
 */
#include "tests/unit/pg_testing.h"
#include <stdio.h>
#include <unistd.h>

static int results[32];

static const char end_all[] =
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
    "WHERE application_name = 'forkmark test'";

static void one_query(void *arg)
{
    int *result = arg;

    *result = run_sql("SELECT 1");
}

static void start_many(int count, void (*run)(void *))
{
    for (int i = 0; i < count; i++) {
        results[i] = 1;
        start_task(run, &results[i], 0);
    }
    task_run_loop();
}

static void hold_a_moment(void *arg)
{
    int *result = arg;

    *result = run_sql("SELECT pg_sleep(0.05)");
}

/* Idle sessions die: nobody notices, because nobody is given a dead one. */
static void test_idle_sessions_die(void **state)
{
    (void)state;
    for (int round = 0; round < 3; round++) {
        start_many(2, hold_a_moment);
        assert_int_equal(stats_now().idle, 2);
        ask(end_all);
        assert_true(become_sessions("true", 0));
        start_many(2, one_query);
        assert_int_equal(results[0], 0);
        assert_int_equal(results[1], 0);
    }
    assert_int_equal(stats_now().reconnects, 6);
}

/* Noticed by the loop itself, while nobody asks for anything. */
static void wait_a_moment(void *arg)
{
    (void)arg;
    ask(end_all);
    for (int i = 0; i < 100 && stats_now().open > 0; i++)
        task_sleep(10);
    assert_int_equal(stats_now().open, 0);
}

static void test_idle_death_is_seen(void **state)
{
    (void)state;
    start_many(2, hold_a_moment);
    run_task(wait_a_moment, NULL, 0);
    assert_int_equal(outcome, TASK_DONE);
}

/* ---- in the middle of a statement ---- */

static struct query killed = { .name = "killed",
                               .text = "INSERT INTO kept SELECT 1 FROM pg_sleep(0.3)",
                               .id = SIZE_MAX };

static void run_killed(void *arg)
{
    int *result = arg;

    *result = pg_run(pg, &killed, PG_NO_ARGS, NULL);
}

/* The session that is in the middle of the statement gets the signal; not one that has
 * got one before and may not have noticed yet. */
static void end_sleeping(int signum)
{
    static int former;
    int pid = 0;

    for (int i = 0; i < 500 && pid == 0; i++) {
        char sql[160];

        task_sleep(10);
        snprintf(sql, sizeof(sql),
                 "SELECT max(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep' "
                 "AND application_name = 'forkmark test' AND pid <> %d",
                 former);
        pid = atoi(ask(sql));
    }
    assert_true(pid > 0);
    former = pid;
    assert_int_equal(kill(pid, signum), 0);
}

static void kill_soon(void *arg)
{
    (void)arg;
    end_sleeping(SIGTERM);
}

/* The server says good-bye in the middle: it has done nothing, so it is done again. */
static void test_session_dies_in_statement(void **state)
{
    (void)state;
    ask("CREATE TABLE kept (id int)");
    results[0] = 1;
    start_task(run_killed, &results[0], 0);
    start_task(kill_soon, NULL, 0);
    task_run_loop();
    assert_int_equal(results[0], 0);
    assert_string_equal(ask("SELECT count(*) FROM kept"), "1");
    assert_int_equal(stats_now().reconnects, 1);
    ask("DROP TABLE kept");
}

static void kill_twice(void *arg)
{
    kill_soon(arg);
    kill_soon(arg);
}

/* Once more, not for ever. */
static void test_session_dies_twice(void **state)
{
    (void)state;
    ask("CREATE TABLE kept (id int)");
    results[0] = 1;
    start_task(run_killed, &results[0], 0);
    start_task(kill_twice, NULL, 0);
    task_run_loop();
    assert_int_equal(results[0], -EAGAIN);
    assert_string_equal(ask("SELECT count(*) FROM kept"), "0");
    ask("DROP TABLE kept");
}

/* A backend that crashes takes all sessions with it; some end without a word. */
static void crash_soon(void *arg)
{
    (void)arg;
    end_sleeping(SIGKILL);
}

static void test_backend_crashes(void **state)
{
    (void)state;
    ask("CREATE TABLE kept (id int)");
    results[0] = 1;
    start_task(run_killed, &results[0], 0);
    start_task(crash_soon, NULL, 0);
    task_run_loop();
    assert_int_equal(results[0], -EAGAIN); /* whether it was done is not known */
    postgres_await(&server);
    ask("DROP TABLE kept");
}

/* ---- what a write that failed says of itself ---- */

static uint64_t positions[2];

static void write_killed(void *arg)
{
    uint64_t *position = arg;

    *position = 7;
    assert_int_equal(pg_write(pg, &killed, PG_NO_ARGS, NULL, position), -EAGAIN);
}

/* With and without somebody who keeps positions. */
static void write_while(void (*disturb)(void *))
{
    for (int i = 0; i < 2; i++) {
        struct pg_options options = pool_options();

        options.keeps_positions = i == 1;
        use_pool(&options);
        start_task(write_killed, &positions[i], 0);
        start_task(disturb, NULL, 0);
        task_run_loop();
        assert_int_equal(outcome, TASK_DONE);
        postgres_await(&server);
    }
}

static void test_writes_that_may_stand(void **state)
{
    (void)state;
    ask("CREATE TABLE kept (id int)");
    write_while(crash_soon);
    assert_true(positions[0] == PG_POSITION_UNKNOWN);
    assert_true(positions[1] == PG_POSITION_UNKNOWN);

    write_while(kill_twice); /* and are told that they came to nothing */
    assert_true(positions[0] == PG_POSITION_NONE);
    assert_true(positions[1] == PG_POSITION_NONE);
    assert_string_equal(ask("SELECT count(*) FROM kept"), "0");
    ask("DROP TABLE kept");
}

static void write_once(void *arg)
{
    uint64_t *position = arg;

    *position = 7;
    results[0] = pg_write(pg, STATEMENT("INSERT INTO kept VALUES (1)", 0), PG_NO_ARGS,
                          NULL, position);
}

static int session_pid(void)
{
    return atoi(ask("SELECT pid FROM pg_stat_activity WHERE "
                    "application_name = 'forkmark test'"));
}

/* Its last words and a socket in error, found in one look. */
static void end_unread(void *arg)
{
    int pid = session_pid();

    (void)arg;
    assert_int_equal(kill(pid, SIGSTOP), 0);
    task_sleep(30);
    assert_string_equal(ask(end_all), "1");
    assert_int_equal(kill(pid, SIGCONT), 0);
    usleep(100000);
}

static void test_session_dies_before_it_reads(void **state)
{
    (void)state;
    ask("CREATE TABLE kept (id int)");
    for (int i = 0; i < 2; i++) {
        struct pg_options options = pool_options();

        options.keeps_positions = i == 1;
        use_pool(&options);
        start_many(1, one_query);
        assert_true(become_sessions("true", 1)); /* the former pool's has gone */
        start_task(end_unread, NULL, 0);
        start_task(write_once, &positions[i], 0);
        task_run_loop();
        assert_int_equal(results[0], 0);
    }
    assert_true(positions[0] == PG_POSITION_NONE);
    assert_true(positions[1] != PG_POSITION_NONE);
    assert_true(positions[1] != PG_POSITION_UNKNOWN);
    assert_string_equal(ask("SELECT count(*) FROM kept"), "2");
    ask("DROP TABLE kept");
}

static void write_too_slowly(void *arg)
{
    uint64_t position = 7;
    struct pg_tx *tx;

    (void)arg;
    assert_int_equal(pg_write(pg, &killed, PG_NO_ARGS, NULL, &position), -ETIMEDOUT);
    assert_true(position == PG_POSITION_UNKNOWN);

    /* Refused, in so many words. */
    assert_int_equal(pg_write(pg, STATEMENT("INSERT INTO kept VALUES (1)", 0), PG_NO_ARGS,
                              NULL, &position),
                     0);
    assert_true(position == PG_POSITION_NONE);
    position = 7;
    assert_int_equal(pg_write(pg, STATEMENT("INSERT INTO kept VALUES (1)", 0), PG_NO_ARGS,
                              NULL, &position),
                     -EEXIST);
    assert_true(position == PG_POSITION_NONE);

    /* Nothing is committed of a transaction that was lost before. */
    assert_int_equal(pg_begin(pg, &tx), 0);
    position = 7;
    assert_int_equal(pg_tx_run(tx, &killed, PG_NO_ARGS, NULL), -ETIMEDOUT);
    assert_int_equal(pg_commit_at(tx, &position), -EAGAIN);
    assert_true(position == PG_POSITION_NONE);
}

static void test_writes_that_take_too_long(void **state)
{
    struct pg_options options = pool_options();

    (void)state;
    options.statement_timeout_ms = 100;
    use_pool(&options);
    ask("CREATE TABLE kept (id int PRIMARY KEY)");
    run_task(write_too_slowly, NULL, 0);
    assert_int_equal(outcome, TASK_DONE);
    ask("DROP TABLE kept");
}

static uint64_t commit_position;

/* The server is at a commit that takes a moment when it crashes. */
static void commit_slowly(void *arg)
{
    struct pg_tx *tx;

    (void)arg;
    assert_int_equal(pg_begin(pg, &tx), 0);
    assert_int_equal(
        pg_tx_run(tx, STATEMENT("INSERT INTO kept VALUES (1)", 0), PG_NO_ARGS, NULL), 0);
    assert_int_equal(pg_commit_at(tx, &commit_position), -EAGAIN);
}

static void test_a_commit_that_may_stand(void **state)
{
    (void)state;
    ask("CREATE TABLE kept (id int)");
    ask("CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN PERFORM pg_sleep(0.3); RETURN NULL; END$$");
    ask("CREATE CONSTRAINT TRIGGER late AFTER INSERT ON kept DEFERRABLE "
        "INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait()");
    start_task(commit_slowly, NULL, 0);
    start_task(crash_soon, NULL, 0);
    task_run_loop();
    assert_int_equal(outcome, TASK_DONE);
    assert_true(commit_position == PG_POSITION_UNKNOWN);
    postgres_await(&server);
    ask("DROP TABLE kept");
    ask("DROP FUNCTION wait");
}

static void transaction_is_lost(void *arg)
{
    uint64_t position = 7;
    struct pg_tx *tx;

    (void)arg;
    assert_int_equal(pg_begin(pg, &tx), 0);
    ask(end_all);
    task_sleep(50);
    assert_int_equal(pg_tx_run(tx, STATEMENT("SELECT 1", 0), PG_NO_ARGS, NULL), -EAGAIN);
    assert_int_equal(pg_commit(tx), -EAGAIN);

    assert_int_equal(pg_begin(pg, &tx), 0);
    ask(end_all);
    assert_int_equal(pg_commit_at(tx, &position), -EAGAIN);
    assert_true(position == PG_POSITION_NONE);
    pg_rollback(tx);
    assert_int_equal(run_sql("SELECT 1"), 0);
}

static void test_transaction_is_lost(void **state)
{
    (void)state;
    run_task(transaction_is_lost, NULL, 0);
    assert_int_equal(outcome, TASK_DONE);
}

/* ---- the server ---- */

static void query_slowly(void *arg)
{
    int *result = arg;

    *result = run_sql("SELECT pg_sleep(30)");
}

/*
 * While the loop turns: the server waits a minute for a connection that was begun and
 * says nothing more, and the pool may have begun one just now.
 */
static void stop_soon(void *arg)
{
    (void)arg;
    task_sleep(80);
    assert_int_equal(kill(server.pid, SIGINT), 0);
    while (waitpid(server.pid, NULL, WNOHANG) == 0)
        task_sleep(5);
    server.pid = 0;
}

static void use_it_again(void *arg)
{
    int *result = arg;
    uint64_t began = clock_ms();

    while ((*result = run_sql("SELECT 1")) == -EAGAIN && clock_ms() - began < 5000)
        task_sleep(20);
}

/* With the server away everyone is told at once; with it back, all is as before. */
static void test_server_restarts(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++) {
        results[i] = 1;
        start_task(query_slowly, &results[i], 0);
    }
    start_task(stop_soon, NULL, 0);
    uint64_t began = clock_ms();
    task_run_loop();
    for (int i = 0; i < 10; i++)
        assert_int_equal(results[i], -EAGAIN);
    assert_int_equal(stats_now().open, 0);

    start_many(10, one_query);
    for (int i = 0; i < 10; i++)
        assert_int_equal(results[i], -EAGAIN);
    assert_true(clock_ms() - began < 2000);

    postgres_start(&server);
    start_many(10, use_it_again);
    for (int i = 0; i < 10; i++)
        assert_int_equal(results[i], 0);
    assert_true(stats_now().open <= 3);
}

/* A server that accepts and says nothing costs one connect_timeout, not one each. */
static void test_silent_server(void **state)
{
    struct pg_options options = pool_options();

    (void)state;
    options.connect_timeout_ms = 200;
    use_pool(&options);
    kill(server.pid, SIGSTOP);
    uint64_t began = clock_ms();
    start_many(20, one_query);
    assert_in_range(clock_ms() - began, 190, 1000);
    uint64_t failed = stats_now().failed;
    assert_in_range(failed, 1, 3);
    began = clock_ms();
    start_many(20, one_query);
    kill(server.pid, SIGCONT);
    for (int i = 0; i < 20; i++)
        assert_int_equal(results[i], -EAGAIN);
    /* At most one of them tried again. */
    assert_in_range(stats_now().failed - failed, 0, 1);
    assert_in_range(clock_ms() - began, 0, 500);
    start_many(3, use_it_again);
    assert_int_equal(results[0], 0);
}

static void leave_while_connecting(void *arg)
{
    (void)arg;
    run_sql("SELECT 1");
    fail();
}

/* A task that ends while its connection is being made takes it along. */
static void test_task_ends_in_connect(void **state)
{
    (void)state;
    kill(server.pid, SIGSTOP);
    run_task(leave_while_connecting, NULL, 50);
    kill(server.pid, SIGCONT);
    assert_int_equal(outcome, TASK_DEADLINE);
    assert_int_equal(stats_now().open, 0);
    start_many(1, one_query);
    assert_int_equal(results[0], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        POOL_TEST(test_idle_sessions_die),
        POOL_TEST(test_idle_death_is_seen),
        POOL_TEST(test_session_dies_in_statement),
        POOL_TEST(test_session_dies_twice),
        POOL_TEST(test_backend_crashes),
        POOL_TEST(test_transaction_is_lost),
        POOL_TEST(test_writes_that_may_stand),
        POOL_TEST(test_session_dies_before_it_reads),
        POOL_TEST(test_writes_that_take_too_long),
        POOL_TEST(test_a_commit_that_may_stand),
        POOL_TEST(test_server_restarts),
        POOL_TEST(test_silent_server),
        POOL_TEST(test_task_ends_in_connect),
    };

    return cmocka_run_group_tests_name("pg_outage", tests, open_server, close_server);
}
