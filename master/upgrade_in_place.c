/*
 * upgrade_in_place.c - the new program takes this one's place, under the same process id.
 *
 * It first reads the configuration in a child. Then it is executed, with the sockets and
 * the state (upgrade_state.c) open; should it not get as far as serving, it executes the
 * former program, whose file the state names, with the variables it was itself given.
 */
#include "common/buf.h"
#include "common/clock.h"
#include "common/log.h"
#include "master/master.h"
#include "master/upgrade.h"
#include "master/upgrade_parts.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ARGUMENTS   (256 + 2)
#define OUTPUT_SHOW 1000

/* What a program that goes back must find again. */
static const char *const kept_names[] = { LISTENERS_VARIABLE, STATE_VARIABLE,
                                          ORDERS_VARIABLE, "NOTIFY_SOCKET",
                                          "WATCHDOG_USEC" };
#define KEPT_COUNT (sizeof(kept_names) / sizeof(kept_names[0]))
static char *kept[KEPT_COUNT];

/* To the new program ------------------------------------------------------------ */

/*
 * The new program would read the file as it is now, and so would the former one if it had
 * to come back: what has not been tried by a reload may fail in both.
 */
bool upgrade_has_other_options(struct master *m, struct buf *report)
{
    struct options *now = options_load_in_child(m->input, report);
    const struct conf_key *keys;
    size_t count;

    if (now && !services_complete(now, &m->services.data, m->embedded, report)) {
        options_free(now);
        now = NULL;
    }
    if (!now)
        return true;
    keys = conf_keys(&count);
    for (size_t i = 0; i < count; i++)
        if (keys[i].applies != CONF_RESTART && /* which this is */
            !options_equal(m->options, now, &keys[i]))
            buf_addf(report, "%s%s", report->length > 0 ? ", " : "", keys[i].path);
    if (!options_same_pools(m->options, now) ||
        !options_same_group(m->options, now, "jobs.cron") ||
        !options_same_group(m->options, now, "jobs.functions"))
        buf_addf(report, "%spools, functions or cron entries of jobs",
                 report->length > 0 ? ", " : "");
    if (report->length > 0)
        buf_adds(report, ": changed since the configuration was read; reload first\n");
    options_free(now);
    return report->length > 0;
}

/* "forkmark check" with what this one was started with. */
static void check_arguments(char *arguments[ARGUMENTS])
{
    static char check[] = "check";
    size_t count = 0;
    bool has_command = false;

    arguments[count++] = upgrade_own.arguments[0];
    arguments[count++] = check;
    for (char **at = upgrade_own.arguments + 1; *at && count < ARGUMENTS - 1; at++) {
        if (!has_command && strcmp(*at, "serve") == 0)
            has_command = true;
        else
            arguments[count++] = *at;
    }
    arguments[count] = NULL;
}

