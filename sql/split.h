/*
 * split.h - the statements of an SQL script, one by one.
 */
#ifndef FORKMARK_SQL_SPLIT_H
#define FORKMARK_SQL_SPLIT_H

#include <stddef.h>

struct statement {
    const char *text; /* in the script, without the semicolon */
    size_t length;
    int line; /* of its first word, from 1 */
};

/* Where in the script to go on, and the line there. Starts as { script, 1 }. */
struct split {
    const char *at;
    int line;
};

/*
 * The next statement; 0 when only blanks and comments are left. Semicolons inside
 * quotes, dollar quotes, comments are no ends. (SQL-standard function bodies,
 * BEGIN ATOMIC, are not known: write $$ ... $$.)
 */
int split_next(struct split *split, struct statement *ret);

/* The line of the `position`th character (from 1, as PostgreSQL counts) of a text. */
int split_line_of(const char *text, size_t length, long position);

#endif
