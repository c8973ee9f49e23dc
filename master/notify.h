/*
 * notify.h - what the master tells its service manager (sd_notify(3)), honestly.
 *
 *   READY=1      once every configured process of every pool serves, not before
 *   RELOADING=1  with MONOTONIC_USEC when a reload begins; READY=1 when it is over
 *   STOPPING=1   at the end; or, where another master takes over, MAINPID=its pid
 *   STATUS=      how many of each pool serve, what a reload does, why the last failed
 *   WATCHDOG=1   only while most of the workers are healthy: a server whose workers are
 *                stopped or hung is restarted, however well its master is
 *
 * Nothing is sent where NOTIFY_SOCKET is not set. Children do not get that variable.
 */
#ifndef FORKMARK_MASTER_NOTIFY_H
#define FORKMARK_MASTER_NOTIFY_H

#include "common/buf.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

struct master;

struct notify {
    int fd; /* -1: nobody listens */
    struct sockaddr_un address;
    socklen_t length;
    char path[108];       /* as NOTIFY_SOCKET had it, for a master that takes over */
    uint64_t watchdog_ms; /* WATCHDOG_USEC; 0: none */
    uint64_t feed_at;
    bool was_healthy;
    bool is_mute;                             /* another master is the service */
    bool is_ready, is_reloading, is_stopping; /* said so */
    struct buf status;                        /* the last one */
};

/* Reads, and takes away, NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID. */
void notify_open(struct master *m);
void notify_done(struct master *m);
uint64_t notify_turn(struct master *m);
/* At the beginning of a reload, however soon it ends. */
void notify_reloading(struct master *m);
void notify_stopping(struct master *m);
/* From now on that process is the service. */
void notify_main_pid(struct master *m, pid_t pid);

/* So many of the pool's `wanted` are more than half of them, or all that are wanted. */
bool notify_is_quorum(int healthy, int wanted);

#endif
