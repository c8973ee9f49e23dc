/*
 * test_autoscale.c - the decision about recorded loads: up when it is needed, down when
 * it is calm, never there and back again under a load that stays as it is.
 */
#include "tests/unit/testing.h"

#include "common/buf.h"
#include "master/autoscale.h"
#include <stdio.h>
#include <string.h>

#define SECOND    1000
#define WINDOW_MS (10 * SECOND)
#define CALM_MS   (60 * SECOND)

static const struct autoscale_rule workers = {
    .min = 1, .max = 4, .window_ms = WINDOW_MS, .calm_ms = CALM_MS, .busy = 70
};
static const struct autoscale_rule consumers = { .has_queue = true,
                                                 .min = 0,
                                                 .max = 4,
                                                 .window_ms = WINDOW_MS,
                                                 .calm_ms = CALM_MS,
                                                 .busy = 70,
                                                 .waiting = 10,
                                                 .age_ms = 30 * SECOND };

/* A pool whose children share `work` (1.0: what keeps one of them busy all the time). */
struct play {
    struct autoscale load;
    uint64_t now_ms;
    int count, ups, downs;
    char last[160]; /* why */
};

static void note_step(struct play *play, int step, const struct buf *why)
{
    play->ups += step > 0;
    play->downs += step < 0;
    play->count += step;
    if (step != 0 || why->length > 0)
        snprintf(play->last, sizeof(play->last), "%s", why->length > 0 ? why->data : "");
}

static void second_passes(struct play *play, const struct autoscale_rule *rule,
                          double work)
{
    struct buf why = BUF_HEAP;
    double share = play->count > 0 ? work / play->count : 0;

    play->now_ms += SECOND;
    play->load.wall_us += (uint64_t)play->count * 1000000;
    play->load.busy_us +=
        (uint64_t)((share > 1 ? 1 : share) * (double)play->count * 1000000);
    note_step(play, autoscale_decide(&play->load, rule, play->count, play->now_ms, &why),
              &why);
    buf_done(&why);
}

static void seconds_pass(struct play *play, const struct autoscale_rule *rule,
                         double work, int seconds)
{
    while (seconds-- > 0)
        second_passes(play, rule, work);
}

/* The same with jobs that wait. */
static void jobs_wait(struct play *play, int64_t waiting, int64_t age_ms, double work,
                      int seconds)
{
    while (seconds-- > 0) {
        autoscale_count(&play->load, waiting, age_ms);
        second_passes(play, &consumers, work);
    }
}

static void load_lets_it_grow_one_by_one(void **state)
{
    struct play play = { .count = 1 };

    (void)state;
    seconds_pass(&play, &workers, 10, 10);
    assert_int_equal(play.count, 1); /* not before a whole window is over */
    seconds_pass(&play, &workers, 10, 1);
    assert_int_equal(play.count, 2);
    assert_string_equal(play.last,
                        "the loops were busy for 100 % of 10 s, more than 70 %");
    seconds_pass(&play, &workers, 10, 9);
    assert_int_equal(play.count, 2); /* a window of its own */
    seconds_pass(&play, &workers, 10, 60);
    assert_int_equal(play.count, 4);
    assert_int_equal(play.ups, 3);
}

static void at_most_is_said_once(void **state)
{
    struct play play = { .count = 4 };

    (void)state;
    seconds_pass(&play, &workers, 10, 12);
    assert_int_equal(play.count, 4);
    assert_non_null(strstr(play.last, "there are 4 already, the most there may be"));
    play.last[0] = '\0';
    seconds_pass(&play, &workers, 10, 60);
    assert_string_equal(play.last, "");
    seconds_pass(&play, &workers, 2, 20); /* and again after it was better */
    seconds_pass(&play, &workers, 10, 20);
    assert_non_null(strstr(play.last, "there are 4 already, the most there may be"));
}

static void calm_lets_it_shrink_one_by_one(void **state)
{
    struct play play = { .count = 4 };

    (void)state;
    seconds_pass(&play, &workers, 0.1, 60);
    assert_int_equal(play.count, 4);
    seconds_pass(&play, &workers, 0.1, 12);
    assert_int_equal(play.count, 3);
    assert_non_null(strstr(play.last, "fewer suffice"));
    seconds_pass(&play, &workers, 0.1, 40);
    assert_int_equal(play.count, 3); /* each step has a calm of its own */
    seconds_pass(&play, &workers, 0.1, 300);
    assert_int_equal(play.count, 1); /* and min is the least */
    assert_int_equal(play.downs, 3);
}

static void a_peak_ends_the_calm(void **state)
{
    struct play play = { .count = 2 };

    (void)state;
    for (int i = 0; i < 10; i++) { /* 50 s of calm, then 20 s that need both */
        seconds_pass(&play, &workers, 0.2, 50);
        seconds_pass(&play, &workers, 1.2, 20);
    }
    assert_int_equal(play.count, 2);
    assert_int_equal(play.ups + play.downs, 0);
}

