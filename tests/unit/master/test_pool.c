/*
 * test_pool.c - a real master over children of the test's own: started, replaced,
 * drained, killed when stuck, rolled, and gone with their master.
 */
#include "tests/unit/testing.h"

#include "common/buf.h"
#include "common/clock.h"
#include "common/log.h"
#include "master/master.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the next children do; read in the child right after its fork. */
static enum { WORKS, DIES_YOUNG, GETS_STUCK, OVERRUNS } behaviour;

/* How busy they are, of a second; read all the time, so shared. */
static _Atomic int *load_percent;

static volatile sig_atomic_t told_to_end;

static void on_term(int signum)
{
    (void)signum;
    told_to_end = 1;
}

static int play(const struct role_context *context)
{
    signal(SIGTERM, on_term);
    if (behaviour == DIES_YOUNG)
        _exit(3); /* without the leak checker, which takes its time */
    snprintf(context->slot->rq_name, sizeof(context->slot->rq_name), "rq-%d", getpid());
    board_begin(context->slot, context->predecessor, "test", 0);
    if (behaviour == OVERRUNS)
        board_begin(context->slot, "job", "test.sleep", clock_ms() + 50);
    role_ready(context);
    while (!told_to_end) {
        usleep(10000);
        context->slot->count.busy_us +=
            (uint64_t)(load_percent ? *load_percent : 0) * 100;
        if (behaviour != GETS_STUCK)
            board_beat(context->slot);
    }
    context->slot->rq_name[0] = '\0'; /* as a consumer that has said good-bye to Redis */
    return 0;
}

static const struct role test_worker = { .name = "worker",
                                         .board = BOARD_WORKER,
                                         .run = play };
static const struct role test_consumer = {
    .name = "consumer", .board = BOARD_CONSUMER, .run = play, .finishes_jobs = true
};

static struct options *make_options(void)
{
    static const char *const sets[] = { "server.timeout=1", "server.graceful_timeout=2",
                                        "jobs.kill_grace=100ms", NULL };
    struct conf_input input = { .sets = sets };
    struct buf errors = BUF_HEAP;
    struct options *options = options_load(&input, &errors);

    if (!options)
        fatal("%s", buf_text(&errors));
    return options;
}

static struct master *start(const struct role *role, int count)
{
    static struct master m;

    behaviour = WORKS;
    master_init(&m, make_options(), 16);
    m.phase = PHASE_SERVING;
    m.was_announced = true;
    for (int i = 0; i < SERVICE_COUNT; i++)
        m.services.services[i].probe_fd = -1;
    assert_non_null(pool_add(&m, role, "test", count));
    return &m;
}

static void finish(struct master *m)
{
    stop_begin(m, true);
    while (m->phase != PHASE_GONE)
        master_turn(m, 100);
    options_free(m->options);
    master_done(m);
}

static bool turn_until_ready(struct master *m, int count, uint64_t within_ms)
{
    uint64_t end = clock_ms() + within_ms;

    while (clock_ms() < end) {
        master_turn(m, 20);
        if (pool_ready(m, &m->pools[0]) == count &&
            pool_running(m, &m->pools[0]) == count)
            return true;
    }
    return false;
}

static void turn_for(struct master *m, uint64_t ms)
{
    for (uint64_t end = clock_ms() + ms; clock_ms() < end;)
        master_turn(m, 10);
}

static struct child *child_number(struct master *m, int number)
{
    for (size_t i = 0; i < board_slots(m->board); i++)
        if (m->children[i].pid && board_slot(m->board, i)->number == number)
            return &m->children[i];
    return NULL;
}

static void a_killed_child_is_replaced_at_once(void **state)
{
    struct master *m = start(&test_worker, 3);
    (void)state;

    assert_true(turn_until_ready(m, 3, 2000));
    pid_t pid = child_number(m, 2)->pid;
    uint64_t killed = clock_ms();
    kill(pid, SIGKILL);
    while (!child_number(m, 2) || child_number(m, 2)->pid == pid ||
           !child_number(m, 2)->was_ready)
        master_turn(m, 20);
    assert_true(clock_ms() - killed < 200);
    assert_int_equal(board_shared(m->board)->restarts, 1);
    assert_int_equal(m->pools[0].failures, 0);
    finish(m);
}

