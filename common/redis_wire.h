/*
 * redis_wire.h - one established connection on the loop: bytes out, replies in.
 *
 * Whatever is added to the output during one turn of the loop leaves in one
 * write: that is the pipelining. The events are called on the loop's stack;
 * inside them the wire may be closed.
 */
#ifndef FORKMARK_COMMON_REDIS_WIRE_H
#define FORKMARK_COMMON_REDIS_WIRE_H

#include "common/redis_stream.h"
#include <hiredis/hiredis.h>
#include <stdint.h>

struct buf;
struct redis_wire;

struct redis_wire_events {
    void (*reply)(void *arg, redisReply *reply); /* the callee owns the reply */
    /* The connection is of no use any more; the callee closes the wire. */
    void (*lost)(void *arg, const char *reason);
    /* The alarm went off, after everything that had arrived was read. */
    void (*due)(void *arg);
};

/* Takes over stream and reader. `events` is borrowed. */
struct redis_wire *redis_wire_new(struct redis_stream *stream, redisReader *reader,
                                  const struct redis_wire_events *events, void *arg);
/* No event comes after this. NULL is fine. */
void redis_wire_close(struct redis_wire *wire);

/* Where commands are added; they are written before the loop next waits. */
struct buf *redis_wire_out(struct redis_wire *wire);
/* The alarm at clock_ms() `at_ms`; an earlier one that is set stays. */
void redis_wire_alarm(struct redis_wire *wire, uint64_t at_ms);

#endif
