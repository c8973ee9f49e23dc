/*
 * events.c - an event's row, its message, and the frame both become.
 *
 * Stages of a run have ids made of run, sequence and name: a job that is delivered
 * again stores nothing twice, and what is not stored is not told again either. So
 * the web client's counters, which go up on "started" and down on "completed",
 * stay right.
 */
#include "jobs/events.h"

#include "common/arena.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/ids.h"
#include "common/json.h"
#include "common/task.h"
#include "queries.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SCHEMA_VERSION 1
#define PIPELINE       "bookmark.pipeline."

const char *events_short_type(struct arena *arena, const char *type)
{
    if (strncmp(type, PIPELINE, strlen(PIPELINE)) != 0)
        return type;
    return arena_printf(arena, "bookmark.%s", type + strlen(PIPELINE));
}

const char *events_category(const char *type)
{
    static const struct {
        const char *end, *category;
    } categories[] = {
        { ".failed", "error" },
        { ".completed", "success" },
        { ".started", "progress" },
    };
    size_t length = strlen(type);

    for (size_t i = 0; i < sizeof(categories) / sizeof(categories[0]); i++) {
        size_t size = strlen(categories[i].end);
        if (length >= size && strcmp(type + length - size, categories[i].end) == 0)
            return categories[i].category;
    }
    return "info";
}

/* JSON without the blanks between its parts: jsonb comes back with them, and a line
 * break would end the frame's data line. */
static const char *compact(struct arena *arena, const char *json)
{
    char *out = arena_alloc(arena, strlen(json) + 1);
    size_t length = 0;
    bool in_text = false;

    for (const char *at = json; *at; at++) {
        if (in_text && *at == '\\' && at[1]) {
            out[length++] = *at++;
        } else if (*at == '"') {
            in_text = !in_text;
        } else if (!in_text && strchr(" \t\r\n", *at)) {
            continue;
        }
        out[length++] = *at;
    }
    out[length] = '\0';
    return out;
}

void events_frame(struct buf *out, const char *event_id, const char *type, int sequence,
                  const char *run_id, int32_t bookmark_id, const char *category,
                  const char *data, const char *error, const char *timestamp)
{
    struct arena *arena = task_arena();
    struct json_writer w = { .out = out };

    buf_addf(out, "id: %s\nevent: %s\ndata: ", event_id, type);
    json_begin_object(&w, NULL);
    json_put_text(&w, "event_id", event_id);
    json_put_int(&w, "schema_version", SCHEMA_VERSION);
    json_put_text(&w, "pipeline_run_id", run_id);
    json_put_int(&w, "bookmark_id", bookmark_id);
    json_put_int(&w, "sequence", sequence);
    json_put_text(&w, "type", events_short_type(arena, type));
    json_put_text(&w, "category", category ? category : events_category(type));
    json_put_raw(&w, "data", data ? compact(arena, data) : "{}");
    json_put_raw(&w, "error", error ? compact(arena, error) : "null");
    json_put_text(&w, "timestamp", timestamp);
    json_end_object(&w);
    buf_adds(out, "\n\n");
}

/* The same stage of the same run has the same id ... */
void events_pipeline_id(const struct event *event, char ret[EVENTS_ID_SIZE])
{
    char digest[SHA256_HEX_SIZE];
    const char *name = arena_printf(task_arena(), "%s %" PRId32 " %d %s", event->run_id,
                                    event->bookmark_id, event->sequence, event->type);
    sha256_hex(name, strlen(name), digest);
    snprintf(ret, EVENTS_ID_SIZE, "evt_%.32s", digest);
}

/* ... anything else a random one. */
static void make_event_id(const struct event *event, char ret[EVENTS_ID_SIZE])
{
    if (strncmp(event->type, PIPELINE, strlen(PIPELINE)) == 0) {
        events_pipeline_id(event, ret);
        return;
    }
    id_hex(ret + snprintf(ret, EVENTS_ID_SIZE, "evt_"), 32);
}

int events_store(struct pg *pg, struct pg_tx *tx, const struct event *event,
                 const char **ret_message)
{
    struct buf message = BUF_IN(task_arena());
    struct pg_rows rows = { .count = 1 };
    char event_id[EVENTS_ID_SIZE], now[CLOCK_TEXT_SIZE];

    make_event_id(event, event_id);
    clock_iso(clock_unix_us(), now);
    if (!event->is_of_deleted) {
        const char *metadata =
            event->category
                ? arena_printf(task_arena(), "{\"category\":\"%s\"}", event->category)
                : NULL;
        const struct pg_param params[] = {
            pg_int(event->user_id), pg_int(event->bookmark_id), pg_text(event_id),
            pg_text(event->run_id), pg_int(event->sequence),    pg_text(event->type),
            pg_text(event->data),   pg_text(event->error),      pg_text(metadata),
            pg_text(now),
        };
        const int count = (int)(sizeof(params) / sizeof(params[0]));
        int rc = tx ? pg_tx_run(tx, &sql_event_insert, params, count, &rows)
                    : pg_run(pg, &sql_event_insert, params, count, &rows);
        if (rc < 0)
            return rc;
    }
    if (rows.count == 0) {
        *ret_message = NULL;
        return 0;
    }
    buf_addf(&message, "%" PRId32 " ", event->user_id);
    events_frame(&message, event_id, event->type, event->sequence, event->run_id,
                 event->bookmark_id, event->category, event->data, event->error, now);
    *ret_message = buf_text(&message);
    return 0;
}

void events_publish(struct redis *redis, const char *message)
{
    if (message)
        redis_call(redis, NULL, "PUBLISH %s %s", EVENTS_CHANNEL, message);
}