static void a_smaller_count_drains_the_newest(void **state)
{
    struct master *m = start(&test_worker, 2);
    (void)state;

    assert_true(turn_until_ready(m, 2, 2000));
    pid_t first = child_number(m, 1)->pid;
    assert_int_equal(pool_scale(m, &m->pools[0], 5), 0);
    assert_true(turn_until_ready(m, 5, 2000));
    assert_int_equal(child_number(m, 1)->pid, first);
    assert_int_equal(pool_scale(m, &m->pools[0], 1), 0);
    assert_true(turn_until_ready(m, 1, 2000));
    turn_for(m, 100);
    assert_int_equal(pools_left(m), 1);
    assert_int_equal(child_number(m, 1)->pid, first);
    assert_int_equal(pool_scale(m, &m->pools[0], 16), -ENOSPC);
    finish(m);
}

static void an_order_ends_when_its_time_is_over(void **state)
{
    struct master *m = start(&test_worker, 1);
    struct pool *pool = &m->pools[0];
    (void)state;

    assert_true(turn_until_ready(m, 1, 2000));
    assert_int_equal(pool_order(m, pool, 3, 500, "alice (uid 7)"), 0);
    assert_true(pool->order.is_given && pool->order.until_unix_ms > 0);
    assert_string_equal(pool->order.who, "alice (uid 7)");
    assert_true(turn_until_ready(m, 3, 2000));
    assert_true(turn_until_ready(m, 1, 5000)); /* by itself */
    assert_false(pool->order.is_given);
    assert_int_equal(pool_order(m, pool, 2, 0, "alice (uid 7)"), 0);
    assert_int_equal(pool->order.until_unix_ms, 0); /* until it is taken back */
    assert_int_equal(pool_take_back(m, pool), 0);
    assert_int_equal(pool->wanted, 1);
    assert_int_equal(pool_order(m, pool, 16, 0, "alice (uid 7)"), -ENOSPC);
    assert_false(pool->order.is_given);
    finish(m);
}

static bool turn_until_wanted(struct master *m, int wanted, uint64_t within_ms)
{
    uint64_t end = clock_ms() + within_ms;

    while (clock_ms() < end && m->pools[0].wanted != wanted)
        master_turn(m, 20);
    return m->pools[0].wanted == wanted;
}

static void the_load_scales_a_pool_whose_count_is_a_range(void **state)
{
    load_percent =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct master *m = start(&test_worker, 1);
    struct pool *pool = &m->pools[0];
    (void)state;

    m->options->autoscale.window = 1000;
    m->options->autoscale.calm = 1000;
    pool->most = 2;
    *load_percent = 99;
    assert_true(turn_until_wanted(m, 2, 20000));
    assert_true(turn_until_ready(m, 2, 5000));
    *load_percent = 0;
    assert_true(turn_until_wanted(m, 1, 20000));
    /* An operator's count stands, whatever the load is; then it goes on from there. */
    assert_int_equal(pool_order(m, pool, 2, 0, "alice"), 0);
    turn_for(m, 4000);
    assert_int_equal(pool->wanted, 2);
    assert_int_equal(pool_take_back(m, pool), 0);
    assert_int_equal(pool->wanted, 2);
    assert_true(turn_until_wanted(m, 1, 20000));
    finish(m);
    munmap((void *)load_percent, 4096);
    load_percent = NULL;
}

static void young_deaths_are_paused_and_one_ready_child_clears_them(void **state)
{
    struct master *m = start(&test_worker, 4);
    (void)state;

    behaviour = DIES_YOUNG;
    /* Four forks; one more at once; and only 0.1 s later the next, and so on. */
    uint64_t begun = clock_ms();
    while (m->pools[0].failures < 4)
        master_turn(m, 20);
    assert_true(clock_ms() - begun >= 300);
    assert_int_equal(board_shared(m->board)->restarts, 4 + 3);
    assert_int_equal(pools_left(m), 0);
    behaviour = WORKS;
    assert_true(turn_until_ready(m, 4, 2000));
    assert_int_equal(m->pools[0].failures, 0);
    finish(m);
}

