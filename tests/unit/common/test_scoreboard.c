/*
 * test_scoreboard.c - slots are given, read across a fork, and survive a torn write.
 */
#include "common/clock.h"
#include "common/scoreboard.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void slots_are_given_until_none_is_left(void **state)
{
    struct scoreboard *board = board_new(2);
    (void)state;

    assert_non_null(board);
    assert_int_equal(board_slots(board), 2);
    assert_int_equal(board_take(board, BOARD_WORKER, 1, NULL), 0);
    assert_int_equal(board_take(board, BOARD_CONSUMER, 1, "default"), 1);
    assert_int_equal(board_take(board, BOARD_WORKER, 2, NULL), -1);

    struct board_slot *slot = board_slot(board, 1);
    assert_int_equal(slot->role, BOARD_CONSUMER);
    assert_int_equal(slot->state, BOARD_STARTING);
    assert_string_equal(slot->pool, "default");
    assert_int_equal(slot->generation, 1);
    assert_true(clock_ms() - slot->count.beat_ms < 1000);

    board_release(board, 1);
    assert_int_equal(board_take(board, BOARD_WORKER, 2, NULL), 1);
    assert_int_equal(slot->generation, 2);
    assert_string_equal(slot->pool, "");
    board_free(board);
    board_free(NULL);
}

