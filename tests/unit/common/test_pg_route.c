/*
 * test_pg_route.c - which server a read goes to, and where a write stands in the log.
 *
 * All pools here lead to the same server; what a probe would have found is set by hand,
 * and who was asked is told by the pools' own counters.
 */
#include "common/pg_internal.h"
#include "tests/unit/pg_testing.h"
#include <stdio.h>
#include <string.h>

#define REPLICAS   3
#define MAX_LAG_MS 1000

static const struct query read_one = {
    .name = "read", .text = "SELECT 1", .route = QUERY_REPLICA, .id = SIZE_MAX
};

static void use_replicas(void)
{
    const char *urls[REPLICAS] = { server.url, server.url, server.url };
    struct pg_options options = pool_options();

    options.replicas = urls;
    options.replica_count = REPLICAS;
    options.max_lag_ms = MAX_LAG_MS;
    options.probe_ms = 3600000;
    options.keeps_positions = true;
    use_pool(&options);
    uv_timer_stop(&pg->route->timer); /* no probe: we know better */
}

static struct pg *replica(int i)
{
    return pg->route->replicas[i];
}

static void find(struct pg *of, uint64_t position, uint64_t behind_ms)
{
    of->health.state = PG_STATE_UP;
    of->health.is_replica = of->primary != NULL;
    of->health.position = position;
    of->health.caught_up_ms = clock_ms() - behind_ms;
}

/* -1: the primary; else the replica's number. */
static int asked(struct pg_reader reader, bool *ret_behind)
{
    uint64_t before[REPLICAS], primary = pg->acquired;
    int found = -2;

    for (int i = 0; i < REPLICAS; i++)
        before[i] = replica(i)->acquired;
    int rc = pg_read(pg, &reader, &read_one, PG_NO_ARGS, NULL);
    if (ret_behind)
        *ret_behind = reader.was_behind;
    if (rc < 0)
        return rc - 100;
    for (int i = 0; i < REPLICAS; i++)
        if (replica(i)->acquired > before[i])
            found = i;
    return pg->acquired > primary ? -1 : found;
}

static const struct pg_reader unknown = { .freshness = PG_FRESH_PRIMARY };
static const struct pg_reader any = { .freshness = PG_FRESH_ANY };

static struct pg_reader at(uint64_t position)
{
    return (struct pg_reader){ .freshness = PG_FRESH_AT, .position = position };
}

static void choose_by_freshness(void *arg)
{
    bool was_behind;

    (void)arg;
    use_replicas();
    /* Nothing is known of any: the primary. */
    assert_int_equal(asked(any, NULL), -1);
    find(pg, 500, 0);
    find(replica(0), 400, 100);
    find(replica(1), 300, 900);
    find(replica(2), 100, MAX_LAG_MS + 500);
    assert_int_equal(asked(unknown, &was_behind), -1);
    assert_false(was_behind);
    assert_int_equal(asked(at(401), &was_behind), -1);
    assert_false(was_behind);
    for (int i = 0; i < 4; i++)
        assert_int_equal(asked(at(400), NULL), 0);
    assert_int_equal(asked(at(301), NULL), 0);
    /* The third is too far behind for everybody. */
    int counts[REPLICAS] = { 0 };
    for (int i = 0; i < 30; i++)
        counts[asked(any, NULL)]++;
    assert_in_range(counts[0], 10, 20);
    assert_in_range(counts[1], 10, 20);
    assert_int_equal(counts[2], 0);
    /* One that takes writes is no replica of this primary any more. */
    replica(0)->health.is_replica = false;
    assert_int_equal(asked(at(400), NULL), -1);
    pg_free(pg);
    pg = NULL;
}

static void by_freshness(void **state)
{
    (void)state;
    run_task(choose_by_freshness, NULL, 0);
    assert_int_equal(outcome, TASK_DONE);
}

