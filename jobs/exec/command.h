/*
 * command.h - a program with its input and output, run beside everything else.
 *
 * The task waits for it, the loop goes on. Whatever happens to the task, to the
 * consumer or to the master, the command and all it has forked end (keeper.h).
 */
#ifndef FORKMARK_JOBS_EXEC_COMMAND_H
#define FORKMARK_JOBS_EXEC_COMMAND_H

#include "common/buf.h"
#include "jobs/exec/keeper.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;

#define COMMAND_TAIL 4096 /* so much of the standard error's end is kept */

/* Borrowed until the command is closed. */
struct command_spec {
    const char *path; /* of the program, see command_find() */
    char *const *argv, *const *envp;
    const char *cwd;   /* NULL: the consumer's */
    const char *input; /* its standard input */
    size_t input_length;
    size_t output_limit;    /* of the standard output */
    uint64_t timeout_ms;    /* 0: none */
    uint64_t kill_after_ms; /* from SIGTERM to SIGKILL; 0: SIGKILL at once */
};

enum command_end {
    COMMAND_RUNS,
    COMMAND_NOT_STARTED, /* `error` and `stage` say why */
    COMMAND_ENDED,       /* by itself: `status` as of waitpid() */
    COMMAND_LOST,        /* its keeper was killed, and it with it */
    COMMAND_UNKILLABLE,  /* it still runs, and nothing can be done about it */
};

struct command {
    const struct command_spec *spec;
    enum command_end end;
    enum keeper_stage stage;
    int error, status;
    int left_behind;     /* processes it left, killed after its end */
    bool was_told;       /* had to stop: SIGTERM */
    bool was_killed;     /* and SIGKILL, since it did not */
    bool has_timed_out;  /* of itself: spec->timeout_ms */
    bool has_overflowed; /* more than spec->output_limit */
    struct buf output;   /* in the arena */
    struct buf tail;     /* of the standard error, COMMAND_TAIL bytes or fewer */
    bool is_tail_cut;    /* there was more before it */
    struct command_pipes *pipes;
};

/* The program's file: `name` itself if it has a slash, else looked for in the folders
 * of `search` (PATH). Never NULL; what is not there fails at its start. */
const char *command_find(struct arena *arena, const char *name, const char *search);

/*
 * Starts it; the arena's end closes it, and so ends it. Never NULL: a failure is in
 * `end`.
 */
struct command *command_start(struct arena *arena, const struct command_spec *spec);
/* Yields. Until it has ended; one that takes too long or writes too much is stopped. */
void command_wait(struct command *command);
/*
 * Yields. SIGTERM to its group, after spec->kill_after_ms SIGKILL to everything, and
 * waits for the end. Does nothing when it has ended; may be called in any task, also
 * after one was cancelled in here. While *is_hurried (NULL: never) it waits for almost
 * nothing. `end` is no longer COMMAND_RUNS afterwards.
 */
void command_stop(struct command *command, const bool *is_hurried);

#endif
