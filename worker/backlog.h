/*
 * backlog.h - connections that wait in a listening socket to be accepted.
 */
#ifndef FORKMARK_WORKER_BACKLOG_H
#define FORKMARK_WORKER_BACKLOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct backlog {
    uint32_t waiting;
    uint32_t room;  /* the kernel's limit; 0: not known (Unix sockets of old kernels) */
    char name[160]; /* "127.0.0.1:7860", "[::]:7860", "unix:/run/forkmark.sock" */
};

/* A TCP or Unix socket. False: the kernel does not say. Does not wait. */
bool backlog_read(int listener, struct backlog *ret);

#endif