/* Whatever the load is: where it has come to rest, it stays. */
static void a_steady_load_never_flaps(void **state)
{
    (void)state;
    for (double work = 0; work < 5; work += 0.05) {
        for (int count = 1; count <= 4; count++) {
            struct play play = { .count = count };

            seconds_pass(&play, &workers, work, 600);
            if (play.ups > 0 && play.downs > 0)
                fail_msg("a load of %.2f with %d at first: %d up, %d down", work, count,
                         play.ups, play.downs);
            int settled = play.count;
            seconds_pass(&play, &workers, work, 600);
            assert_int_equal(play.count, settled);
        }
    }
}

/* A recorded day in short: morning, noon, a storm, the evening. */
static void a_day(void **state)
{
    static const struct {
        double work;
        int seconds, count;
    } hours[] = {
        { 0.05, 300, 1 }, { 0.60, 300, 1 }, { 0.90, 300, 2 }, { 2.00, 300, 3 },
        { 3.90, 300, 4 }, { 2.50, 300, 4 }, { 1.20, 300, 3 }, { 0.40, 300, 1 },
    };
    struct play play = { .count = 1 };

    (void)state;
    for (size_t i = 0; i < sizeof(hours) / sizeof(hours[0]); i++) {
        seconds_pass(&play, &workers, hours[i].work, hours[i].seconds);
        if (play.count != hours[i].count)
            fail_msg("hour %zu: %d instead of %d", i, play.count, hours[i].count);
    }
    assert_int_equal(play.ups, 3);
    assert_int_equal(play.downs, 3);
}

static void jobs_that_wait_want_more_consumers(void **state)
{
    struct play play = { .count = 1 };

    (void)state;
    jobs_wait(&play, 9, SECOND, 1, 30);
    assert_int_equal(play.count, 1); /* it comes to them */
    jobs_wait(&play, 10, SECOND, 1, 21);
    assert_int_equal(play.count, 2);
    assert_string_equal(play.last, "10 jobs waited at least, 10 or more for each");
    jobs_wait(&play, 19, SECOND, 2, 30);
    assert_int_equal(play.count, 2);
    jobs_wait(&play, 1, 31 * SECOND, 2, 12);
    assert_int_equal(play.count, 3);
    assert_string_equal(play.last, "a job waited for 31.0 s, longer than 30 s");
}

/* What is there at one moment only is no backlog. */
static void a_short_burst_wants_nobody(void **state)
{
    struct play play = { .count = 1 };

    (void)state;
    for (int i = 0; i < 20; i++) {
        jobs_wait(&play, 500, SECOND, 1, 5);
        jobs_wait(&play, 0, 0, 1, 3);
    }
    assert_int_equal(play.ups, 0);
}

static void a_pool_of_none_wakes_at_once_and_sleeps_when_nothing_is_left(void **state)
{
    struct play play = { .count = 0 };

    (void)state;
    jobs_wait(&play, 0, 0, 0, 100);
    assert_int_equal(play.count, 0);
    jobs_wait(&play, 1, 0, 0, 1);
    assert_int_equal(play.count, 1);
    assert_string_equal(play.last, "1 jobs wait for nobody");
    jobs_wait(&play, 0, 0, 0.01, 200); /* the last one stays while there is any work */
    assert_int_equal(play.count, 1);
    jobs_wait(&play, 0, 0, 0, 80);
    assert_int_equal(play.count, 0);
}

/* Nothing counted (Redis or the scheduler is away): nothing decided. */
static void without_a_count_nothing_is_decided(void **state)
{
    struct play play = { .count = 2 };

    (void)state;
    seconds_pass(&play, &consumers, 0, 600);
    assert_int_equal(play.count, 2);
}

static void a_restart_forgets_the_calm(void **state)
{
    struct play play = { .count = 2 };

    (void)state;
    seconds_pass(&play, &workers, 0, 55);
    autoscale_restart(&play.load);
    seconds_pass(&play, &workers, 0, 60);
    assert_int_equal(play.count, 2);
    seconds_pass(&play, &workers, 0, 15);
    assert_int_equal(play.count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(load_lets_it_grow_one_by_one),
        cmocka_unit_test(at_most_is_said_once),
        cmocka_unit_test(calm_lets_it_shrink_one_by_one),
        cmocka_unit_test(a_peak_ends_the_calm),
        cmocka_unit_test(a_steady_load_never_flaps),
        cmocka_unit_test(a_day),
        cmocka_unit_test(jobs_that_wait_want_more_consumers),
        cmocka_unit_test(a_short_burst_wants_nobody),
        cmocka_unit_test(a_pool_of_none_wakes_at_once_and_sleeps_when_nothing_is_left),
        cmocka_unit_test(without_a_count_nothing_is_decided),
        cmocka_unit_test(a_restart_forgets_the_calm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