static void go_on_without_primary(void *arg)
{
    bool was_behind;

    (void)arg;
    use_replicas();
    find(replica(0), 400, 100);
    find(replica(1), 300, 100);
    find(replica(2), 100, MAX_LAG_MS + 500);
    pg->health.state = PG_STATE_DOWN;
    assert_int_equal(asked(any, &was_behind) % 2, asked(any, NULL) == 0 ? 1 : 0);
    assert_false(was_behind);
    /* Nobody has all of it: the furthest. */
    assert_int_equal(asked(at(450), &was_behind), 0);
    assert_true(was_behind);
    assert_int_equal(asked(unknown, &was_behind), 0);
    assert_true(was_behind);
    /* It is beyond max_lag, as all are when the primary has been gone for long; but who
     * knows that their own writes are there is not behind. */
    find(replica(0), 400, 60000);
    find(replica(1), 300, 60000);
    assert_int_equal(asked(at(350), &was_behind), 0);
    assert_false(was_behind);
    assert_int_equal(asked(any, &was_behind), 0);
    assert_true(was_behind);
    /* One that was promoted is ahead of all, whatever it has written by now. */
    replica(1)->health.is_replica = false;
    assert_int_equal(asked(unknown, NULL), 1);
    for (int i = 0; i < REPLICAS; i++)
        replica(i)->health.state = PG_STATE_DOWN;
    assert_false(pg_has_reader(pg));
    assert_int_equal(asked(any, NULL), -EAGAIN - 100);
    assert_int_equal(run_sql("SELECT 1"), -EAGAIN);
    pg_free(pg);
    pg = NULL;
}

static void without_primary(void **state)
{
    (void)state;
    run_task(go_on_without_primary, NULL, 0);
    assert_int_equal(outcome, TASK_DONE);
}

static uint64_t hold_ms;

static void hold(void *arg)
{
    struct pg_lease *lease;

    assert_int_equal(pg_acquire(arg, 1000, &lease), 0);
    task_sleep(hold_ms);
    pg_release(lease);
}

/* All its connections are taken, but for the probe's: that is no reason to show anybody
 * the past. */
static void keep_primary_busy(void *arg)
{
    bool was_behind;

    (void)arg;
    use_replicas();
    find(pg, 500, 0);
    find(replica(0), 400, 100);
    pg->options.acquire_timeout_ms = 100;
    hold_ms = 3000;
    for (int i = 0; i < 2; i++)
        task_spawn(&(struct task_spec){ .name = "hold", .run = hold, .arg = pg });
    for (int i = 0; i < 200 && stats_now().in_use < 2; i++)
        task_sleep(10);
    assert_int_equal(stats_now().in_use, 2);
    assert_int_equal(asked(at(450), &was_behind), -EAGAIN - 100);
    assert_false(was_behind);
    assert_int_equal(asked(unknown, &was_behind), -EAGAIN - 100);
    assert_false(was_behind);
    assert_int_equal(asked(at(400), &was_behind), 0);
    task_sleep(hold_ms);
    pg_free(pg);
    pg = NULL;
}

static void a_busy_primary_is_not_a_lost_one(void **state)
{
    (void)state;
    run_task(keep_primary_busy, NULL, 0);
    assert_int_equal(outcome, TASK_DONE);
}

/* A connection that was cut is not a lost primary either. */
static void cut_connection(void *arg)
{
    static const struct query dies = {
        .name = "dies",
        .text = "SELECT pg_terminate_backend(pg_backend_pid())",
        .route = QUERY_REPLICA,
        .id = SIZE_MAX
    };
    struct pg_reader reader = unknown;

    (void)arg;
    use_replicas();
    find(pg, 500, 0);
    find(replica(0), 400, 100);
    assert_int_equal(pg_read(pg, &reader, &dies, PG_NO_ARGS, NULL), -EAGAIN);
    assert_int_equal(pg->acquired, 2);
    assert_int_equal(replica(0)->acquired, 1);
    assert_true(reader.was_behind);
    reader = unknown;
    assert_int_equal(pg_read(pg, &reader, &read_one, PG_NO_ARGS, NULL), 0);
    assert_false(reader.was_behind);
    pg_free(pg);
    pg = NULL;
}

static void a_cut_connection_is_not_a_lost_primary(void **state)
{
    (void)state;
    run_task(cut_connection, NULL, 0);
    assert_int_equal(outcome, TASK_DONE);
}

static void choose_by_load(void *arg)
{
    (void)arg;
    use_replicas();
    for (int i = 0; i < REPLICAS; i++)
        find(replica(i), 400, 0);
    hold_ms = 1000;
    task_spawn(&(struct task_spec){ .name = "hold", .run = hold, .arg = replica(0) });
    task_spawn(&(struct task_spec){ .name = "hold", .run = hold, .arg = replica(0) });
    task_spawn(&(struct task_spec){ .name = "hold", .run = hold, .arg = replica(2) });
    task_sleep(100);
    assert_int_equal(pg_load(replica(0)), 2);
    assert_int_equal(pg_load(replica(1)), 0);
    assert_int_equal(pg_load(replica(2)), 1);
    for (int i = 0; i < 5; i++)
        assert_int_equal(asked(any, NULL), 1);
    assert_int_equal(pg_load(replica(1)), 0);
    task_sleep(hold_ms);
    pg_free(pg);
    pg = NULL;
}

