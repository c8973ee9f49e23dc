/*
 * process_id.h - whether a process named in Redis is one of this machine, and alive.
 *
 * A pid alone says nothing: pids come again, and containers have their own. So
 * records carry the home (boot and pid namespace) and the process' start time.
 */
#ifndef FORKMARK_JOBS_RQ_PROCESS_ID_H
#define FORKMARK_JOBS_RQ_PROCESS_ID_H

#include <stdbool.h>
#include <sys/types.h>

#define PROCESS_HOME_SIZE 96

/* This boot of this machine, and this pid namespace. */
void process_home(char ret[PROCESS_HOME_SIZE]);
/* When a process started, in clock ticks since the boot; 0: there is none. */
unsigned long long process_started(pid_t pid);
/* Whether a record's process lived here and is gone. False when it cannot be told. */
bool process_is_dead(const char *home, const char *pid, const char *started);

#endif
