/*
 * test_autopsy.c - how a process that hangs is told from another, on real ones.
 */
#include "tests/unit/testing.h"

#include "common/buf.h"
#include "common/clock.h"
#include "master/autopsy.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void two_looks_tell_the_kind(void **state)
{
    static const struct {
        uint64_t cpu_ms, wall_ms;
        char process;
        enum hang kind;
    } cases[] = {
        { 0, 1000, 'S', HANG_BLOCKED },    { 0, 1000, 'D', HANG_BLOCKED },
        { 990, 1000, 'R', HANG_SPINNING }, { 100, 1000, 'R', HANG_SPINNING },
        { 500, 1000, 'S', HANG_SPINNING }, /* between two of its calls */
        { 90, 1000, 'R', HANG_STARVED },   { 0, 1000, 'R', HANG_STARVED },
        { 0, 1000, 'T', HANG_STOPPED },    { 700, 1000, 'T', HANG_STOPPED },
        { 0, 1000, 't', HANG_STOPPED },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct vital before = { .at_ms = 5000, .cpu_ms = 70 };
        struct vital now = { .at_ms = 5000 + cases[i].wall_ms,
                             .cpu_ms = 70 + cases[i].cpu_ms,
                             .state = cases[i].process };

        if (hang_kind(&before, &now) != cases[i].kind)
            fail_msg("case %zu", i);
    }
}

/* 's': sleeps, 'r': computes, 't': is stopped. */
static pid_t start(char how)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0)
        for (volatile int turn = 0;; turn = !turn)
            if (how == 's')
                pause();
    if (how == 't')
        assert_int_equal(kill(pid, SIGSTOP), 0);
    return pid;
}

static enum hang kind_of(pid_t pid, const char *word)
{
    struct vital before, now;
    struct buf text = BUF_HEAP;

    usleep(50000);
    assert_true(vital_read(pid, clock_ms(), &before));
    /* On a busy machine a second may pass before it gets a tenth of one. */
    for (int i = 0; i < 20; i++) {
        usleep(300000);
        assert_true(vital_read(pid, clock_ms(), &now));
        if (hang_kind(&before, &now) != HANG_STARVED)
            break;
        before = now;
    }
    hang_describe(pid, &before, &now, &text);
    assert_non_null(strstr(buf_text(&text), word));
    buf_done(&text);
    return hang_kind(&before, &now);
}

static void real_ones_are_told_apart(void **state)
{
    static const struct {
        char how;
        enum hang kind;
        const char *word;
    } cases[] = {
        { 's', HANG_BLOCKED, "blocked in a system call (0.00 s" },
        { 'r', HANG_SPINNING, "spinning (0." },
        { 't', HANG_STOPPED, "state T" },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        pid_t pid = start(cases[i].how);

        assert_int_equal(kind_of(pid, cases[i].word), cases[i].kind);
        assert_true(memory_of(pid) > 4096);
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        assert_int_equal(memory_of(pid), 0);
    }
}

static void who_is_gone_cannot_be_read(void **state)
{
    struct vital vital;
    pid_t pid = fork();
    (void)state;

    if (pid == 0)
        _exit(0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_false(vital_read(pid, 1, &vital));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_looks_tell_the_kind),
        cmocka_unit_test(real_ones_are_told_apart),
        cmocka_unit_test(who_is_gone_cannot_be_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
