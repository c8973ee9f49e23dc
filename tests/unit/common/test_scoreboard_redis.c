/*
 * test_scoreboard_redis.c - Redis servers, counted by the processes that see them.
 */
#include "common/scoreboard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static struct board_slot *ready_slot(struct scoreboard *board, int number)
{
    int place = board_take(board, BOARD_WORKER, number, NULL);
    struct board_slot *slot = board_slot(board, (size_t)place);

    slot->state = BOARD_READY;
    return slot;
}

static void a_server_counts_once_a_process(void **state)
{
    struct scoreboard *board = board_new(2);
    struct board_slot *first = ready_slot(board, 1), *second = ready_slot(board, 2);
    struct board_redis *queue = board_redis_place(first, BOARD_REDIS_QUEUE, "a:1");
    struct board_redis *cache = board_redis_place(first, BOARD_REDIS_CACHE, "a:1");
    struct board_redis *other = board_redis_place(second, BOARD_REDIS_CACHE, "b:1");
    struct board_redis_sum sums[4];
    (void)state;

    queue->state = cache->state = BOARD_REDIS_UP;
    assert_int_equal(board_sum_redis(board, sums, 4), 2);
    assert_string_equal(sums[0].name, "a:1");
    assert_string_equal(board_redis_use_name(sums[0].uses), "queue and cache");
    assert_int_equal(sums[0].up, 1);
    assert_int_equal(sums[1].idle, 1);

    /* The client that is worst off speaks, whichever it is. */
    cache->state = BOARD_REDIS_AWAY;
    assert_int_equal(board_sum_redis(board, sums, 4), 2);
    assert_true(sums[0].up == 0 && sums[0].away == 1);
    cache->state = BOARD_REDIS_IDLE;
    assert_int_equal(board_sum_redis(board, sums, 4), 2);
    assert_true(sums[0].up == 1 && sums[0].away == 0 && sums[0].idle == 0);

    strcpy(other->name, "a:1");
    assert_int_equal(board_sum_redis(board, sums, 4), 1);
    assert_true(sums[0].up == 1 && sums[0].idle == 1);
    board_free(board);
}

static void what_is_not_there_is_not_counted(void **state)
{
    struct scoreboard *board = board_new(1);
    struct board_slot *slot = ready_slot(board, 1);
    struct board_redis *place = board_redis_place(slot, BOARD_REDIS_QUEUE, "a:1");
    struct board_redis_sum sums[4];
    (void)state;

    place->state = BOARD_REDIS_NONE;
    assert_int_equal(board_sum_redis(board, sums, 4), 0);
    place->state = BOARD_REDIS_UP;
    slot->state = BOARD_STARTING;
    assert_int_equal(board_sum_redis(board, sums, 4), 0);
    slot->state = BOARD_DRAINING;
    assert_int_equal(board_sum_redis(board, sums, 4), 1);
    assert_null(board_redis_place(NULL, BOARD_REDIS_QUEUE, "a:1"));
    for (int i = 1; i < BOARD_REDIS; i++)
        assert_non_null(board_redis_place(slot, BOARD_REDIS_QUEUE, "a:1"));
    assert_null(board_redis_place(slot, BOARD_REDIS_QUEUE, "a:1"));
    board_free(board);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_server_counts_once_a_process),
        cmocka_unit_test(what_is_not_there_is_not_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
