/*
 * test_scoreboard_history.c - counters as text and back, for another program.
 */
#include "tests/unit/testing.h"

#include "common/buf.h"
#include "common/scoreboard_history.h"
#include <string.h>

static const struct board_history nothing;

/* Every line of `text` into `history`. */
static void read_all(struct board_history *history, char *text)
{
    char *save = NULL;

    for (char *line = strtok_r(text, "\n", &save); line;
         line = strtok_r(NULL, "\n", &save))
        assert_true(board_history_read(history, line));
}

static void count_something(struct scoreboard *board, int slot)
{
    struct board_counters *count = &board_slot(board, (size_t)slot)->count;

    count->requests += 1000;
    count->responses[1] += 998;
    count->responses[4] += 2;
    board_observe(board_slot(board, (size_t)slot), 7000);
    board_shared(board)->kills++;
    board_shared(board)->restarts_by[BOARD_WORKER][BOARD_RESTART_OOM] += 3;
}

static void everything_that_grows_is_taken_along(void **state)
{
    struct scoreboard *board = board_new(4), *next = board_new(2);
    struct board_history now, taken = { .kills = 0 };
    struct buf text = BUF_HEAP;
    int worker = board_take(board, BOARD_WORKER, 1, "web");
    int consumer = board_take(board, BOARD_CONSUMER, 1, "default");
    int gone = board_take(board, BOARD_WORKER, 2, "web");
    (void)state;

    count_something(board, worker);
    count_something(board, gone);
    board_slot(board, (size_t)consumer)->count.jobs_done = UINT64_MAX - 1;
    board_slot(board, (size_t)worker)->count.connections = 5; /* a gauge stays behind */
    board_release(board, gone);

    board_history_take(board, &now);
    board_history_write(&now, &nothing, &text);
    assert_non_null(strstr(buf_text(&text), "count requests 1 2000\n"));
    assert_null(strstr(buf_text(&text), "connections"));
    read_all(&taken, text.data);
    board_history_add(next, &taken);

    struct board_totals sum;
    board_sum(next, &sum);
    assert_int_equal(sum.of[BOARD_WORKER].requests, 2000);
    assert_int_equal(sum.of[BOARD_WORKER].responses[4], 4);
    assert_int_equal(sum.of[BOARD_WORKER].latency[1], 2);
    assert_int_equal(sum.of[BOARD_CONSUMER].jobs_done, UINT64_MAX - 1);
    assert_int_equal(board_shared(next)->kills, 2);
    assert_int_equal(board_shared(next)->restarts_by[BOARD_WORKER][BOARD_RESTART_OOM], 6);
    /* And so often as one likes. */
    struct board_history again;
    board_history_take(next, &again);
    assert_memory_equal(&again, &now, sizeof(now));
    buf_done(&text);
    board_free(board);
    board_free(next);
}

static void only_the_difference_is_written(void **state)
{
    struct scoreboard *board = board_new(2);
    int worker = board_take(board, BOARD_WORKER, 1, "web");
    struct board_history before, now;
    struct buf text = BUF_HEAP;
    (void)state;

    count_something(board, worker);
    board_history_take(board, &before);
    board_history_write(&before, &before, &text);
    assert_int_equal(text.length, 0);
    board_slot(board, (size_t)worker)->count.responses[4] += 5;
    board_history_take(board, &now);
    board_history_write(&now, &before, &text);
    assert_string_equal(buf_text(&text), "count responses 1 0 0 0 0 5\n");
    buf_done(&text);
    board_free(board);
}

static void what_another_version_writes_is_read_as_far_as_it_goes(void **state)
{
    struct board_history history = { .kills = 0 };
    (void)state;

    assert_false(board_history_read(&history, "event 1 start x"));
    assert_false(board_history_read(&history, "count no_such_counter 1 5"));
    assert_false(board_history_read(&history, "count requests 99 5"));
    assert_false(board_history_read(&history, "count requests -1 5"));
    assert_false(board_history_read(&history, "count kills 1 5"));
    assert_false(board_history_read(&history, "count "));
    assert_memory_equal(&history, &nothing, sizeof(history));
    assert_true(board_history_read(&history, "count requests 1"));
    assert_true(board_history_read(&history, "count requests 1 x"));
    assert_memory_equal(&history, &nothing, sizeof(history));
    assert_true(board_history_read(&history, "count responses 1 1 2 3 4 5 6 7 8"));
    assert_int_equal(history.totals.of[1].responses[0], 1);
    assert_int_equal(history.totals.of[1].responses[4], 5);
    assert_true(board_history_read(&history, "count responses 1 9"));
    assert_int_equal(history.totals.of[1].responses[0], 10);
    assert_true(board_history_read(&history, "count kills 0 3"));
    assert_int_equal(history.kills, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_that_grows_is_taken_along),
        cmocka_unit_test(only_the_difference_is_written),
        cmocka_unit_test(what_another_version_writes_is_read_as_far_as_it_goes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
