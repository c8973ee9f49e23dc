/*
 * payload.h - a job's `data` field: zlib around pickle or JSON around four items.
 *
 * The reader takes hostile input: no import, no call; bounds on output, depth,
 * expanded size and memo (RQ's format: protocol notes in README, "RQ").
 */
#ifndef FORKMARK_JOBS_RQ_PAYLOAD_H
#define FORKMARK_JOBS_RQ_PAYLOAD_H

#include "jobs/rq/value.h"

enum payload_format { PAYLOAD_PICKLE, PAYLOAD_JSON };

struct call {
    const char *name;           /* dotted function name */
    const struct value *args;   /* tuple or list */
    const struct value *kwargs; /* dict with text keys */
    enum payload_format format; /* answer in the same */
};

#define PAYLOAD_MAX_INFLATED ((size_t)16 << 20) /* unless configured */

/* Process-wide, once at its start: `jobs.serializer` (an enum payload_format) and
 * `jobs.payload_limit`. Without it pickle and PAYLOAD_MAX_INFLATED. */
void payload_configure(int format, uint64_t max_inflated);
/* What new jobs and their meta are written as. Whatever is read says itself what it is.
 */
enum payload_format payload_format(void);

/* False: `*ret_error` says why, e.g. "DeserializationError: opcode 0x63 not allowed". */
bool payload_read(struct arena *arena, const void *data, size_t length, struct call *ret,
                  const char **ret_error);
/* The name of a payload's function, from as many of its bytes as are at hand; NULL: they
 * do not tell (which says nothing about the payload). */
const char *payload_peek_name(struct arena *arena, const void *data, size_t length);
/* Deflated, ready for HSET. */
void payload_write(struct arena *arena, const struct call *call, struct buf *out);

/* zlib, as in `data` and in a result's error text. */
void payload_deflate(const void *data, size_t length, struct buf *out);

/* The way back; what is no zlib, or too large, is false and left as it is. */
bool payload_inflate(struct arena *arena, const void **data, size_t *length);

/* One value, uncompressed pickle or JSON, whichever it is: `meta`, a result. NULL and the
 * error. */
struct value *value_read(struct arena *arena, const void *data, size_t length,
                         const char **ret_error);
/* Pickle of any protocol 0 to 5. The second reads where it is: `data` lives as long as
 * the arena and is changed. */
struct value *pickle_read(struct arena *arena, const void *data, size_t length,
                          const char **ret_error);
struct value *pickle_read_in_place(struct arena *arena, char *data, size_t length,
                                   const char **ret_error);
/* Protocol 4, no frames, no memo; every Python from 3.4 on reads it. */
void pickle_write(const struct value *value, struct buf *out);
/* JSON, the same two ways; in place with a NUL at text[length]. */
struct value *value_from_json(struct arena *arena, const char *text, size_t length,
                              const char **ret_error);
struct value *value_from_json_in_place(struct arena *arena, char *text, size_t length,
                                       const char **ret_error);
/* A result. What JSON has no form for becomes RQ's "Unserializable return value". */
void value_write(const struct value *value, enum payload_format format, struct buf *out);

#endif
