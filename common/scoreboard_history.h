/*
 * scoreboard_history.h - what a scoreboard has counted, as text: for whoever takes over
 * from this program, which may be another version of it and count other things.
 *
 * A line is "count NAME ROLE number number ...". Who reads knows a name, or passes it
 * over; of the numbers it takes as many as it has itself.
 */
#ifndef FORKMARK_COMMON_SCOREBOARD_HISTORY_H
#define FORKMARK_COMMON_SCOREBOARD_HISTORY_H

#include "common/scoreboard.h"

struct buf;

/* Everything that only grows, at one moment. */
struct board_history {
    struct board_totals totals;
    uint64_t kills, restarts, reloads, reload_failures;
    uint64_t restarts_by[BOARD_ROLES][BOARD_RESTARTS];
};
void board_history_take(struct scoreboard *board, struct board_history *ret);

/* What `now` has beyond `before`; what has not grown gets no line. */
void board_history_write(const struct board_history *now,
                         const struct board_history *before, struct buf *out);

/* Adds such a line to `history`. False: it is none, or of something that is not known. */
bool board_history_read(struct board_history *history, const char *line);

/* All of it counts as past, at one stroke as readers see it. */
void board_history_add(struct scoreboard *board, const struct board_history *history);

#endif
