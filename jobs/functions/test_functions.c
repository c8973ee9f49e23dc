/*
 * test_functions.c - echo, fail, sleep and spin, for checks against real RQ.
 */
#include "jobs/functions/test_functions.h"
#include "common/arena.h"
#include "common/clock.h"
#include "common/task.h"

/* A day; more is a mistake, and not a number (nan) compares false. */
#define LONGEST_SLEEP_S 86400.0

enum job_outcome test_echo(struct job_run *job)
{
    const struct value *x = job_arg(job, "x");

    job->result = x ? value_borrow(x) : NULL;
    return JOB_SUCCESS;
}

enum job_outcome test_fail(struct job_run *job)
{
    const char *message = job_arg_text(job, "msg");

    job->error = arena_printf(job->arena, "ValueError: %s", message ? message : "boom");
    return JOB_FAILED;
}

static bool read_seconds(struct job_run *job, uint64_t *ret_ms)
{
    const struct value *value = job_arg(job, "seconds");
    double seconds = value->kind == VALUE_INT ? (double)value->integer : value->real;

    if (!(seconds >= 0 && seconds <= LONGEST_SLEEP_S)) {
        job->error = "ValueError: seconds out of range";
        return false;
    }
    *ret_ms = (uint64_t)(seconds * 1000);
    job->result = value_borrow(value);
    return true;
}

enum job_outcome test_sleep(struct job_run *job)
{
    uint64_t ms;

    if (!read_seconds(job, &ms))
        return JOB_FAILED;
    task_sleep(ms);
    return JOB_SUCCESS;
}

/* As a function that computes, or a library that blocks: nothing else gets a turn. */
enum job_outcome test_spin(struct job_run *job)
{
    uint64_t ms, until_ms;

    if (!read_seconds(job, &ms))
        return JOB_FAILED;
    until_ms = clock_ms() + ms;
    while (clock_ms() < until_ms)
        ;
    return JOB_SUCCESS;
}
