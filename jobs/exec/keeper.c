/*
 * keeper.c - see keeper.h.
 *
 * After the fork of a process with threads only async-signal-safe calls are allowed:
 * no malloc, no stdio, no log. So /proc is read by hand, and _Fork() runs nobody's
 * fork handlers: libuv's closes what it takes for its own pipe, whatever has that
 * number by now.
 */
#include "jobs/exec/keeper.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* How often everything that is left is killed again: less and less. */
#define HUNT_FIRST_MS 5
#define HUNT_LAST_MS  1000
/* What survives SIGKILL so long (another user's, or stuck in the kernel) is given up. */
#define HUNT_MS 1000

/* What failed between fork and exec, on its way from the command's process. */
struct failure {
    enum keeper_stage stage;
    int error;
};

struct keeper {
    const struct keeper_launch *launch;
    pid_t self, command;
    int child_fd; /* readable when a child has ended */
    int status;
    bool has_ended;   /* the command itself */
    bool is_hunting;  /* everything must go */
    int left_behind;  /* killed after the command's end */
    int hunt_every;   /* ms */
    int64_t hunt_end; /* when the command has ended: then the rest is given up */
};

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void set_signals(void (*act)(int))
{
    for (int signum = 1; signum < NSIG; signum++)
        signal(signum, act);
}

/* ---- the command's process, up to its program ---- */

_Noreturn static void fail(int fd, enum keeper_stage stage)
{
    struct failure failure = { stage, errno };

    if (write(fd, &failure, sizeof(failure)) < 0)
        _exit(126);
    _exit(127);
}

/* The ends become 0, 1 and 2, none overwritten by another before its turn. */
static bool take_ends(const struct keeper_launch *launch)
{
    int ends[] = { launch->in, launch->out, launch->err };

    for (int i = 0; i < 3; i++) {
        ends[i] = fcntl(ends[i], F_DUPFD, 3);
        if (ends[i] < 0)
            return false;
    }
    for (int i = 0; i < 3; i++)
        if (dup2(ends[i], i) < 0)
            return false;
    return true;
}

_Noreturn static void become_command(const struct keeper *k, int failure_fd)
{
    const struct keeper_launch *launch = k->launch;
    sigset_t none;

    setsid();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != k->self)
        _exit(126); /* the keeper was killed in between */
    if (!take_ends(launch))
        fail(failure_fd, KEEPER_FORK);
    if (launch->cwd && chdir(launch->cwd) < 0)
        fail(failure_fd, KEEPER_CWD);
    /* The program gets three descriptors, and no signal ignored or blocked. */
    fcntl(failure_fd, F_SETFD, FD_CLOEXEC);
    if (failure_fd > 3)
        close_range(3, (unsigned)failure_fd - 1, 0);
    close_range((unsigned)failure_fd + 1, ~0U, 0);
    set_signals(SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execve(launch->path, launch->argv, launch->envp);
    fail(failure_fd, KEEPER_EXEC);
}

/* ---- the keeper ---- */

_Noreturn static void report(const struct keeper *k, const struct keeper_report *report)
{
    /* Nobody may be there to read it. */
    if (send(k->launch->link, report, sizeof(*report), MSG_NOSIGNAL) < 0)
        _exit(1);
    _exit(0);
}

_Noreturn static void report_failure(const struct keeper *k,
                                     const struct failure *failure)
{
    struct keeper_report not_started = { .kind = KEEPER_NOT_STARTED,
                                         .stage = failure->stage,
                                         .error = failure->error };

    report(k, &not_started);
}

_Noreturn static void report_end(const struct keeper *k)
{
    struct keeper_report ended = { .kind = KEEPER_ENDED,
                                   .status = k->status,
                                   .left_behind = k->left_behind };

    report(k, &ended);
}

/* Returns when the program runs. */
static void start_command(struct keeper *k)
{
    struct failure failure = { .stage = KEEPER_FORK };
    int ends[2];
    ssize_t got;

    if (pipe2(ends, O_CLOEXEC) < 0 || (k->command = _Fork()) < 0) {
        failure.error = errno;
        report_failure(k, &failure);
    }
    if (k->command == 0)
        become_command(k, ends[1]);
    close(ends[1]);
    close(k->launch->in);
    close(k->launch->out);
    close(k->launch->err);
    while ((got = read(ends[0], &failure, sizeof(failure))) < 0 && errno == EINTR)
        ;
    close(ends[0]);
    if (got == (ssize_t)sizeof(failure)) {
        waitpid(k->command, NULL, 0);
        report_failure(k, &failure);
    }
}

/* The parent's pid in the text of /proc/<pid>/stat; the name before it may hold anything.
 */
static pid_t parent_in(char *text)
{
    char *name_end = strrchr(text, ')');

    if (!name_end || strlen(name_end) < 5)
        return 0;
    return (pid_t)strtol(name_end + 4, NULL, 10);
}

