/*
 * command.c - see command.h.
 *
 * Four descriptors matter: the command's input, output and error, and the link to its
 * keeper. They stand in an epoll set of their own, whose descriptor the task waits for;
 * so all is straight-line code, and a command that floods its output costs a turn of
 * the loop for each chunk.
 */
#include "jobs/exec/command.h"
#include "common/arena.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/task.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHUNK_BYTES   65536
#define PIPE_CHUNKS   16   /* as much as the largest pipe holds */
#define LOOK_EVERY_MS 50   /* at `is_hurried`, while stopping */
#define HURRIED_MS    200  /* instead of kill_after_ms */
#define KILLED_MS     2500 /* longer than the keeper tries */
#define KEEPER_MS     1000 /* for the keeper's own end */
#define TAIL_ROOM     (2 * COMMAND_TAIL)

enum { INPUT, OUTPUT, ERRORS, LINK, PIPE_COUNT };

struct command_pipes {
    struct command *command;
    int fds[PIPE_COUNT]; /* -1: closed */
    int epoll;
    pid_t keeper; /* 0: reaped, or never there */
    size_t sent;  /* of the input */
    uint64_t told_at;
};

/* One command a consumer at a time, and nothing is kept in it over a wait. */
static char chunk[CHUNK_BYTES];

/* ---- finding the program ---- */

static bool is_program(const char *path)
{
    struct stat status;

    return stat(path, &status) == 0 && S_ISREG(status.st_mode) && access(path, X_OK) == 0;
}

const char *command_find(struct arena *arena, const char *name, const char *search)
{
    if (strchr(name, '/') || !search)
        return name;
    while (*search) {
        size_t length = strcspn(search, ":");
        const char *path = arena_printf(arena, "%.*s/%s", (int)length, search, name);

        if (length > 0 && is_program(path))
            return path;
        search += length + (search[length] == ':');
    }
    return name;
}

/* ---- descriptors ---- */

static void close_pipe(struct command_pipes *pipes, int which)
{
    if (pipes->fds[which] < 0)
        return;
    /* A keeper that has not come far yet may share it: closing alone is not enough. */
    epoll_ctl(pipes->epoll, EPOLL_CTL_DEL, pipes->fds[which], NULL);
    close(pipes->fds[which]);
    pipes->fds[which] = -1;
}

/* What is still there ends by the closed link; its keeper is reaped at the next start. */
static void close_command(void *arg)
{
    struct command_pipes *pipes = arg;

    for (int i = 0; i < PIPE_COUNT; i++)
        close_pipe(pipes, i);
    if (pipes->epoll >= 0)
        close(pipes->epoll);
    pipes->epoll = -1;
    if (pipes->keeper > 0)
        waitpid(pipes->keeper, NULL, WNOHANG);
}

/* Keepers are a consumer's only children. */
static void reap_former(void)
{
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
}

static bool watch_pipe(struct command_pipes *pipes, int which, uint32_t events)
{
    struct epoll_event event = { .events = events, .data.u32 = (uint32_t)which };

    return fcntl(pipes->fds[which], F_SETFL, O_NONBLOCK) == 0 &&
           epoll_ctl(pipes->epoll, EPOLL_CTL_ADD, pipes->fds[which], &event) == 0;
}

/* Ours into `pipes`, the command's into `launch`; -1 where there is none. */
static bool open_pipes(struct command_pipes *pipes, struct keeper_launch *launch)
{
    int in[2] = { -1, -1 }, out[2] = { -1, -1 }, err[2] = { -1, -1 },
        link[2] = { -1, -1 };

    pipes->epoll = epoll_create1(EPOLL_CLOEXEC);
    bool is_open = pipes->epoll >= 0 && pipe2(in, O_CLOEXEC) == 0 &&
                   pipe2(out, O_CLOEXEC) == 0 && pipe2(err, O_CLOEXEC) == 0 &&
                   socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, link) == 0;

    pipes->fds[INPUT] = in[1];
    pipes->fds[OUTPUT] = out[0];
    pipes->fds[ERRORS] = err[0];
    pipes->fds[LINK] = link[0];
    launch->in = in[0];
    launch->out = out[1];
    launch->err = err[1];
    launch->link = link[1];
    return is_open && watch_pipe(pipes, INPUT, EPOLLOUT) &&
           watch_pipe(pipes, OUTPUT, EPOLLIN) && watch_pipe(pipes, ERRORS, EPOLLIN) &&
           watch_pipe(pipes, LINK, EPOLLIN);
}

