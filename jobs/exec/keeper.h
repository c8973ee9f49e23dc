/*
 * keeper.h - the process between a consumer and a command, which leaves none behind.
 *
 * A consumer may be killed at any moment, and its job is then given out again at once:
 * nothing of the old attempt may go on. So a command is started by a keeper, a fork of
 * the consumer that does nothing but wait. It ends the command, whatever the command
 * has forked, and itself
 *
 *   - when the consumer says so, or is gone: its end of the link is closed;
 *   - when the command has ended: what it left behind ends with it.
 *
 * The command has a session and a process group of its own, and dies with the keeper
 * (parent-death signal). The keeper is the subreaper of all that descends from it, so
 * it also finds what has left the group. Only a program that changes its user (set-uid)
 * can withstand it.
 *
 * The link is a SOCK_SEQPACKET pair. The consumer writes one byte a time, a signal for
 * the group, SIGKILL for everything; the keeper writes reports, the last one when
 * nothing is left.
 */
#ifndef FORKMARK_JOBS_EXEC_KEEPER_H
#define FORKMARK_JOBS_EXEC_KEEPER_H

#include <sys/types.h>

/* Everything is prepared before the fork: behind it there are only system calls. */
struct keeper_launch {
    const char *path; /* of the program */
    char *const *argv, *const *envp;
    const char *cwd;  /* NULL: stay */
    int in, out, err; /* the command's ends of its pipes */
    int link;         /* the keeper's end */
};

enum keeper_stage { KEEPER_FORK, KEEPER_CWD, KEEPER_EXEC };

struct keeper_report {
    enum { KEEPER_NOT_STARTED, KEEPER_ENDED } kind;
    enum keeper_stage stage; /* not started: what failed ... */
    int error;               /* ... and errno */
    int status;              /* ended: as waitpid() gave it */
    int left_behind;         /* ended: processes it had left and that were killed */
};

/* Forks the keeper. Its pid, or a negative errno. */
pid_t keeper_start(const struct keeper_launch *launch);

#endif
