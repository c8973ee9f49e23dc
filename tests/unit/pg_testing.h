/*
 * pg_testing.h - what the tests of the PostgreSQL pool share: a server, a pool,
 * tasks that run to their end, statements made up on the spot.
 */
#ifndef FORKMARK_TESTS_UNIT_PG_TESTING_H
#define FORKMARK_TESTS_UNIT_PG_TESTING_H

#include "common/arena.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/pg.h"
#include "common/task.h"
#include "tests/unit/private_postgres.h"
#include "tests/unit/testing.h"
#include <errno.h>
#include <stdint.h>

static struct private_postgres server;
static struct pg *pg;
static enum task_outcome outcome;

/* Statements of no file run unnamed: their id is no query's. */
#define STATEMENT(sql, params) \
    (&(const struct query){    \
        .name = "statement", .text = (sql), .param_count = (params), .id = SIZE_MAX })

static inline struct pg_options pool_options(void)
{
    return (struct pg_options){ .url = server.url,
                                .size = 2,
                                .overflow = 1,
                                .prepared = true,
                                .acquire_timeout_ms = 2000,
                                .connect_timeout_ms = 2000,
                                .statement_timeout_ms = 5000,
                                .application_name = "forkmark test" };
}

static inline void note_outcome(void *arg, enum task_outcome how)
{
    (void)arg;
    outcome = how;
}

static inline struct task *start_task(void (*run)(void *), void *arg, uint64_t timeout_ms)
{
    return task_spawn(&(struct task_spec){ .name = "test",
                                           .run = run,
                                           .arg = arg,
                                           .timeout_ms = timeout_ms,
                                           .on_end = note_outcome });
}

static inline void run_task(void (*run)(void *), void *arg, uint64_t timeout_ms)
{
    start_task(run, arg, timeout_ms);
    task_run_loop();
}

static inline int run_sql(const char *sql)
{
    return pg_run(pg, STATEMENT(sql, 0), PG_NO_ARGS, NULL);
}

static inline struct pg_stats stats_now(void)
{
    struct pg_stats stats;

    pg_stats(pg, &stats);
    return stats;
}

/* A look from outside, which does not need the pool. */
static inline const char *ask(const char *sql)
{
    return postgres_ask(&server, "postgres", sql);
}

static inline int sessions(const char *condition)
{
    char sql[512];

    snprintf(sql, sizeof(sql),
             "SELECT count(*) FROM pg_stat_activity "
             "WHERE application_name = 'forkmark test' AND %s",
             condition);
    return atoi(ask(sql));
}

/* What the server does about us takes a moment: 2 s at most. */
static inline bool become_sessions(const char *condition, int count)
{
    for (int i = 0; i < 200; i++) {
        if (sessions(condition) == count)
            return true;
        nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
    }
    return false;
}

static inline int open_server(void **state)
{
    (void)state;
    log_set_level(LOGL_ERROR);
    postgres_open(&server);
    return 0;
}

static inline int close_server(void **state)
{
    (void)state;
    postgres_close(&server);
    return 0;
}

static inline void use_pool(const struct pg_options *options)
{
    pg_free(pg);
    pg = pg_new(options);
}

static inline int open_pool(void **state)
{
    struct pg_options options = pool_options();

    (void)state;
    task_runtime_init();
    pg = pg_new(&options);
    return 0;
}

/* Every session ends with its pool, whatever the test did. */
static inline int close_pool(void **state)
{
    (void)state;
    pg_free(pg);
    pg = NULL;
    task_run_loop();
    task_runtime_done();
    assert_true(become_sessions("true", 0));
    return 0;
}

#define POOL_TEST(test) cmocka_unit_test_setup_teardown(test, open_pool, close_pool)

#endif