static void the_pause_grows_to_half_a_minute(void **state)
{
    static const uint64_t pauses[] = { 0,    0,    100,   200,   400,   800,  1600,
                                       3200, 6400, 12800, 25600, 30000, 30000 };
    (void)state;

    for (unsigned i = 0; i < sizeof(pauses) / sizeof(pauses[0]); i++)
        assert_int_equal(pool_pause_ms(i), pauses[i]);
    assert_int_equal(pool_pause_ms(100000), 30000);
}

static void a_silent_child_is_killed_and_replaced(void **state)
{
    struct master *m = start(&test_worker, 1);
    (void)state;

    behaviour = GETS_STUCK;
    assert_true(turn_until_ready(m, 1, 2000));
    pid_t stuck = child_number(m, 1)->pid;
    behaviour = WORKS;
    uint64_t end = clock_ms() + 4000;
    while (clock_ms() < end && (!child_number(m, 1) || child_number(m, 1)->pid == stuck))
        master_turn(m, 50);
    assert_true(turn_until_ready(m, 1, 1000));
    assert_int_equal(board_shared(m->board)->kills, 1);
    assert_int_equal(kill(stuck, 0), -1);
    finish(m);
}

static void nobody_is_killed_because_everybody_slept(void **state)
{
    struct master *m = start(&test_worker, 1);
    (void)state;

    assert_true(turn_until_ready(m, 1, 2000));
    kill(child_number(m, 1)->pid, SIGSTOP);
    usleep(2200000); /* the master, too, does not turn: longer than server.timeout */
    turn_for(m, 100);
    assert_int_equal(board_shared(m->board)->kills, 0);
    kill(child_number(m, 1)->pid, SIGCONT);
    turn_for(m, 1200);
    assert_int_equal(board_shared(m->board)->kills, 0);
    finish(m);
}

static void a_consumer_past_its_deadline_is_killed(void **state)
{
    struct master *m = start(&test_consumer, 1);
    (void)state;

    behaviour = OVERRUNS;
    assert_true(turn_until_ready(m, 1, 2000));
    behaviour = WORKS;
    for (uint64_t end = clock_ms() + 3000;
         clock_ms() < end && board_shared(m->board)->kills == 0;)
        master_turn(m, 50);
    assert_int_equal(board_shared(m->board)->kills, 1);
    assert_true(turn_until_ready(m, 1, 2000));
    finish(m);
}

/* The name of the dead one, as the new one found it in its context. */
static const char *inherited_by(struct master *m, int number)
{
    static struct board_doing doing;
    const struct child *child = child_number(m, number);

    assert_true(
        board_read_doing(board_slot(m->board, (size_t)(child - m->children)), &doing));
    return doing.id;
}

static void a_dead_consumers_name_goes_to_its_replacement(void **state)
{
    struct master *m = start(&test_consumer, 2);
    char expected[40];
    (void)state;

    assert_true(turn_until_ready(m, 2, 2000));
    assert_string_equal(inherited_by(m, 1), "");
    pid_t dead = child_number(m, 1)->pid;
    snprintf(expected, sizeof(expected), "rq-%d", dead);
    behaviour = DIES_YOUNG; /* the first heir dies before it could do anything */
    kill(dead, SIGKILL);
    while (m->pools[0].failures == 0)
        master_turn(m, 20);
    behaviour = WORKS;
    assert_true(turn_until_ready(m, 2, 2000));
    assert_string_equal(inherited_by(m, 1), expected);
    assert_int_equal(m->pools[0].orphan_count, 0);

    /* Who leaves in order leaves nothing behind. */
    pool_scale(m, &m->pools[0], 1);
    turn_for(m, 200);
    assert_int_equal(m->pools[0].orphan_count, 0);
    finish(m);
}