static void by_load(void **state)
{
    (void)state;
    run_task(choose_by_load, NULL, 0);
    assert_int_equal(outcome, TASK_DONE);
}

/* A statement under way on a server that falls silent is asked of another. */
static void let_one_fall_silent(void *arg)
{
    static const struct query slow = { .name = "slow",
                                       .text = "SELECT pg_sleep(CASE WHEN random() < 2 "
                                               "THEN 0.5 END)",
                                       .route = QUERY_REPLICA,
                                       .id = SIZE_MAX };
    struct pg_reader reader = any;

    (void)arg;
    assert_int_equal(pg_read(pg, &reader, &slow, PG_NO_ARGS, NULL), 0);
}

static void retry_elsewhere(void *arg)
{
    (void)arg;
    use_replicas();
    find(replica(0), 400, 0);
    start_task(let_one_fall_silent, NULL, 0);
    task_sleep(200);
    assert_int_equal(pg_load(replica(0)), 1);
    find(replica(1), 400, 0);
    replica(0)->health.state = PG_STATE_DOWN;
    pg_abandon(replica(0));
    task_sleep(100);
    assert_int_equal(pg_load(replica(0)), 0);
    assert_int_equal(pg_load(replica(1)), 1);
    task_sleep(700);
    assert_int_equal(pg_load(replica(1)), 0);
    assert_int_equal(replica(1)->acquired, 1);
    pg_free(pg);
    pg = NULL;
}

static void a_silent_server_is_left(void **state)
{
    (void)state;
    run_task(retry_elsewhere, NULL, 0);
    assert_int_equal(outcome, TASK_DONE);
}

/* A replica without the table yet, for one: the primary is asked. */
static void ask_primary_after_error(void *arg)
{
    static const struct query wrong = { .name = "wrong",
                                        .text = "SELECT * FROM not_there",
                                        .route = QUERY_REPLICA,
                                        .id = SIZE_MAX };
    struct pg_reader reader = any;

    (void)arg;
    use_replicas();
    find(replica(0), 400, 0);
    assert_int_equal(pg_read(pg, &reader, &wrong, PG_NO_ARGS, NULL), -ENOSYS);
    assert_int_equal(replica(0)->acquired, 1);
    assert_int_equal(pg->acquired, 1);
    pg_free(pg);
    pg = NULL;
}

static void an_error_of_a_replica_is_not_the_last_word(void **state)
{
    (void)state;
    log_set_level(LOGL_ERROR);
    run_task(ask_primary_after_error, NULL, 0);
    assert_int_equal(outcome, TASK_DONE);
}

/* ---- positions ---- */

static uint64_t log_now(void)
{
    return strtoull(ask("SELECT pg_current_wal_insert_lsn() - '0/0'"), NULL, 10);
}

static void write_and_ask(void *arg)
{
    bool prepared = *(bool *)arg;
    struct pg_options options = pool_options();
    const struct query *insert =
        STATEMENT("INSERT INTO marks VALUES ($1::int) RETURNING i * 2", 1);
    uint64_t position, next;
    struct pg_rows rows;
    struct pg_tx *tx;

    options.prepared = prepared;
    options.keeps_positions = true;
    use_pool(&options);
    assert_int_equal(run_sql("DROP TABLE IF EXISTS marks"), 0);
    assert_int_equal(run_sql("CREATE TABLE marks (i int PRIMARY KEY)"), 0);
    uint64_t before = log_now();
    assert_int_equal(pg_write(pg, insert, PG_ARGS(pg_int(21)), &rows, &position), 0);
    assert_int_equal(rows.count, 1);
    assert_int_equal(pg_get_int(&rows, 0, 0), 42);
    assert_in_range(position, before + 1, log_now() + 1);

    /* An error is an error, and the connection is as good as before. */
    assert_int_equal(pg_write(pg, insert, PG_ARGS(pg_int(21)), NULL, &next), -EEXIST);
    assert_int_equal(pg_write(pg, insert, PG_ARGS(pg_int(22)), NULL, &next), 0);
    assert_true(next > position);
    assert_int_equal(stats_now().open, 1);

    assert_int_equal(pg_begin(pg, &tx), 0);
    assert_int_equal(pg_tx_run(tx, insert, PG_ARGS(pg_int(23)), NULL), 0);
    uint64_t inside = log_now();
    assert_int_equal(pg_commit_at(tx, &position), 0);
    assert_true(position > inside && position != PG_POSITION_UNKNOWN);

    /* A commit that turns into a rollback. */
    assert_int_equal(pg_begin(pg, &tx), 0);
    assert_int_equal(pg_tx_run(tx, insert, PG_ARGS(pg_int(23)), NULL), -EEXIST);
    assert_int_equal(pg_commit_at(tx, &position), -EIO);
    assert_int_equal(stats_now().open, 1);
    assert_int_equal(run_sql("SELECT 1"), 0);
}

