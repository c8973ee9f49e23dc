/*
 * tally.h - what the master adds to the scoreboard for /metrics.
 *
 * Children count what they do themselves. Why one of them was replaced, and how much
 * memory they hold, is known here alone.
 */
#ifndef FORKMARK_MASTER_TALLY_H
#define FORKMARK_MASTER_TALLY_H

#include <stdbool.h>
#include <stdint.h>

struct master;
struct child;

/* A child has ended: its replacement is counted by its reason. */
void tally_end(struct master *m, const struct child *child, int status, bool was_oom);

/* A duty: reads everybody's memory when somebody has asked for it. */
uint64_t tally_turn(struct master *m);

#endif
