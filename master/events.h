/*
 * events.h - what happened lately: the last few hundred starts, ends and deaths with
 * their reasons, reloads, scalings. `forkmark ctl show events` prints them.
 *
 * A log file may be far away or rotated; these are in the master's own memory, of a
 * fixed size, and cost nothing while nobody looks.
 */
#ifndef FORKMARK_MASTER_EVENTS_H
#define FORKMARK_MASTER_EVENTS_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>

struct buf;

enum event_kind {
    EVENT_START,   /* a child is ready */
    EVENT_END,     /* a child ended as it was told, and why it was told */
    EVENT_DEATH,   /* a child ended otherwise: how, what it used, what it was at */
    EVENT_KILL,    /* a child is killed, with the reason */
    EVENT_RECYCLE, /* a child has done its share, or holds too much memory */
    EVENT_RELOAD,  /* done, refused or rolled back */
    EVENT_SCALE,   /* by an operator, a signal, a time limit, or the load */
    EVENT_MASTER,  /* serving, stopping, the log's level */
};

/* Cut to fit; the oldest gives way. */
void event_note(enum event_kind kind, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Oldest first: into an array of {"time", "kind", "text"}, and as lines. */
void events_show(cJSON *list, struct buf *text);
void events_clear(void);

/* For the program that takes over: a line for each since `since` (as events_count() was),
 * which events_read() puts where its time says. False: it is no such line. */
size_t events_count(void);
void events_write(size_t since, struct buf *out);
bool events_read(const char *line);

#endif