static void a_new_generation_comes_in_one_by_one(void **state)
{
    struct master *m = start(&test_worker, 3);
    (void)state;

    assert_true(turn_until_ready(m, 3, 2000));
    m->pools[0].generation++;
    for (uint64_t end = clock_ms() + 3000; clock_ms() < end;) {
        int old = 0, ready;

        master_turn(m, 10);
        ready = pool_ready(m, &m->pools[0]);
        assert_in_range(ready, 3, 4);
        for (size_t i = 0; i < board_slots(m->board); i++)
            old += m->children[i].pid && m->children[i].generation != 1;
        if (old == 0)
            break;
    }
    assert_true(turn_until_ready(m, 3, 1000));
    for (size_t i = 0; i < board_slots(m->board); i++)
        assert_true(!m->children[i].pid || m->children[i].generation == 1);
    finish(m);
}

static void a_new_generation_that_dies_leaves_the_old_one_alone(void **state)
{
    struct master *m = start(&test_worker, 2);
    (void)state;

    assert_true(turn_until_ready(m, 2, 2000));
    pid_t first = child_number(m, 1)->pid, second = child_number(m, 2)->pid;
    behaviour = DIES_YOUNG;
    m->pools[0].generation++;
    for (uint64_t end = clock_ms() + 5000; clock_ms() < end && m->pools[0].failures < 3;)
        master_turn(m, 20);
    assert_int_equal(m->pools[0].failures, 3);
    assert_int_equal(child_number(m, 1)->pid, first);
    assert_int_equal(child_number(m, 2)->pid, second);
    assert_int_equal(pool_ready(m, &m->pools[0]), 2);
    finish(m);
}

static void a_graceful_stop_ends_all(void **state)
{
    struct master *m = start(&test_worker, 3);
    (void)state;

    assert_true(turn_until_ready(m, 3, 2000));
    uint64_t begun = clock_ms();
    stop_begin(m, false);
    while (m->phase != PHASE_GONE)
        master_turn(m, 100);
    assert_true(clock_ms() - begun < 1000);
    assert_int_equal(pools_left(m), 0);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    options_free(m->options);
    master_done(m);
}

static void children_end_with_their_master(void **state)
{
    int ends[2];
    pid_t children[2] = { 0 };
    (void)state;

    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct master *m = start(&test_worker, 2);

        turn_until_ready(m, 2, 2000);
        for (int i = 1; i <= 2; i++)
            if (write(ends[1], &child_number(m, i)->pid, sizeof(pid_t)) < 0)
                _exit(1);
        kill(getpid(), SIGKILL);
    }
    for (int i = 0; i < 2; i++)
        assert_int_equal(read(ends[0], &children[i], sizeof(pid_t)), sizeof(pid_t));
    waitpid(pid, NULL, 0);
    for (int i = 0; i < 2; i++) {
        char path[64], text[256] = "";

        usleep(50000); /* gone, or a zombie whose adoptive parent has not looked yet */
        snprintf(path, sizeof(path), "/proc/%d/stat", children[i]);
        FILE *file = fopen(path, "re");
        if (file && !fgets(text, sizeof(text), file))
            text[0] = '\0';
        if (file)
            fclose(file);
        assert_true(!*text || strstr(text, ") Z ") || strstr(text, ") X "));
    }
    close(ends[0]);
    close(ends[1]);
}

/* A status as wait(2) has it: a signal's number, or an exit status above it. */
static void an_end_that_was_asked_for_is_no_death(void **state)
{
    static const struct {
        bool is_draining, was_ready;
        int status;
        bool is_on_purpose;
    } cases[] = {
        { true, true, 0, true },          { true, false, 0, true },
        { false, true, 0, false },        { true, false, SIGTERM, true },
        { true, false, SIGINT, true },    { true, false, SIGKILL, false },
        { false, false, SIGTERM, false }, /* somebody else's wish */
        { true, true, SIGTERM, false },   /* it should have drained */
        { true, true, 1 << 8, false },    { false, true, ROLE_DONE << 8, true },
    };
    struct pool pool = { .role = &test_worker };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct child child = { .pool = &pool,
                               .is_draining = cases[i].is_draining,
                               .was_ready = cases[i].was_ready };

        if (child_ended_on_purpose(&child, cases[i].status) != cases[i].is_on_purpose)
            fail_msg("case %zu", i);
    }
}

