/*
 * bookmark_form.h - what a client may say about a link it saves (contract 2.2).
 */
#ifndef FORKMARK_WORKER_HANDLERS_BOOKMARK_FORM_H
#define FORKMARK_WORKER_HANDLERS_BOOKMARK_FORM_H

#include "common/json.h"
#include <stdbool.h>

struct arena;

#define BOOKMARK_UNTITLED "Untitled Bookmark"
#define BOOKMARK_BAD_URL  "Only http and https URLs can be saved"

struct bookmark_form {
    const char *url;      /* trimmed, otherwise as sent */
    const char *url_norm; /* compared, never shown */
    const char *page_key; /* the key of "similar" */
    const char *title;    /* cut to its column; NULL: none given */
    const char *notes;    /* the field `description`; NULL: none given */
    const char *category; /* never NULL */
    const char *tags;     /* comma-joined; NULL: none */
    bool has_tags;        /* the key was sent, perhaps with nothing in it */
    const char *problem;  /* the 400's body, when reading failed */
};

/* False: `problem` says why, in JSON. */
bool bookmark_form_read(struct arena *arena, const cJSON *body,
                        struct bookmark_form *ret);
/* Only the URL, for routes that need nothing else. Any text passes; "" does not. */
bool bookmark_form_read_url(struct arena *arena, const cJSON *body,
                            struct bookmark_form *ret);

/* At most 200 characters, cut at a word where that costs little. */
const char *bookmark_title(struct arena *arena, const char *text);
/* "a, b,,c" -> "a,b,c"; NULL when nothing is left. */
const char *bookmark_tags(struct arena *arena, const cJSON *tags);
/* The stored text as a JSON array. */
void bookmark_tags_put(struct json_writer *w, const char *key, const char *tags);

#endif