static void close_ends(const struct keeper_launch *launch)
{
    const int ends[] = { launch->in, launch->out, launch->err, launch->link };

    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        if (ends[i] >= 0)
            close(ends[i]);
    }
}

struct command *command_start(struct arena *arena, const struct command_spec *spec)
{
    struct command *command = arena_alloc(arena, sizeof(*command));
    struct command_pipes *pipes = arena_alloc(arena, sizeof(*pipes));
    struct keeper_launch launch = {
        .path = spec->path, .argv = spec->argv, .envp = spec->envp, .cwd = spec->cwd
    };
    pid_t keeper;

    *command = (struct command){
        .spec = spec, .output = BUF_IN(arena), .tail = BUF_IN(arena), .pipes = pipes
    };
    buf_reserve(&command->tail, TAIL_ROOM);
    pipes->command = command;
    arena_defer(arena, close_command, pipes);
    reap_former();
    keeper = open_pipes(pipes, &launch) ? keeper_start(&launch) : -errno;
    close_ends(&launch);
    if (keeper < 0) {
        command->end = COMMAND_NOT_STARTED;
        command->stage = KEEPER_FORK;
        command->error = (int)-keeper;
        close_command(pipes);
    } else {
        pipes->keeper = keeper;
    }
    return command;
}

/* ---- moving bytes: each call does what can be done now ---- */

/* A command may close its input unread: that is its business. */
static void feed(struct command_pipes *pipes)
{
    const struct command_spec *spec = pipes->command->spec;

    while (pipes->sent < spec->input_length) {
        ssize_t sent = write(pipes->fds[INPUT], spec->input + pipes->sent,
                             spec->input_length - pipes->sent);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno == EAGAIN)
            return;
        if (sent < 0)
            break;
        pipes->sent += (size_t)sent;
    }
    close_pipe(pipes, INPUT);
}

/* Bytes in `chunk`; 0 when there are none now. At the end the pipe is closed. */
static size_t drain(struct command_pipes *pipes, int which)
{
    ssize_t got = read(pipes->fds[which], chunk, sizeof(chunk));

    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (got <= 0)
        close_pipe(pipes, which);
    return got > 0 ? (size_t)got : 0;
}

static void take_output(struct command_pipes *pipes)
{
    struct command *command = pipes->command;
    size_t got = drain(pipes, OUTPUT);

    if (!command->was_told && got > command->spec->output_limit - command->output.length)
        command->has_overflowed = true;
    /* Once it had to stop, its output is nobody's; and the arena may be full. */
    if (got > 0 && !command->has_overflowed && !command->was_told)
        buf_add(&command->output, chunk, got);
}

static void take_errors(struct command_pipes *pipes)
{
    struct command *command = pipes->command;
    struct buf *tail = &command->tail;
    size_t got = drain(pipes, ERRORS);
    size_t kept = got < COMMAND_TAIL ? got : COMMAND_TAIL;

    if (tail->length + kept >= TAIL_ROOM) {
        buf_consume(tail, tail->length - COMMAND_TAIL);
        command->is_tail_cut = true;
    }
    command->is_tail_cut |= kept < got;
    buf_add(tail, chunk + got - kept, kept);
}

/* What the pipes still hold is all there will ever be: a mebibyte each at most. */
static void take_rest(struct command_pipes *pipes)
{
    struct buf *tail = &pipes->command->tail;

    for (int i = 0; i < PIPE_CHUNKS && pipes->fds[OUTPUT] >= 0; i++)
        take_output(pipes);
    for (int i = 0; i < PIPE_CHUNKS && pipes->fds[ERRORS] >= 0; i++)
        take_errors(pipes);
    close_pipe(pipes, OUTPUT);
    close_pipe(pipes, ERRORS);
    if (tail->length <= COMMAND_TAIL)
        return;
    buf_consume(tail, tail->length - COMMAND_TAIL);
    pipes->command->is_tail_cut = true;
}