/* What kept processes from starting may be what the reload puts right. */
static void a_reload_does_not_wait_for_a_pause_to_end(void **state)
{
    struct master *m = start(&test_worker, 1);
    struct buf report = BUF_HEAP;
    (void)state;

    assert_true(turn_until_ready(m, 1, 2000));
    behaviour = DIES_YOUNG;
    assert_int_equal(pool_scale(m, &m->pools[0], 3), 0);
    for (uint64_t end = clock_ms() + 5000; m->pools[0].failures < 3 && clock_ms() < end;)
        master_turn(m, 10);
    assert_true(m->pools[0].failures >= 3);
    m->pools[0].fork_at = clock_ms() + 30000; /* as it would be after some more */
    behaviour = WORKS;
    assert_true(reload_restart(m, &report));
    assert_true(turn_until_ready(m, 3, 8000));
    assert_int_equal(m->pools[0].failures, 0);
    buf_done(&report);
    finish(m);
}

/* That it hangs instead of dying at once makes it no better. */
static void who_never_gets_ready_speaks_against_its_generation(void **state)
{
    struct master *m = start(&test_worker, 2);
    struct buf report = BUF_HEAP;
    (void)state;

    assert_true(turn_until_ready(m, 2, 2000));
    assert_true(reload_restart(m, &report));
    unsigned before = m->generation;
    for (uint64_t end = clock_ms() + 5000; m->generation == before && clock_ms() < end;)
        master_turn(m, 10);
    assert_int_equal(m->generation, before + 1); /* the proof was fine */
    behaviour = DIES_YOUNG;
    for (uint64_t end = clock_ms() + 8000; !m->reload.has_failed && clock_ms() < end;) {
        for (size_t i = 0; i < board_slots(m->board); i++)
            if (m->children[i].pid && !m->children[i].was_ready)
                board_slot(m->board, i)->started_ms -= 60000; /* so long it hung */
        master_turn(m, 10);
    }
    assert_true(m->reload.has_failed);
    assert_non_null(strstr(m->reload.failure, "cannot stay up"));
    behaviour = WORKS;
    assert_true(turn_until_ready(m, 2, 8000));
    buf_done(&report);
    finish(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_child_is_replaced_at_once),
        cmocka_unit_test(a_smaller_count_drains_the_newest),
        cmocka_unit_test(an_order_ends_when_its_time_is_over),
        cmocka_unit_test(the_load_scales_a_pool_whose_count_is_a_range),
        cmocka_unit_test(young_deaths_are_paused_and_one_ready_child_clears_them),
        cmocka_unit_test(the_pause_grows_to_half_a_minute),
        cmocka_unit_test(a_silent_child_is_killed_and_replaced),
        cmocka_unit_test(nobody_is_killed_because_everybody_slept),
        cmocka_unit_test(a_consumer_past_its_deadline_is_killed),
        cmocka_unit_test(a_dead_consumers_name_goes_to_its_replacement),
        cmocka_unit_test(a_new_generation_comes_in_one_by_one),
        cmocka_unit_test(a_new_generation_that_dies_leaves_the_old_one_alone),
        cmocka_unit_test(a_graceful_stop_ends_all),
        cmocka_unit_test(children_end_with_their_master),
        cmocka_unit_test(an_end_that_was_asked_for_is_no_death),
        cmocka_unit_test(a_reload_does_not_wait_for_a_pause_to_end),
        cmocka_unit_test(who_never_gets_ready_speaks_against_its_generation),
    };

    log_set_level(LOGL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
