/*
 * cli_text.h - how `forkmark jobs` writes: aligned columns, durations, clean texts.
 *
 * Redis holds what anybody has put there. Control characters of names, arguments and
 * errors are written as escapes, so that no job can move the cursor, and bytes that
 * are no UTF-8 as U+FFFD.
 */
#ifndef FORKMARK_JOBS_CLI_TEXT_H
#define FORKMARK_JOBS_CLI_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;

/* Where the output goes. */
struct cli_paper {
    struct buf *out;
    bool has_colours;
    int width; /* of the terminal; 0: as wide as it takes */
};

enum cli_colour { CLI_PLAIN, CLI_BOLD, CLI_DIM, CLI_RED, CLI_GREEN, CLI_YELLOW };

/* A terminal's size and taste (NO_COLOR, TERM=dumb); a pipe has neither. */
void cli_paper_init(struct cli_paper *paper, struct buf *out);

/* printf, in a colour where there are any. */
void cli_write(struct cli_paper *paper, enum cli_colour colour, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* In the task's arena. */
const char *cli_clean(const char *text);
const char *cli_clean_bytes(const char *text, size_t length);
/* At most `columns` wide, with an ellipsis when it was cut. */
const char *cli_cut(const char *text, int columns);
int cli_columns(const char *text); /* of a clean text */

/* "12 ms", "3.4 s", "45 s", "12 min", "5 h", "2 d". Below 0: "-". */
const char *cli_span(double seconds);
/* The same from a time until now; 0: "-". */
const char *cli_age(int64_t unix_us);
double cli_seconds_since(int64_t unix_us);
/* "2026-11-25 20:12:42 UTC"; 0: "-". */
const char *cli_moment(int64_t unix_us);

/*
 * A table: cells in the order of reading, as many as fill whole rows. Columns are as
 * wide as they must be; the last one gets what is left of a terminal.
 */
struct cli_column {
    const char *title;
    bool is_number; /* to the right */
};
struct cli_table {
    const struct cli_column *columns;
    size_t column_count;
    struct cli_cell *cells;
    size_t count, room;
};
void cli_cell(struct cli_table *table, const char *text, enum cli_colour colour);
/* 0 is dim, more is in the colour. */
void cli_cell_number(struct cli_table *table, long long number, enum cli_colour colour);
void cli_table_write(const struct cli_table *table, struct cli_paper *paper);

#endif
