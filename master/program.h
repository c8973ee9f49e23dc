/*
 * program.h - starting a foreign program (initdb, postgres, redis-server).
 *
 * It gets a session, a clean environment, only standard descriptors, the account's
 * rights, and a signal that reaches it when the master dies.
 */
#ifndef FORKMARK_MASTER_PROGRAM_H
#define FORKMARK_MASTER_PROGRAM_H

#include "master/account.h"
#include <stddef.h>
#include <sys/types.h>

#define PROGRAM_ARGUMENTS_MAX 48

struct program {
    struct arena *arena; /* of the texts */
    const struct account *account;
    const char *arguments[PROGRAM_ARGUMENTS_MAX + 1]; /* the first: its path */
    size_t argument_count;
    const char *input;  /* text for its standard input; NULL: empty */
    const char *output; /* file its output is added to */
    const char *folder; /* it starts there */
    int death_signal;
};

void program_add(struct program *program, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Its pid, or a negative errno. That it cannot be executed shows as status 127. */
pid_t program_start(const struct program *program);

#endif
