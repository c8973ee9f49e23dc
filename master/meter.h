/*
 * meter.h - what a child did lately: how busy, and how many requests or jobs a second.
 *
 * The scoreboard counts from a child's start; two looks at it say what happened between
 * them. A worker is busy while its loop does not wait (a loop that has not turned for a
 * while is busy, too), a consumer while it has a job.
 */
#ifndef FORKMARK_MASTER_METER_H
#define FORKMARK_MASTER_METER_H

#include <stdint.h>

struct board_slot;

struct meter {
    uint64_t at_ms, busy_us, done; /* at the last look; at_ms 0: there was none */
    double busy, rate; /* means over the last few seconds: 0 to 1, and per second */
};

struct meter_span {
    uint64_t wall_us, busy_us; /* since the last look */
};

/* Zeros at the first look, and after one that is too long ago to say anything. */
struct meter_span meter_look(struct meter *meter, struct board_slot *slot,
                             uint64_t now_ms);

#endif
