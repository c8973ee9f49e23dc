/*
 * replay.c - see replay.h.
 */
#include "worker/replay.h"
#include "jobs/events.h"
#include "queries.h"

/* The columns of both queries. */
enum { EVENT_ID, TYPE, SEQUENCE, RUN_ID, BOOKMARK_ID, DATA, ERROR, CATEGORY, CREATED_AT };

int replay_read(struct pg *pg, int32_t user_id, const char *event_id, int64_t since_unix,
                int limit, struct replay *ret)
{
    struct pg_reader reader = { .freshness = PG_FRESH_PRIMARY };

    if (event_id[0])
        return pg_read(pg, &reader, &sql_events_after,
                       PG_ARGS(pg_int(user_id), pg_text(event_id), pg_int(limit)),
                       &ret->rows);
    return pg_read(pg, &reader, &sql_events_since,
                   PG_ARGS(pg_int(user_id), pg_int(since_unix), pg_int(limit)),
                   &ret->rows);
}

static const char *text_or_null(const struct pg_rows *rows, int row, int column)
{
    return pg_is_null(rows, row, column) ? NULL : pg_get_text(rows, row, column);
}

void replay_frame(const struct replay *replay, int row, struct buf *out)
{
    const struct pg_rows *rows = &replay->rows;

    events_frame(out, pg_get_text(rows, row, EVENT_ID), pg_get_text(rows, row, TYPE),
                 (int)pg_get_int(rows, row, SEQUENCE), pg_get_text(rows, row, RUN_ID),
                 (int32_t)pg_get_int(rows, row, BOOKMARK_ID),
                 text_or_null(rows, row, CATEGORY), text_or_null(rows, row, DATA),
                 text_or_null(rows, row, ERROR), pg_get_text(rows, row, CREATED_AT));
}
