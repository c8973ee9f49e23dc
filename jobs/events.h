/*
 * events.h - what happens to a bookmark, told to its user's open pages.
 *
 * An event is a row of bookmark_events (kept 30 days, for replay) and a message
 * on one Redis channel, which every HTTP worker hears. Names, shape and sequence
 * numbers: contract 1.15 A and 3.3 to 3.5. Delivery is at least once.
 */
#ifndef FORKMARK_JOBS_EVENTS_H
#define FORKMARK_JOBS_EVENTS_H

#include "common/pg.h"
#include "common/redis.h"
#include <stdint.h>

struct arena;
struct buf;

/* Message: "<user_id> <frame>"; the frame is what goes onto the stream. */
#define EVENTS_CHANNEL "forkmark:events"

struct event {
    int32_t user_id;
    int32_t bookmark_id;
    const char *run_id; /* run_ + 32 hex */
    int sequence;
    const char *type;     /* the long name: "bookmark.pipeline.scraping.started" */
    const char *data;     /* JSON object */
    const char *error;    /* JSON object, or NULL */
    const char *category; /* NULL: by contract's rule from the name */
    bool is_of_deleted;   /* told, but not stored: nobody asks for it later */
};

/*
 * Stores the event, in `tx` when given, else on its own, then `ret_message` is the
 * text for events_publish() after the commit; NULL when it was stored before. Yields. 0
 * or pg's error.
 */
int events_store(struct pg *pg, struct pg_tx *tx, const struct event *event,
                 const char **ret_message);
#define EVENTS_ID_SIZE 40
/* What an event of the pipeline is called: always the same. Does not yield. */
void events_pipeline_id(const struct event *event, char ret[EVENTS_ID_SIZE]);
/* Best effort. Yields. */
void events_publish(struct redis *redis, const char *message);

/* The SSE frame of a stored row: id, event, data lines. */
void events_frame(struct buf *out, const char *event_id, const char *type, int sequence,
                  const char *run_id, int32_t bookmark_id, const char *category,
                  const char *data, const char *error, const char *timestamp);
/* "bookmark.pipeline.scraping.started" -> "bookmark.scraping.started" (D6). */
const char *events_short_type(struct arena *arena, const char *type);
const char *events_category(const char *type);

#endif
