/*
 * test_meter.c - what a child did lately, from two looks at its slot.
 */
#include "tests/unit/testing.h"

#include "common/clock.h"
#include "common/scoreboard.h"
#include "master/meter.h"
#include <math.h>

static struct board_slot *slot_of(struct scoreboard *board, enum board_role role)
{
    int index = board_take(board, role, 1, "test");

    assert_true(index >= 0);
    return board_slot(board, (size_t)index);
}

static void assert_near(double number, double wanted)
{
    if (fabs(number - wanted) > 0.02)
        fail_msg("%.3f instead of %.3f", number, wanted);
}

static void a_worker_is_busy_while_its_loop_does_not_wait(void **state)
{
    struct scoreboard *board = board_new(4);
    struct board_slot *slot = slot_of(board, BOARD_WORKER);
    struct meter meter = { 0 };
    uint64_t now = clock_ms();

    (void)state;
    assert_int_equal(meter_look(&meter, slot, now).wall_us, 0); /* nothing to compare */
    for (int i = 1; i <= 60; i++) {
        slot->count.busy_us += 300000;
        slot->count.requests += 50;
        slot->count.beat_ms = now + (uint64_t)i * 1000;
        struct meter_span span = meter_look(&meter, slot, now + (uint64_t)i * 1000);
        assert_int_equal(span.wall_us, 1000000);
        assert_int_equal(span.busy_us, 300000);
    }
    assert_near(meter.busy, 0.3);
    assert_near(meter.rate / 50, 1);
    board_free(board);
}

static void a_loop_that_does_not_turn_is_busy(void **state)
{
    struct scoreboard *board = board_new(4);
    struct board_slot *slot = slot_of(board, BOARD_WORKER);
    struct meter meter = { 0 };
    uint64_t now = clock_ms();

    (void)state;
    meter_look(&meter, slot, now);
    assert_int_equal(meter_look(&meter, slot, now + 1000).busy_us, 1000000);
    assert_int_equal(meter_look(&meter, slot, now + 2000).busy_us, 1000000);
    /* It turns again, and what it was busy for is not counted twice. */
    slot->count.busy_us = 2100000;
    slot->count.beat_ms = now + 3000;
    assert_int_equal(meter_look(&meter, slot, now + 3000).busy_us, 1000000);
    slot->count.beat_ms = now + 4000;
    assert_int_equal(meter_look(&meter, slot, now + 4000).busy_us, 0);
    board_free(board);
}

static void a_consumer_is_busy_while_it_has_a_job(void **state)
{
    struct scoreboard *board = board_new(4);
    struct board_slot *slot = slot_of(board, BOARD_CONSUMER);
    struct meter meter = { 0 };
    uint64_t now = clock_ms();

    (void)state;
    meter_look(&meter, slot, now);
    assert_int_equal(meter_look(&meter, slot, now + 1000).busy_us, 0);
    board_begin(slot, "job", "function", 0);
    slot->doing.since_ms = now + 1500; /* in the middle of a second, for two and a half */
    assert_int_equal(meter_look(&meter, slot, now + 2000).busy_us, 500000);
    assert_int_equal(meter_look(&meter, slot, now + 3000).busy_us, 1000000);
    slot->doing.since_ms = 0; /* as board_end() does at now + 4000 */
    slot->count.busy_us += 2500000;
    assert_int_equal(meter_look(&meter, slot, now + 4000).busy_us, 1000000);
    assert_int_equal(meter_look(&meter, slot, now + 5000).busy_us, 0);
    board_free(board);
}

static void after_a_stillstand_it_begins_anew(void **state)
{
    struct scoreboard *board = board_new(4);
    struct board_slot *slot = slot_of(board, BOARD_WORKER);
    struct meter meter = { 0 };
    uint64_t now = clock_ms();

    (void)state;
    meter_look(&meter, slot, now);
    assert_int_equal(meter_look(&meter, slot, now + 3600000).wall_us, 0);
    assert_near(meter.busy, 0);
    board_free(board);
}

static void the_end_of_a_job_counts_its_time(void **state)
{
    struct scoreboard *board = board_new(4);
    struct board_slot *consumer = slot_of(board, BOARD_CONSUMER);
    struct board_slot *worker = slot_of(board, BOARD_WORKER);

    (void)state;
    board_begin(consumer, "job", "function", 0);
    consumer->doing.since_ms -= 1500;
    board_end(consumer);
    board_end(consumer); /* idle: nothing more */
    assert_in_range(consumer->count.busy_us, 1500000, 2500000);
    board_begin(worker, "request", "/", 0);
    worker->doing.since_ms -= 1500;
    board_end(worker);
    assert_int_equal(worker->count.busy_us, 0);
    board_free(board);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_worker_is_busy_while_its_loop_does_not_wait),
        cmocka_unit_test(a_loop_that_does_not_turn_is_busy),
        cmocka_unit_test(a_consumer_is_busy_while_it_has_a_job),
        cmocka_unit_test(after_a_stillstand_it_begins_anew),
        cmocka_unit_test(the_end_of_a_job_counts_its_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
