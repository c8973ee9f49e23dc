/*
 * test_task.c - tasks: order, waits, deadlines, cancelling, threads, stacks.
 */
#include "common/arena.h"
#include "common/clock.h"
#include "common/task.h"
#include "tests/unit/testing.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char story[512];
static enum task_outcome outcome;
static int ends;

static void tell(const char *word)
{
    strncat(story, word, sizeof(story) - strlen(story) - 1);
}

static void note_end(void *arg, enum task_outcome how)
{
    (void)arg;
    outcome = how;
    ends++;
}

static int setup(void **state)
{
    (void)state;
    story[0] = '\0';
    ends = 0;
    task_runtime_init();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    task_runtime_done();
    return 0;
}

static void run_task(void (*run)(void *), void *arg, uint64_t timeout_ms)
{
    task_spawn(&(struct task_spec){ .name = "test",
                                    .run = run,
                                    .arg = arg,
                                    .timeout_ms = timeout_ms,
                                    .on_end = note_end });
    task_run_loop();
}

static void say_and_pause(void *arg)
{
    tell(arg);
    task_pause();
    tell(arg);
}

static void ready_tasks_take_turns(void **state)
{
    (void)state;
    task_spawn(&(struct task_spec){ .name = "a", .run = say_and_pause, .arg = "a" });
    task_spawn(&(struct task_spec){ .name = "b", .run = say_and_pause, .arg = "b" });
    assert_string_equal(story, "");
    task_run_loop();
    assert_string_equal(story, "abab");
}

/* A bar at the end of each turn, once what was asked in it is sent. */
static void end_turn(uv_prepare_t *prepare)
{
    tell("|");
    if (strlen(story) > 40)
        uv_close((uv_handle_t *)prepare, NULL);
}

static void say(void *arg)
{
    tell(arg);
}

/* Redis and PostgreSQL get their first questions while others are still to be asked. */
static void a_turn_is_sixteen_tasks(void **state)
{
    uv_prepare_t prepare;

    (void)state;
    uv_prepare_init(task_loop(), &prepare);
    uv_prepare_start(&prepare, end_turn);
    for (int i = 0; i < 40; i++)
        task_spawn(&(struct task_spec){ .name = "s", .run = say, .arg = "s" });
    task_run_loop();
    assert_string_equal(story, "ssssssssssssssss|ssssssssssssssss|ssssssss|");
}

static void sleep_and_tell(void *arg)
{
    uint64_t before = clock_ms();

    task_sleep(20);
    assert_true(clock_ms() - before >= 19);
    tell(arg);
}

static void a_sleep_lasts(void **state)
{
    (void)state;
    run_task(sleep_and_tell, "z", 0);
    assert_string_equal(story, "z");
    assert_int_equal(outcome, TASK_DONE);
    assert_int_equal(ends, 1);
}

static void tell_cancel(void *arg)
{
    tell(arg);
}

static void park_with_timeout(void *arg)
{
    (void)arg;
    int rc = task_park(&(struct task_park){ .waiting_on = "nothing",
                                            .timeout_ms = 10,
                                            .on_cancel = tell_cancel,
                                            .arg = "c" });
    assert_int_equal(rc, -ETIMEDOUT);
    tell("t");
}

static void a_wait_times_out_and_returns(void **state)
{
    (void)state;
    run_task(park_with_timeout, NULL, 0);
    assert_string_equal(story, "ct");
    assert_int_equal(outcome, TASK_DONE);
}

static void park_for_ever(void *arg)
{
    (void)arg;
    arena_defer(task_arena(), tell_cancel, "d");
    task_park(&(struct task_park){
        .waiting_on = "ever", .on_cancel = tell_cancel, .arg = "c" });
    tell("never");
}

static void a_deadline_ends_the_task_in_its_wait(void **state)
{
    (void)state;
    run_task(park_for_ever, NULL, 15);
    assert_string_equal(story, "cd");
    assert_int_equal(outcome, TASK_DEADLINE);
}

/* The lazy timer: a short wait first, then one that outlives its early firing. */
static void short_then_long(void *arg)
{
    (void)arg;
    task_park(&(struct task_park){ .waiting_on = "short", .timeout_ms = 5 });
    uint64_t before = clock_ms();
    assert_int_equal(task_park(&(struct task_park){ .timeout_ms = 40 }), -ETIMEDOUT);
    assert_true(clock_ms() - before >= 39);
    task_set_timeout(10);
    assert_true(task_time_left() <= 10);
    task_park(&(struct task_park){ .timeout_ms = 10000 });
    tell("never");
}

static void timers_are_rearmed(void **state)
{
    (void)state;
    run_task(short_then_long, NULL, 30000);
    assert_int_equal(outcome, TASK_DEADLINE);
    assert_string_equal(story, "");
}

static struct task *sleeper;

static void wake_sleeper(void *arg)
{
    (void)arg;
    assert_string_equal(task_waiting_on(sleeper), "a friend");
    task_wake(sleeper, 42);
    tell("w");
}

static void wait_for_friend(void *arg)
{
    (void)arg;
    assert_int_equal(task_park(&(struct task_park){ .waiting_on = "a friend" }), 42);
    tell("s");
}