static void a_write_knows_its_position(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        bool prepared = i == 0;

        run_task(write_and_ask, &prepared, 0);
        assert_int_equal(outcome, TASK_DONE);
    }
}

static void ask_for_none(void *arg)
{
    struct pg_options options = pool_options();
    uint64_t position = 7;
    struct pg_tx *tx;

    (void)arg;
    use_pool(&options);
    assert_int_equal(pg_write(pg, STATEMENT("SELECT 1", 0), PG_NO_ARGS, NULL, &position),
                     0);
    assert_int_equal(position, PG_POSITION_NONE);
    assert_int_equal(pg_begin(pg, &tx), 0);
    position = 7;
    assert_int_equal(pg_commit_at(tx, &position), 0);
    assert_int_equal(position, PG_POSITION_NONE);
    assert_int_equal(pg_settled_ms(pg), 0);
    assert_false(pg_has_reader(pg));
}

static void without_replicas_nothing_is_asked(void **state)
{
    (void)state;
    run_task(ask_for_none, NULL, 0);
    assert_int_equal(outcome, TASK_DONE);
}

/* ---- a primary that takes no writes any more ---- */

static void turn_read_only(void *arg)
{
    struct pg_options options = pool_options();
    struct pg_tx *tx;

    (void)arg;
    use_pool(&options);
    assert_int_equal(run_sql("DROP TABLE IF EXISTS marks"), 0);
    assert_int_equal(run_sql("CREATE TABLE marks (i int PRIMARY KEY)"), 0);
    assert_int_equal(pg_begin(pg, &tx), 0);
    assert_int_equal(pg_tx_run(tx, STATEMENT("SELECT 1", 0), PG_NO_ARGS, NULL), 0);
    unsigned epoch = pg->epoch;
    assert_int_equal(run_sql("SET default_transaction_read_only = on"), 0);
    assert_int_equal(run_sql("INSERT INTO marks VALUES (1)"), -EAGAIN);
    assert_int_equal(pg->epoch, epoch + 1);
    /* Those that are open are not used again, also the one in use; new ones are. */
    assert_int_equal(stats_now().idle, 0);
    assert_int_equal(pg_commit(tx), 0);
    assert_int_equal(stats_now().open, 0);
    assert_int_equal(run_sql("INSERT INTO marks VALUES (1)"), 0);
}

static void a_read_only_primary_is_looked_for_elsewhere(void **state)
{
    (void)state;
    run_task(turn_read_only, NULL, 0);
    assert_int_equal(outcome, TASK_DONE);
}

static void names(void **state)
{
    static const struct {
        const char *url, *name;
    } rows[] = {
        { "postgresql://u:p@a/d", "a:5432" },
        { "postgresql://u:p@a:1,b:2/d", "a:1,b:2" },
        { "host=a,b port=7 dbname=d password=p", "a:7,b:7" },
        { "postgresql:///d?host=/run/x", "/run/x:5432" },
        { "postgresql:///d", "localhost:5432" },
        { "hostaddr=10.0.0.1", "10.0.0.1:5432" },
    };
    char name[64];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        pg_server_name(rows[i].url, name, sizeof(name));
        assert_string_equal(name, rows[i].name);
    }
    pg_server_name("postgresql://u:p@a-long-name:1,another-long-name:2/d", name, 20);
    assert_string_equal(name, "a-long-name:1,anoth");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        POOL_TEST(by_freshness),
        POOL_TEST(without_primary),
        POOL_TEST(a_busy_primary_is_not_a_lost_one),
        POOL_TEST(a_cut_connection_is_not_a_lost_primary),
        POOL_TEST(by_load),
        POOL_TEST(a_silent_server_is_left),
        POOL_TEST(an_error_of_a_replica_is_not_the_last_word),
        POOL_TEST(a_write_knows_its_position),
        POOL_TEST(without_replicas_nothing_is_asked),
        POOL_TEST(a_read_only_primary_is_looked_for_elsewhere),
        cmocka_unit_test(names),
    };

    return cmocka_run_group_tests_name("pg_route", tests, open_server, close_server);
}
