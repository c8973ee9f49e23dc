/*
 * Which processes count as dead: the gone, the unreaped, those whose pid came again; not
 * those of other homes, nor those that /proc hides.
 */
#include "jobs/rq/process_id.h"
#include "tests/unit/testing.h"
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOBODY    65534
#define CANNOT    77      /* not root, or not allowed to mount */
#define NOT_THERE 4194305 /* beyond the largest pid */

static bool is_dead(pid_t pid, unsigned long long started)
{
    char home[PROCESS_HOME_SIZE];
    char number[32];
    char since[32];

    process_home(home);
    snprintf(number, sizeof(number), "%d", (int)pid);
    snprintf(since, sizeof(since), "%llu", started);
    return process_is_dead(home, number, since);
}

static void tells_the_dead(void **state)
{
    unsigned long long started = process_started(getpid());

    (void)state;
    assert_true(started > 0);
    assert_false(is_dead(getpid(), started));
    assert_true(is_dead(getpid(), started - 1));
    assert_true(is_dead(NOT_THERE, started));
    assert_false(process_is_dead("another home", "4194305", "1"));
    assert_false(process_is_dead("", "", ""));
}

static void one_that_is_not_reaped_is_dead(void **state)
{
    siginfo_t info;
    pid_t pid = fork();

    (void)state;
    if (pid == 0)
        pause();
    unsigned long long started = process_started(pid);
    assert_false(is_dead(pid, started));
    kill(pid, SIGKILL);
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    assert_true(is_dead(pid, started));
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_true(is_dead(pid, started));
}

/* Sees only its own processes, as under hidepid or systemd's ProtectProc. */
static int look_as_nobody(pid_t pid, unsigned long long started)
{
    if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("proc", "/proc", "proc", 0, "hidepid=2") < 0 || setgroups(0, NULL) < 0 ||
        setgid(NOBODY) < 0 || setuid(NOBODY) < 0)
        return CANNOT;
    if (process_started(pid) != 0)
        return CANNOT; /* this kernel hides nothing */
    return is_dead(pid, started) ? 1 : is_dead(NOT_THERE, started) ? 0 : 2;
}

static void one_that_is_hidden_is_not_dead(void **state)
{
    unsigned long long started = process_started(getpid());
    pid_t self = getpid();
    int status;
    pid_t pid = fork();

    (void)state;
    if (pid == 0)
        _exit(look_as_nobody(self, started));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == CANNOT)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_the_dead),
        cmocka_unit_test(one_that_is_not_reaped_is_dead),
        cmocka_unit_test(one_that_is_hidden_is_not_dead),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
