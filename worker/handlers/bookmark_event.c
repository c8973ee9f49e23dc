/*
 * bookmark_event.c - see bookmark_event.h.
 */
#include "worker/handlers/bookmark_event.h"
#include "common/arena.h"
#include "common/buf.h"
#include "common/ids.h"
#include "common/json.h"
#include "jobs/events.h"
#include <string.h>

int bookmark_event(struct request *req, struct pg_tx *tx, const char *what,
                   int32_t bookmark_id, const char *url, const char *title,
                   const char **ret_message)
{
    struct buf data = BUF_IN(req->arena);
    struct json_writer w = { .out = &data };
    char run[33];

    json_begin_object(&w, NULL);
    json_put_int(&w, "bookmark_id", bookmark_id);
    json_put_text(&w, "url", url);
    json_put_text(&w, "title", title);
    json_end_object(&w);
    id_hex(run, 32);

    /* Sequence 0: before the first stage of whatever job works on it next. */
    struct event event = {
        .user_id = req->user_id,
        .bookmark_id = bookmark_id,
        .run_id = arena_printf(req->arena, "run_%s", run),
        .sequence = 0,
        .type = arena_printf(req->arena, "bookmark.domain.%s", what),
        .data = buf_text(&data),
        .is_of_deleted = strcmp(what, "deleted") == 0,
    };
    return events_store(req->server->pg, tx, &event, ret_message);
}