static void a_child_is_seen_by_its_parent(void **state)
{
    struct scoreboard *board = board_new(1);
    struct board_slot *slot = board_slot(board, 0);
    struct board_doing doing;
    (void)state;

    board_take(board, BOARD_WORKER, 1, NULL);
    pid_t pid = fork();
    if (pid == 0) {
        char long_text[200];

        memset(long_text, 'x', sizeof(long_text) - 1);
        long_text[sizeof(long_text) - 1] = '\0';
        board_set_state(slot, BOARD_READY);
        board_begin(slot, "request-1", long_text, 12345);
        board_waiting(slot, "pg:bookmark_list");
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    assert_int_equal(slot->state, BOARD_READY);
    assert_true(board_read_doing(slot, &doing));
    assert_string_equal(doing.id, "request-1");
    assert_int_equal(strlen(doing.what), sizeof(doing.what) - 1);
    assert_string_equal(doing.waiting_on, "pg:bookmark_list");
    assert_int_equal(doing.deadline_ms, 12345);
    assert_true(doing.since_ms > 0);

    board_end(slot);
    assert_true(board_read_doing(slot, &doing));
    assert_int_equal(doing.since_ms, 0);
    assert_string_equal(doing.id, "");
    board_free(board);
}

static void a_torn_slot_is_told_and_can_be_given_again(void **state)
{
    struct scoreboard *board = board_new(1);
    struct board_slot *slot = board_slot(board, 0);
    struct board_doing doing;
    (void)state;

    board_take(board, BOARD_WORKER, 1, NULL);
    slot->sequence++; /* as a process killed in board_begin() leaves it */
    assert_false(board_read_doing(slot, &doing));
    board_release(board, 0);
    assert_int_equal(board_take(board, BOARD_WORKER, 1, NULL), 0);
    assert_true(board_read_doing(slot, &doing));
    board_begin(slot, "a", "b", 0);
    assert_true(board_read_doing(slot, &doing));
    assert_string_equal(doing.id, "a");
    board_free(board);
}

/* Whatever a reader accepts is one whole write, never a mixture of two. */
static void readers_never_see_a_mixture(void **state)
{
    struct scoreboard *board = board_new(1);
    struct board_slot *slot = board_slot(board, 0);
    int seen = 0;
    (void)state;

    board_take(board, BOARD_WORKER, 1, NULL);
    pid_t pid = fork();
    if (pid == 0) {
        for (uint64_t i = 1;; i++) {
            char text[48];

            snprintf(text, sizeof(text), "%040llu", (unsigned long long)i);
            board_begin(slot, text, text, i);
        }
    }
    for (uint64_t end = clock_ms() + 200; clock_ms() < end;) {
        struct board_doing doing;
        char text[48];

        if (!board_read_doing(slot, &doing) || doing.deadline_ms == 0)
            continue;
        snprintf(text, sizeof(text), "%040llu", (unsigned long long)doing.deadline_ms);
        assert_string_equal(doing.id, text);
        assert_string_equal(doing.what, text);
        seen++;
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    assert_true(seen > 0);
    board_free(board);
}

static void latencies_fall_into_their_buckets(void **state)
{
    static const struct {
        uint64_t microseconds;
        int bucket;
    } cases[] = {
        { 0, 0 },        { 5000, 0 },     { 5001, 1 },     { 100000, 5 },
        { 1000000, 11 }, { 5000000, 13 }, { 5000001, 14 }, { 60000000, 14 },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct scoreboard *board = board_new(1);
        struct board_slot *slot = board_slot(board, 0);

        board_observe(slot, cases[i].microseconds);
        assert_int_equal(slot->count.latency[cases[i].bucket], 1);
        assert_int_equal(slot->count.latency_sum_us, cases[i].microseconds);
        board_free(board);
    }
}

static void backlogs_are_found_by_their_pool(void **state)
{
    struct scoreboard *board = board_new(2);

    (void)state;
    assert_null(board_backlog(board, "default"));
    board_name_backlog(board, 3, "default");
    board_name_backlog(board, BOARD_BACKLOGS - 1, "bulk");
    board_backlog(board, "bulk")->waiting = 7;
    board_backlog(board, "bulk")->counted_ms = 1;
    assert_int_equal(board_backlog(board, "default")->waiting, 0);
    assert_int_equal(board_backlog(board, "bulk")->waiting, 7);
    board_name_backlog(board, BOARD_BACKLOGS - 1, "other"); /* its place went on */
    assert_null(board_backlog(board, "bulk"));
    assert_int_equal(board_backlog(board, "other")->counted_ms, 0);
    assert_null(board_backlog(board, ""));
    board_free(board);
}

/* 100 ms at work, a second of waiting: after that it will not come soon. */
static void who_is_awake(void **state)
{
    static const struct {
        uint64_t age_ms;
        bool waits, is_awake;
    } rows[] = {
        { 0, false, true },  { 100, false, true }, { 101, false, false },
        { 101, true, true }, { 1000, true, true }, { 1001, true, false },
    };
    struct scoreboard *board = board_new(1);
    struct board_slot *slot =
        board_slot(board, (size_t)board_take(board, BOARD_WORKER, 1, NULL));

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        board_beat(slot);
        if (rows[i].waits)
            board_waits(slot);
        if (board_is_awake(slot, slot->count.beat_ms + rows[i].age_ms) !=
            rows[i].is_awake)
            fail_msg("row %zu", i);
    }
    board_free(board);
}

/* Counters move to the past, gauges do not, and a slot given away again starts at 0. */
static void what_a_child_counted_outlives_it(void **state)
{
    struct scoreboard *board = board_new(2);
    struct board_totals totals;
    (void)state;

    for (int life = 1; life <= 3; life++) {
        int index = board_take(board, BOARD_WORKER, 1, NULL);
        struct board_slot *slot = board_slot(board, (size_t)index);

        assert_int_equal(slot->count.requests, 0);
        slot->count.requests += 10;
        slot->count.responses[4] += 1;
        slot->count.connections = 5;
        board_observe(slot, 100000);
        board_sum(board, &totals);
        assert_int_equal(totals.of[BOARD_WORKER].requests, 10 * life);
        board_release(board, index);
        board_sum(board, &totals);
        assert_int_equal(totals.of[BOARD_WORKER].requests, 10 * life);
        assert_int_equal(totals.of[BOARD_WORKER].responses[4], life);
        assert_int_equal(totals.of[BOARD_WORKER].latency[5], life);
        assert_int_equal(totals.of[BOARD_WORKER].latency_sum_us, 100000 * life);
        assert_int_equal(totals.of[BOARD_WORKER].connections, 0);
        assert_int_equal(totals.of[BOARD_CONSUMER].requests, 0);
    }
    board_free(board);
}

/* A child that reads while its parent gives slots away never sees a sum fall. */
static void sums_never_fall(void **state)
{
    struct scoreboard *board = board_new(4);
    int status;
    (void)state;

    pid_t pid = fork();
    if (pid == 0) {
        struct board_totals totals;
        uint64_t last = 0;

        while (!board_shared(board)->is_stopping) {
            board_sum(board, &totals);
            if (totals.of[BOARD_WORKER].requests < last)
                _exit(1);
            last = totals.of[BOARD_WORKER].requests;
        }
        _exit(last == 0);
    }
    for (int i = 0; i < 5000; i++) {
        int index = board_take(board, BOARD_WORKER, 1, NULL);

        board_slot(board, (size_t)index)->count.requests += 3;
        board_release(board, index);
        usleep(20); /* a master does not do this all the time */
    }
    usleep(100000); /* the reader's turn, on a machine with one processor */
    board_shared(board)->is_stopping = 1;
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    board_free(board);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_are_given_until_none_is_left),
        cmocka_unit_test(a_child_is_seen_by_its_parent),
        cmocka_unit_test(a_torn_slot_is_told_and_can_be_given_again),
        cmocka_unit_test(readers_never_see_a_mixture),
        cmocka_unit_test(latencies_fall_into_their_buckets),
        cmocka_unit_test(backlogs_are_found_by_their_pool),
        cmocka_unit_test(who_is_awake),
        cmocka_unit_test(what_a_child_counted_outlives_it),
        cmocka_unit_test(sums_never_fall),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
