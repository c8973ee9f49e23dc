/*
 * upgrade_parts.h - what the files of an upgrade (upgrade*.c) know of each other.
 *
 * What passes from one program to the next stands in variables, or, where it is too long
 * for one, in descriptors that a variable names. The sockets have theirs in listener.h.
 */
#ifndef FORKMARK_MASTER_UPGRADE_PARTS_H
#define FORKMARK_MASTER_UPGRADE_PARTS_H

#include "common/buf.h"
#include "master/services.h"
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct master;

#define FORMER_VARIABLE  "FORKMARK_FORMER"         /* beside: "pid:link" */
#define STATE_VARIABLE   "FORKMARK_STATE"          /* in place: the memory file */
#define FAILURE_VARIABLE "FORKMARK_UPGRADE_FAILED" /* in place: why it went back */
#define PROGRAM_VARIABLE "FORKMARK_PROGRAM"        /* the path it was called by */
#define ORDERS_VARIABLE  "FORKMARK_ORDERS"         /* see upgrade_set_orders() */
#define HISTORY_VARIABLE "FORKMARK_HISTORY"        /* beside: see upgrade_history.c */

/* Reading a configuration takes milliseconds; name services may not answer. */
#define UPGRADE_CHECK_MS 30000

/* A child of the former program. */
struct heir {
    pid_t pid;
    int role; /* enum board_role */
    int number;
    bool is_draining, is_dead;
    char pool[32];
    char rq_name[40];
};

/* What this process was called as, and what was left to it. */
struct upgrade_own {
    char **arguments;
    char path[PATH_MAX]; /* of the program, as it was called */
    /* As the second master: */
    pid_t former;
    int link, history; /* -1: none */
    /* In place: */
    bool may_go_back; /* nothing of ours has begun */
    int state, program;
    char version[32];
    struct heir *heirs;
    size_t heir_count;
    pid_t services[SERVICE_COUNT];
    char *failure;      /* the new program's, when it went back to this one */
    char *orders;       /* counts that an operator had set, see pool.h */
    struct buf counted; /* and what had happened: lines of upgrade_history.c */
};
extern struct upgrade_own upgrade_own;

/* upgrade.c: why the last attempt failed, for the log of events and `ctl status`. */
void upgrade_remember_failure(struct master *m, const char *reason);

/* upgrade_program.c ------------------------------------------------------------- */

/* Whether a descriptor ends with this program, or is the next one's as well. */
void upgrade_set_cloexec(int fd, bool on);
/* A variable of the environment that is a number. */
void upgrade_set_number(const char *name, long number);
/* Sockets, orders and the service manager, for whoever is executed next. */
void upgrade_set_common(struct master *m);

/* upgrade_state.c --------------------------------------------------------------- */

/* A memory file that outlives the execution; -1: none to be had. */
int upgrade_write_state(struct master *m, int program);
/* What the former program wrote there, into upgrade_own, which keeps `fd`. */
void upgrade_read_state(int fd);
/* The counts that an operator has ordered, in ORDERS_VARIABLE. */
void upgrade_set_orders(const struct master *m);

/* upgrade_history.c ------------------------------------------------------------- */

/* All that was counted and that happened, a line each. */
void upgrade_write_history(struct master *m, struct buf *out);
/* The same lines are added to what there is; spoils `text`, which may be NULL. */
void upgrade_take_history(struct master *m, char *text);
/* Side by side: the file for both, made by the old master, and taken over by the new. */
void upgrade_share_history(struct master *m);
void upgrade_adopt_history(struct master *m, int fd);
/* The other master has gone: what it left is added, and the file closed. */
void upgrade_end_history(struct master *m);

/* upgrade_beside.c -------------------------------------------------------------- */

/* The value of FORMER_VARIABLE, into upgrade_own. */
void upgrade_read_former(const char *text);
/* Begins: the new master is started. False with the reason in `report`. */
bool upgrade_start_beside(struct master *m, struct buf *report);
/* The loop hears what the other master says; `fd` is closed by upgrade_close_link(). */
bool upgrade_watch_link(struct master *m, int fd);
void upgrade_close_link(struct master *m);
/* "word more", up to the end of its first line, to the other master; never waits. */
void upgrade_send_line(int fd, const char *word, const char *more);

/* upgrade_in_place.c ------------------------------------------------------------ */

/* Whether the configuration's file says something else by now; then `report` does too. */
bool upgrade_has_other_options(struct master *m, struct buf *report);
/* Begins: the new program reads the configuration. False with the reason in `report`. */
bool upgrade_start_check(struct master *m, struct buf *report);
/* It has read it. When that went well, this returns only if it cannot be executed. */
void upgrade_check_ended(struct master *m, int status);
/* Notes what this program was told, for the former one, should it have to come back. */
void upgrade_keep_variables(void);
/* The former program once more, with all it left; returns when even that fails. */
void upgrade_go_back(const char *reason);
/* All is taken over, or this is the end: there is no way back any more. */
void upgrade_forget_state(void);

#endif
