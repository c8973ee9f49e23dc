/*
 * program.c - see program.h.
 *
 * fork() and not posix_spawn(), which can change neither the user nor the
 * parent-death signal; the master is small, so a fork costs little.
 */
#include "master/program.h"
#include "common/arena.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

void program_add(struct program *program, const char *format, ...)
{
    va_list args;

    assert(program->argument_count < PROGRAM_ARGUMENTS_MAX);
    va_start(args, format);
    program->arguments[program->argument_count++] =
        arena_vprintf(program->arena, format, args);
    va_end(args);
}

static int open_input(const char *text)
{
    if (!text)
        return open("/dev/null", O_RDONLY | O_CLOEXEC);
    int fd = memfd_create("input", MFD_CLOEXEC);
    if (fd >= 0 && (write(fd, text, strlen(text)) != (ssize_t)strlen(text) ||
                    lseek(fd, 0, SEEK_SET) != 0)) {
        close(fd);
        return -1;
    }
    return fd;
}

static void reset_signals(void)
{
    sigset_t none;

    for (int signum = 1; signum < NSIG; signum++)
        signal(signum, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

_Noreturn static void be_program(const struct program *program, int input, int output,
                                 pid_t master)
{
    static char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:"
                         "/bin";
    static char locale[] = "LC_ALL=C.UTF-8";
    char *environment[] = { path, locale, NULL };

    setsid();
    dup2(input, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    close_range(STDERR_FILENO + 1, ~0U, 0);
    if (chdir(program->folder) < 0)
        _exit(126);
    account_become(program->account);
    prctl(PR_SET_PDEATHSIG, program->death_signal); /* survives execve() */
    if (getppid() != master)
        _exit(0);
    reset_signals();
    execve(program->arguments[0], (char *const *)program->arguments, environment);
    dprintf(STDERR_FILENO, "%s: %s\n", program->arguments[0], strerror(errno));
    _exit(127);
}

pid_t program_start(const struct program *program)
{
    int input = open_input(program->input);
    int output = open(program->output, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    pid_t master = getpid(), pid = -1;

    if (input >= 0 && output >= 0) {
        fflush(NULL);
        pid = fork();
        if (pid == 0)
            be_program(program, input, output, master);
    }
    int error = errno;
    if (input >= 0)
        close(input);
    if (output >= 0)
        close(output);
    return pid < 0 ? -error : pid;
}
