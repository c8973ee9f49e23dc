/*
 * limits.h - the rate limits of contract 1.11, as the gate counts them.
 *
 * An option such as "50/1m,200/1h" becomes windows; which one a route has is in
 * its row of the route table.
 */
#ifndef FORKMARK_WORKER_LIMITS_H
#define FORKMARK_WORKER_LIMITS_H

#include "common/options.h"
#include "worker/router.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LIMIT_WINDOWS 8

struct limit_window {
    int64_t most, seconds;
};

/* One window as the gate's script takes it: both numbers, 4 bytes each, lowest first. */
#define LIMIT_PACKED 8

struct limit {
    int count; /* 0: unlimited */
    struct limit_window windows[LIMIT_WINDOWS];
    /* "86400,3600": counters of other windows are others'. */
    char spans[LIMIT_WINDOWS * 12];
    char packed[LIMIT_WINDOWS * LIMIT_PACKED];
};

/* "5/15m,100/1h" or "none". False: it is neither. */
bool limit_parse(const char *text, struct limit *ret);
/* "5 per 15 minute", as Fuze's limiter writes it. */
void limit_window_show(const struct limit_window *window, char *ret, size_t size);

/* Reads all limits; once per process. False: one is wrong (logged). */
bool limits_init(const struct options *options);
/* The limit of a class of routes; its count is 0 when there is none. */
const struct limit *limits_of(enum limit_class class);

#endif