static pid_t parent_of(int proc, const char *pid)
{
    char text[512];
    int folder = openat(proc, pid, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int file = folder < 0 ? -1 : openat(folder, "stat", O_RDONLY | O_CLOEXEC);
    ssize_t got = file < 0 ? -1 : read(file, text, sizeof(text) - 1);

    if (file >= 0)
        close(file);
    if (folder >= 0)
        close(folder);
    if (got <= 0)
        return 0;
    text[got] = '\0';
    return parent_in(text);
}

/* As getdents64() gives them. */
struct entry {
    uint64_t inode;
    int64_t offset;
    uint16_t length;
    unsigned char type;
    char name[];
};

/* Kills the keeper's own children; theirs become its children then, and are next. */
static void kill_children(const struct keeper *k)
{
    _Alignas(struct entry) char room[4096];
    int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    long got;

    while (proc >= 0 && (got = syscall(SYS_getdents64, proc, room, sizeof(room))) > 0) {
        for (long at = 0; at < got;) {
            struct entry *entry = (struct entry *)(void *)(room + at);
            pid_t pid = (pid_t)strtol(entry->name, NULL, 10);

            at += entry->length;
            if (pid <= 0 || parent_of(proc, entry->name) != k->self)
                continue;
            kill(pid, SIGKILL);
        }
    }
    if (proc >= 0)
        close(proc);
}

/* The group while its leader is not reaped, so that its number is nobody else's. */
static void end_command(struct keeper *k)
{
    kill(-k->command, SIGKILL);
    waitpid(k->command, &k->status, 0);
    k->has_ended = k->is_hunting = true;
    k->hunt_end = now_ms() + HUNT_MS;
}

/* Ends the keeper when nobody is left. */
static void reap(struct keeper *k)
{
    for (;;) {
        siginfo_t info = { 0 };
        int status = 0;

        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
            break; /* ECHILD */
        if (info.si_pid == 0)
            return;
        if (info.si_pid == k->command && !k->has_ended)
            end_command(k);
        else
            waitpid(info.si_pid, &status, 0);
        k->left_behind += WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    }
    if (k->has_ended)
        report_end(k);
}

static void hunt(struct keeper *k)
{
    if (!k->has_ended)
        kill(-k->command, SIGKILL);
    kill_children(k);
    k->hunt_every = k->hunt_every * 2 < HUNT_LAST_MS ? k->hunt_every * 2 : HUNT_LAST_MS;
    if (k->has_ended && now_ms() >= k->hunt_end)
        report_end(k);
}

/* A signal for the group; no consumer any more means SIGKILL. */
static void hear(struct keeper *k)
{
    unsigned char signum;
    ssize_t got = recv(k->launch->link, &signum, 1, MSG_DONTWAIT);

    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got != 1 || signum == SIGKILL)
        k->is_hunting = true;
    else if (!k->has_ended)
        kill(-k->command, signum);
}

static void clear(int fd)
{
    struct signalfd_siginfo ended;

    while (read(fd, &ended, sizeof(ended)) > 0)
        ;
}

_Noreturn static void keep(struct keeper *k)
{
    for (;;) {
        struct pollfd ready[] = {
            { .fd = k->child_fd, .events = POLLIN },
            { .fd = k->is_hunting ? -1 : k->launch->link, .events = POLLIN },
        };

        poll(ready, 2, k->is_hunting ? k->hunt_every : -1);
        clear(k->child_fd);
        if (ready[1].revents)
            hear(k);
        reap(k);
        if (k->is_hunting)
            hunt(k);
    }
}

/* Only what the command and the link need; none of the consumer's connections. */
static void leave_descriptors(const struct keeper_launch *launch)
{
    int keep[] = { launch->in, launch->out, launch->err, launch->link };
    size_t count = sizeof(keep) / sizeof(keep[0]);
    unsigned from = STDERR_FILENO + 1;

    while (count > 0) { /* the lowest first, and what lies before it is closed */
        size_t lowest = 0;

        for (size_t i = 1; i < count; i++) {
            if (keep[i] < keep[lowest])
                lowest = i;
        }
        unsigned fd = (unsigned)keep[lowest];
        if (fd > from)
            close_range(from, fd - 1, 0);
        if (fd >= from)
            from = fd + 1;
        keep[lowest] = keep[--count];
    }
    close_range(from, ~0U, 0);
}

_Noreturn static void be_keeper(const struct keeper_launch *given)
{
    static struct keeper_launch launch;
    static struct keeper k;
    sigset_t ended;

    launch = *given;
    k = (struct keeper){ .launch = &launch,
                         .self = getpid(),
                         .hunt_every = HUNT_FIRST_MS };
    /* Nobody's Ctrl-C, no signal to the consumer's group; and the consumer's handlers
     * would write into the consumer's own pipes. */
    setsid();
    set_signals(SIG_IGN);
    signal(SIGCHLD, SIG_DFL);
    leave_descriptors(&launch);
    prctl(PR_SET_NAME, "exec-keeper");
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    sigemptyset(&ended);
    sigaddset(&ended, SIGCHLD);
    sigprocmask(SIG_SETMASK, &ended, NULL);
    k.child_fd = signalfd(-1, &ended, SFD_CLOEXEC | SFD_NONBLOCK);
    start_command(&k);
    keep(&k);
}

pid_t keeper_start(const struct keeper_launch *launch)
{
    sigset_t all, before;

    /* Until the child has left the consumer's handlers behind. */
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    pid_t pid = _Fork();
    int error = errno;
    if (pid == 0)
        be_keeper(launch);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return pid < 0 ? -error : pid;
}