static void take_report(struct command_pipes *pipes)
{
    struct command *command = pipes->command;
    struct keeper_report report;
    ssize_t got = recv(pipes->fds[LINK], &report, sizeof(report), 0);

    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got != (ssize_t)sizeof(report)) {
        if (command->end == COMMAND_RUNS)
            command->end = COMMAND_LOST;
        close_pipe(pipes, LINK);
    } else if (report.kind == KEEPER_NOT_STARTED) {
        command->end = COMMAND_NOT_STARTED;
        command->stage = report.stage;
        command->error = report.error;
    } else {
        command->end = COMMAND_ENDED;
        command->status = report.status;
        command->left_behind = report.left_behind;
    }
}

static void (*const moves[PIPE_COUNT])(struct command_pipes *) = {
    [INPUT] = feed,
    [OUTPUT] = take_output,
    [ERRORS] = take_errors,
    [LINK] = take_report,
};

/* Yields. Waits for something to happen, and does what follows from it. */
static void look(struct command_pipes *pipes, uint64_t at_most_ms)
{
    struct epoll_event events[PIPE_COUNT];

    if (task_poll_fd(pipes->epoll, UV_READABLE, at_most_ms) != 0)
        return;
    int count = epoll_wait(pipes->epoll, events, PIPE_COUNT, 0);
    for (int i = 0; i < count; i++) {
        uint32_t which = events[i].data.u32;

        if (pipes->fds[which] >= 0)
            moves[which](pipes);
    }
}

/* ---- its end ---- */

static void say(struct command_pipes *pipes, unsigned char signum)
{
    if (pipes->fds[LINK] >= 0 &&
        send(pipes->fds[LINK], &signum, 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        log_debug("the keeper of %s is gone", pipes->command->spec->path);
}

/* Yields. The keeper ends after its last report; then nothing is left to reap. */
static void settle(struct command_pipes *pipes)
{
    uint64_t until = clock_ms() + KEEPER_MS;

    take_rest(pipes);
    close_pipe(pipes, INPUT);
    while (pipes->fds[LINK] >= 0 && clock_ms() < until)
        look(pipes, LOOK_EVERY_MS);
    if (pipes->fds[LINK] < 0 && pipes->keeper > 0) {
        waitpid(pipes->keeper, NULL, 0);
        pipes->keeper = 0;
    }
}

void command_wait(struct command *command)
{
    uint64_t since = clock_ms();
    uint64_t timeout = command->spec->timeout_ms;

    while (command->end == COMMAND_RUNS && !command->has_overflowed) {
        uint64_t spent = clock_ms() - since;

        if (timeout > 0 && spent >= timeout) {
            command->has_timed_out = true;
            break;
        }
        look(command->pipes, timeout > 0 ? timeout - spent : 0);
    }
    if (command->end == COMMAND_RUNS)
        command_stop(command, NULL);
    else
        settle(command->pipes);
}

/* The first time alone: who was cancelled while waiting for the end comes again. */
static void tell(struct command_pipes *pipes)
{
    struct command *command = pipes->command;

    if (command->was_told)
        return;
    command->was_told = true;
    pipes->told_at = clock_ms();
    if (command->spec->kill_after_ms > 0)
        say(pipes, SIGTERM);
}

static uint64_t patience(const struct command *command, const bool *is_hurried)
{
    uint64_t patience = command->spec->kill_after_ms;

    if (is_hurried && *is_hurried && patience > HURRIED_MS)
        return HURRIED_MS;
    return patience;
}

void command_stop(struct command *command, const bool *is_hurried)
{
    struct command_pipes *pipes = command->pipes;

    if (command->end == COMMAND_RUNS)
        tell(pipes);
    while (command->end == COMMAND_RUNS &&
           clock_ms() - pipes->told_at < patience(command, is_hurried))
        look(pipes, LOOK_EVERY_MS);
    if (command->end == COMMAND_RUNS) {
        uint64_t until = clock_ms() + KILLED_MS;

        command->was_killed = true;
        say(pipes, SIGKILL);
        while (command->end == COMMAND_RUNS && clock_ms() < until)
            look(pipes, LOOK_EVERY_MS);
    }
    if (command->end == COMMAND_RUNS)
        command->end = COMMAND_UNKILLABLE;
    settle(pipes);
}
