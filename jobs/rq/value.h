/*
 * value.h - Python values as data: what a job's arguments and results are made of.
 *
 * A tree in an arena, read from pickle or JSON and written to either. No value
 * ever causes code to be looked up or called.
 */
#ifndef FORKMARK_JOBS_RQ_VALUE_H
#define FORKMARK_JOBS_RQ_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;
struct buf;

enum value_kind {
    VALUE_NONE,
    VALUE_BOOL,
    VALUE_INT,
    VALUE_BIGINT,
    VALUE_FLOAT,
    VALUE_TEXT,
    VALUE_BYTES,
    VALUE_LIST,
    VALUE_TUPLE,
    VALUE_DICT,
    VALUE_SET,
    VALUE_FROZENSET,
};

/* Bounds of what is read; whatever we build ourselves stays below them too. */
#define VALUE_MAX_NODES ((uint64_t)1000000) /* every use of a shared item counts */
#define VALUE_MAX_DEPTH 256
#define VALUE_TEXT_NODE 64 /* so many bytes of a text count as one more node */

struct value {
    enum value_kind kind;
    bool frozen;       /* used inside another container: no longer changes */
    bool unhashable;   /* cannot be a dict's key or in a set; kept up as items come */
    uint32_t depth;    /* containers: 1 + deepest item */
    uint64_t expanded; /* 1 + the items' expanded sizes, saturating */
    union {
        bool boolean;
        int64_t integer;
        double real;
        struct {
            const char *data; /* text, bytes; bigint: two's complement, little-endian */
            size_t length;
        } bytes;
        struct {
            struct value **items; /* dict: key, value, key, value */
            size_t count;         /* of items; a dict's pairs are count / 2 */
            size_t room;
        } list;
    };
};

struct value *value_none(struct arena *arena);
struct value *value_bool(struct arena *arena, bool boolean);
struct value *value_int(struct arena *arena, int64_t integer);
struct value *value_float(struct arena *arena, double real);
struct value *value_text(struct arena *arena, const char *text, size_t length);
struct value *value_bytes(struct arena *arena, const void *data, size_t length);
struct value *value_container(struct arena *arena, enum value_kind kind);
/* Any integer by its two's complement, little-endian; VALUE_INT where it fits. */
struct value *value_integer(struct arena *arena, const void *bytes, size_t length);
/* Whether `count` items fit below the bounds and the container may still change. NULL,
 * or what is wrong. */
const char *value_refuses(const struct value *container, struct value *const *items,
                          size_t count);
/* Room for `count` items more, so that adding them allocates once. */
void value_reserve(struct arena *arena, struct value *container, size_t count);
void value_add(struct arena *arena, struct value *container, struct value *item);
void value_put(struct arena *arena, struct value *dict, const char *key,
               struct value *item);

/* The last entry of that text key; NULL when absent or no dict. */
const struct value *value_find(const struct value *dict, const char *key);

/* As JSON text (bytes as base64, sets and tuples as arrays): for logs, exec, `jobs show`.
 */
void value_to_json(const struct value *value, struct buf *out);
/* As Python would print it, cut to `max` characters and "...": job descriptions. */
void value_repr(const struct value *value, struct buf *out, size_t max);

/*
 * Every value below `root` in order, without recursion: what is read from outside may
 * be nested VALUE_MAX_DEPTH deep. `parent` is NULL for the root; an item of a dict at
 * an even index is a key.
 */
enum value_step { VALUE_DESCEND, VALUE_PASS, VALUE_STOP };
struct value_visitor {
    enum value_step (*enter)(void *arg, const struct value *value,
                             const struct value *parent, size_t index);
    void (*leave)(void *arg, const struct value *container); /* after its items */
};
void value_walk(const struct value *root, const struct value_visitor *visitor, void *arg);

/* To put a value that is only read into a container, which may freeze it. */
static inline struct value *value_borrow(const struct value *value)
{
    union {
        const struct value *in;
        struct value *out;
    } same = { .in = value };

    return same.out;
}

static inline bool value_is_container(const struct value *value)
{
    return value->kind >= VALUE_LIST;
}

#endif
