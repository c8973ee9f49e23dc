/*
 * upgrade.h - a new program on the same sockets (USR2, `ctl upgrade`), with nothing lost.
 *
 * Side by side, as Gunicorn does it: the new master is started, inherits the
 * listening sockets, and serves beside the old one under the pid file and the control
 * socket with ".2" behind their names. What an operator then ends is the choice: TERM or
 * QUIT to the old one, and the new one takes over the names and the service manager;
 * or either to the new one, and nothing has happened. As the other one serves on at the
 * same sockets, QUIT resets nobody there: requests end, only jobs go back to their
 * queues.
 *
 * In place, where the master's process id is what others hold on to (process 1 of a
 * container, embedded services that belong to it): the new program first reads the
 * configuration in a child (`check`); then the master executes it, keeping its id, its
 * sockets, its services and its children. These serve on, and are replaced one in, one
 * out, by children of the new program. Should it not get as far as serving, the
 * former program, kept open, is executed again.
 */
#ifndef FORKMARK_MASTER_UPGRADE_H
#define FORKMARK_MASTER_UPGRADE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct buf;
struct child;
struct master;

/* First thing in main(): what is to be executed again, before anybody changes folders. */
void upgrade_init(char **arguments);
/* First thing in serve(): what the former master or program left, if there was one. */
void upgrade_adopt(void);
/* A start that cannot work: told to the former master; or back to the former program. */
void upgrade_tell_failure(const char *reason);

/* Whether a master of before still runs, so that names are taken with ".2" behind. */
bool upgrade_is_second(const struct master *m);
/* At this master's end: what it has counted is for the one that goes on. */
void upgrade_leave_history(struct master *m);
void upgrade_open(struct master *m);
void upgrade_done(struct master *m);

/* Embedded services that still run are the new program's. */
void upgrade_take_services(struct master *m);
/* Once there are pools: children of the former program become theirs, to be replaced. */
void upgrade_take_children(struct master *m);
/* Whether children of the former program serve on, until they are replaced. */
bool upgrade_has_heirs(void);
/* A child of the former program that ended before that. */
bool upgrade_reaped(struct master *m, pid_t pid, int status);

/*
 * Begins one. `completes`: side by side, the old master ends by itself as soon as the new
 * one serves. False with the reason in `report`.
 */
bool upgrade(struct master *m, bool completes, struct buf *report);
uint64_t upgrade_turn(struct master *m);

/* Whether another master serves, or starts, at the same sockets. */
bool upgrade_shares_sockets(const struct master *m);
/* The old master's end: the other one is the service from now on. */
void upgrade_hand_over(struct master *m);
/* The whole service is to end, also the master beside this one. */
void upgrade_stop_other(struct master *m);

/* "" when nothing of it is under way. */
const char *upgrade_stage(const struct master *m);

#endif
