/*
 * role.h - what a forked child is given, and what it owes the master.
 *
 * The master starts roles from a table (master/roles.c) and knows nothing of
 * what they do. A role's run() is called in the fresh child, which has already:
 * left the master's descriptors and signal handlers behind, set its process
 * title and log name, given up root. It returns the exit status.
 *
 * A role must: call role_ready() once it really serves; beat its slot whenever its
 * loop turns, and that at least twice a second (role_watch() arranges it, the signals
 * and the drain); end after SIGTERM when its work is done (drain, within
 * graceful_timeout), at once after SIGINT or SIGQUIT, and when the master is
 * gone (parent-death signal, set before run()).
 */
#ifndef FORKMARK_COMMON_ROLE_H
#define FORKMARK_COMMON_ROLE_H

#include "common/options.h"
#include "common/scoreboard.h"

/* Exit status of a role whose work is over: its place is not to be filled again until
 * somebody asks. Any other end is followed by a replacement. */
#define ROLE_DONE 80

struct role_context {
    const struct options *options;
    struct scoreboard *board;
    struct board_slot *slot; /* its own */
    const int *listeners;    /* HTTP listening sockets, non-blocking; workers only */
    size_t listener_count;
    const struct pool_options *pool; /* consumers only */
    int log_link;  /* log files that were opened again come from there; 0: none */
    int notify_fd; /* eventfd: a change of state wakes the master; -1 in tests */
    /* The first of a new generation: before it serves, it tries out what it needs. */
    bool is_proof;
    /* Of the consumer that died in this slot before: its RQ worker name, or "". */
    char predecessor[40];
    bool predecessor_overran; /* killed, since its job had overrun its time */
};

/*
 * In the signal handler that reports a hang or a crash: fills in what the process is at
 * this very moment, better than board_begin() knows it. Plain copies only.
 */
void role_on_report(void (*describe)(struct board_doing *at_last));

/* Its share of work is done (server.max_requests): the master replaces it, and drains
 * it once the replacement serves. */
void role_worn(const struct role_context *context);

/* Something in the scoreboard is for the master: it looks at once. */
void role_tell(const struct role_context *context);

/* State READY, and the master told. */
void role_ready(const struct role_context *context);

/* A proof that failed: the reason is logged and left for the master; then the end. */
_Noreturn void role_refuse(const struct role_context *context, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * On the running loop: the beat, USR1 (reopen logs), TERM -> drain(arg) on
 * the loop's stack, INT/QUIT -> quick(arg). Call after task_runtime_init().
 */
void role_watch(const struct role_context *context, void (*drain)(void *arg),
                void (*quick)(void *arg), void *arg);

#endif
