/*
 * rows.c - see rows.h.
 */
#include "worker/handlers/rows.h"
#include "common/clock.h"

void row_put_text(struct json_writer *w, const char *key, const struct pg_rows *rows,
                  int row, int column)
{
    size_t length = pg_get_length(rows, row, column); /* of NULL: 0 */

    if (length == 0 && pg_is_null(rows, row, column))
        json_put_null(w, key);
    else
        json_put_textn(w, key, pg_get_text(rows, row, column), length);
}

void row_put_int(struct json_writer *w, const char *key, const struct pg_rows *rows,
                 int row, int column)
{
    const char *digits = pg_get_text(rows, row, column); /* of NULL: "" */

    json_put_raw(w, key, *digits ? digits : "0");
}

void row_put_time(struct json_writer *w, const char *key, const struct pg_rows *rows,
                  int row, int column)
{
    char text[CLOCK_TEXT_SIZE];
    int64_t unix_us;

    if (clock_iso_copy(pg_get_text(rows, row, column), pg_get_length(rows, row, column),
                       text)) {
        json_put_text(w, key, text);
        return;
    }
    /* PostgreSQL's "infinity" and years beyond our calendar have no such form. */
    if (pg_is_null(rows, row, column) ||
        clock_parse(pg_get_text(rows, row, column), pg_get_length(rows, row, column),
                    &unix_us) < 0)
        json_put_null(w, key);
    else
        json_put_text(w, key, clock_iso(unix_us, text));
}