_Noreturn static void be_check(int output)
{
    char *arguments[ARGUMENTS];
    int input = open("/dev/null", O_RDONLY);
    sigset_t none;

    setsid();
    dup2(input, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    close_range(STDERR_FILENO + 1, ~0U, 0);
    signal(SIGPIPE, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    check_arguments(arguments);
    execv(upgrade_own.path, arguments);
    dprintf(STDERR_FILENO, "%s cannot be executed: %s\n", upgrade_own.path,
            strerror(errno));
    _exit(127);
}

bool upgrade_start_check(struct master *m, struct buf *report)
{
    struct upgrade *upgrade = &m->upgrade;
    int output = memfd_create("check", MFD_CLOEXEC);

    fflush(NULL);
    pid_t pid = output < 0 ? -1 : fork();
    if (pid == 0)
        be_check(output);
    if (pid < 0) {
        buf_addf(report, "no process for the new program: %s\n", strerror(errno));
        if (output >= 0)
            close(output);
        return false;
    }
    upgrade->check = pid;
    upgrade->check_output = output;
    upgrade->check_deadline = clock_ms() + UPGRADE_CHECK_MS;
    log_info("upgrade: %s reads the configuration, then it takes this program's place",
             upgrade_own.path);
    buf_addf(report, "%s reads the configuration, then it takes this program's place\n",
             upgrade_own.path);
    return true;
}

static void stay(struct master *m, const char *reason)
{
    log_error("the upgrade failed, this program serves on: %.*s",
              (int)strcspn(reason, "\n"), reason);
    upgrade_remember_failure(m, reason);
}

/* Returns only when it failed, with everything as it was. */
static void replace(struct master *m)
{
    int program = open("/proc/self/exe", O_RDONLY);
    int state = program < 0 ? -1 : upgrade_write_state(m, program);
    char why[256] = "no memory for the state";

    if (state >= 0) {
        notify_reloading(m);
        log_info("upgrade: %s takes this program's place", upgrade_own.path);
        upgrade_set_common(m);
        upgrade_set_number(STATE_VARIABLE, state);
        fflush(NULL);
        execv(upgrade_own.path, upgrade_own.arguments);
        snprintf(why, sizeof(why), "%s cannot be executed: %s", upgrade_own.path,
                 strerror(errno));
        for (size_t i = 0; i < m->listeners.count; i++)
            upgrade_set_cloexec(m->listeners.fds[i], true);
        for (size_t i = 0; i < KEPT_COUNT; i++)
            unsetenv(kept_names[i]);
        unsetenv(PROGRAM_VARIABLE);
        close(state);
    }
    if (program >= 0)
        close(program);
    stay(m, why);
}

void upgrade_check_ended(struct master *m, int status)
{
    struct upgrade *upgrade = &m->upgrade;
    char said[OUTPUT_SHOW + 1];

    ssize_t got = pread(upgrade->check_output, said, OUTPUT_SHOW, 0);
    said[got > 0 ? got : 0] = '\0';
    close(upgrade->check_output);
    upgrade->check_output = -1;
    upgrade->check = 0;
    if (m->phase != PHASE_SERVING)
        return;
    if (status != 0) {
        stay(m, *said ? said : status_text(status));
        return;
    }
    /* What is not known to work now would be read by both programs: see above. */
    struct buf report = BUF_HEAP;
    if (reload_is_busy(m))
        stay(m, "a reload has begun meanwhile");
    else if (upgrade_has_other_options(m, &report))
        stay(m, buf_text(&report));
    else
        replace(m);
    buf_done(&report);
}

/* Back to the former one -------------------------------------------------------- */

void upgrade_keep_variables(void)
{
    for (size_t i = 0; i < KEPT_COUNT; i++) {
        const char *value = getenv(kept_names[i]);

        kept[i] = value ? strdup(value) : NULL;
    }
}

void upgrade_go_back(const char *reason)
{
    log_error("the new program does not get to serve: back to the former one");
    for (size_t i = 0; i < KEPT_COUNT; i++)
        if (kept[i])
            setenv(kept_names[i], kept[i], 1);
    setenv(FAILURE_VARIABLE, reason, 1);
    setenv(PROGRAM_VARIABLE, upgrade_own.path, 1);
    for (const char *at = kept[0]; at && *at;) {
        char *end;
        long fd = strtol(at + (*at == 's'), &end, 10);

        upgrade_set_cloexec((int)fd, false);
        at = end + (*end == ',');
    }
    upgrade_set_cloexec(upgrade_own.state, false);
    /* Its state names it, for the next time. */
    upgrade_set_cloexec(upgrade_own.program, false);
    fexecve(upgrade_own.program, upgrade_own.arguments, environ);
    log_error("the former program cannot be executed: %s", strerror(errno));
}

void upgrade_forget_state(void)
{
    if (upgrade_own.state >= 0)
        close(upgrade_own.state);
    if (upgrade_own.program >= 0)
        close(upgrade_own.program);
    upgrade_own.state = upgrade_own.program = -1;
    upgrade_own.may_go_back = false;
    free(upgrade_own.heirs);
    upgrade_own.heirs = NULL;
    upgrade_own.heir_count = 0;
    for (size_t i = 0; i < KEPT_COUNT; i++) {
        free(kept[i]);
        kept[i] = NULL;
    }
}