static void a_wake_hands_over_a_result(void **state)
{
    (void)state;
    sleeper = task_spawn(&(struct task_spec){ .name = "s", .run = wait_for_friend });
    task_spawn(&(struct task_spec){ .name = "w", .run = wake_sleeper });
    task_run_loop();
    assert_string_equal(story, "ws");
    assert_int_equal(task_count(), 0);
}

static void wake_then_cancel(void *arg)
{
    (void)arg;
    task_wake(sleeper, 1);
    task_cancel(sleeper);
}

static void a_woken_task_can_be_cancelled(void **state)
{
    (void)state;
    sleeper = task_spawn(
        &(struct task_spec){ .name = "s", .run = park_for_ever, .on_end = note_end });
    task_spawn(&(struct task_spec){ .name = "w", .run = wake_then_cancel });
    task_run_loop();
    assert_string_equal(story,
                        "d"); /* no on_cancel after a wake, deferred calls always */
    assert_int_equal(outcome, TASK_CANCELLED);
}

static void never_started(void **state)
{
    (void)state;
    struct task *task = task_spawn(&(struct task_spec){
        .name = "n", .run = say_and_pause, .arg = "x", .on_end = note_end });
    task_cancel(task);
    task_run_loop();
    assert_string_equal(story, "");
    assert_int_equal(outcome, TASK_CANCELLED);
}

static void thread_sleep(void *arg)
{
    usleep(*(useconds_t *)arg);
}

static void work_and_tell(void *arg)
{
    assert_int_equal(task_work("nap", thread_sleep, arg, 0), 0);
    tell("w");
}

static void work_comes_back(void **state)
{
    useconds_t nap = 10000;

    (void)state;
    run_task(work_and_tell, &nap, 0);
    assert_string_equal(story, "w");
}

static void work_too_long(void *arg)
{
    assert_int_equal(task_work("nap", thread_sleep, arg, 5), -ETIMEDOUT);
    tell("t");
}

static void work_outlives_its_wait_but_not_its_task(void **state)
{
    useconds_t nap = 60000;
    uint64_t before = clock_ms();

    (void)state;
    run_task(work_too_long, &nap, 0);
    assert_string_equal(story, "t");
    assert_int_equal(outcome, TASK_DONE);
    assert_true(clock_ms() - before >= 55); /* on_end waited for the thread */
    assert_int_equal(ends, 1);
}

static void work_under_a_deadline(void **state)
{
    useconds_t nap = 60000;

    (void)state;
    run_task(work_and_tell, &nap, 10);
    assert_string_equal(story, "");
    assert_int_equal(outcome, TASK_DEADLINE);
    assert_int_equal(ends, 1);
}

static void read_pipe(void *arg)
{
    int *fds = arg;
    char byte;

    assert_int_equal(task_poll_fd(fds[0], UV_READABLE, 20), -ETIMEDOUT);
    assert_int_equal(write(fds[1], "x", 1), 1);
    assert_int_equal(task_poll_fd(fds[0], UV_READABLE, 1000), 0);
    assert_int_equal(read(fds[0], &byte, 1), 1);
    tell("r");
}

static void descriptors_can_be_waited_for(void **state)
{
    int fds[2];

    (void)state;
    assert_int_equal(pipe(fds), 0);
    run_task(read_pipe, fds, 0);
    assert_string_equal(story, "r");
    close(fds[0]);
    close(fds[1]);
}

static void fill_arena(void *arg)
{
    (void)arg;
    for (;;)
        arena_alloc(task_arena(), 1000);
}

static void a_full_arena_ends_its_task(void **state)
{
    struct arena *arena = arena_new(64 * 1024);

    (void)state;
    task_spawn(&(struct task_spec){
        .name = "full", .run = fill_arena, .arena = arena, .on_end = note_end });
    task_run_loop();
    assert_int_equal(outcome, TASK_ARENA_FULL);
    arena_free(arena);
}

static void use_stack(void *arg)
{
    char block[32 * 1024];

    (void)arg;
    memset(block, 1, sizeof(block));
    task_sleep(1);
    assert_int_equal(block[sizeof(block) - 1], 1);
}

static void a_thousand_tasks(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++)
        task_spawn(
            &(struct task_spec){ .name = "many", .run = use_stack, .on_end = note_end });
    assert_int_equal(task_count(), 1000);
    task_run_loop();
    assert_int_equal(ends, 1000);
#if defined(FORKMARK_DEBUG)
    assert_true(task_stack_high_water() >= 32 * 1024);
#endif
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(ready_tasks_take_turns),
        TEST(a_turn_is_sixteen_tasks),
        TEST(a_sleep_lasts),
        TEST(a_wait_times_out_and_returns),
        TEST(a_deadline_ends_the_task_in_its_wait),
        TEST(timers_are_rearmed),
        TEST(a_wake_hands_over_a_result),
        TEST(a_woken_task_can_be_cancelled),
        TEST(never_started),
        TEST(work_comes_back),
        TEST(work_outlives_its_wait_but_not_its_task),
        TEST(work_under_a_deadline),
        TEST(descriptors_can_be_waited_for),
        TEST(a_full_arena_ends_its_task),
        TEST(a_thousand_tasks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
