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

/* One byte; containers last: see value_is_container(). */
enum __attribute__((packed)) value_kind {
    VALUE_NONE,
    VALUE_BOOL,
    VALUE_INT,
    VALUE_BIGINT,
    VALUE_FLOAT,
    VALUE_COMPLEX,
    VALUE_TEXT,
    VALUE_BYTES,
    VALUE_BYTEARRAY,
    VALUE_DECIMAL,
    VALUE_UUID,
    VALUE_DATE,
    VALUE_TIME,
    VALUE_DATETIME,
    VALUE_TIMEDELTA,
    VALUE_TIMEZONE,
    VALUE_LIST,
    VALUE_TUPLE,
    VALUE_DICT,
    VALUE_SET,
    VALUE_FROZENSET,
};

/* Bounds of what is read; whatever we build ourselves stays below them too. */
#define VALUE_MAX_NODES 1000000U /* every use of a shared item counts */
#define VALUE_MAX_DEPTH 256
#define VALUE_TEXT_NODE 64 /* so many bytes of a text count as one more node */
#define VALUE_UUID_SIZE 16

/* A date, a time of day, or both; the part that a kind does not have is zero. */
struct value_moment {
    const struct value *zone; /* VALUE_TIMEZONE; NULL: naive */
    uint32_t microsecond;
    uint16_t year;
    uint8_t month, day, hour, minute, second;
    bool fold; /* the second of two equal times, when clocks are put back */
};

/* As Python keeps it: only the days are negative. */
struct value_delta {
    int32_t days, seconds, microseconds;
};

struct value {
    enum value_kind kind;
    bool frozen : 1;           /* used inside another container: no longer changes */
    bool holds_unhashable : 1; /* containers: some item can be no dict's key */
    bool internal : 1;         /* of the pickle reader: no value, never in a result */
    uint16_t depth;            /* containers: 1 + deepest item */
    uint32_t expanded;         /* 1 + the items' expanded sizes, saturating */
    union {
        bool boolean;
        int64_t integer;
        double real;
        struct {
            double real, imaginary;
        } complex;
        struct {
            /* Text, bytes, bytearray, decimal (as text), UUID (16 bytes), all with a
             * NUL behind them; bigint: two's complement, little-endian. */
            const char *data;
            size_t length;
        } bytes;
        const struct value_moment *moment;
        struct value_delta delta;
        struct {
            const struct value *offset; /* VALUE_TIMEDELTA, under a day either way */
            const struct value *name;   /* VALUE_TEXT; NULL: none */
        } zone;
        struct {
            struct value **items; /* dict: key, value, key, value */
            uint32_t count;       /* of items; a dict's pairs are count / 2 */
            uint32_t room;
        } list;
    };
};

struct value *value_none(struct arena *arena);
struct value *value_bool(struct arena *arena, bool boolean);
struct value *value_int(struct arena *arena, int64_t integer);
struct value *value_float(struct arena *arena, double real);
struct value *value_complex(struct arena *arena, double real, double imaginary);
struct value *value_text(struct arena *arena, const char *text, size_t length);
struct value *value_bytes(struct arena *arena, const void *data, size_t length);
struct value *value_container(struct arena *arena, enum value_kind kind);
/* Any integer by its two's complement, little-endian; VALUE_INT where it fits. */
struct value *value_integer(struct arena *arena, const void *bytes, size_t length);
/* Text, bytes or bytearray whose bytes are not copied: `data` lives as long as the arena
 * and data[length] is NUL. */
struct value *value_view(struct arena *arena, enum value_kind kind, const char *data,
                         size_t length);
/* An empty container shared by all: frozen. */
struct value *value_empty(enum value_kind kind);

/* NULL when it is none. A decimal is written as Python writes it ("-1.50", "1E+5",
 * "NaN"); the text is not copied and ends in NUL. */
struct value *value_decimal(struct arena *arena, const char *text, size_t length);
struct value *value_uuid(struct arena *arena, const uint8_t bytes[VALUE_UUID_SIZE]);
/* VALUE_DATE, VALUE_TIME or VALUE_DATETIME; NULL when there is no such moment. */
struct value *value_moment(struct arena *arena, enum value_kind kind,
                           const struct value_moment *moment);
struct value *value_timedelta(struct arena *arena, const struct value_delta *delta);
struct value *value_timezone(struct arena *arena, const struct value *offset,
                             const struct value *name);

/* Whether `count` items fit below the bounds and the container may still change. NULL,
 * or what is wrong. */
const char *value_refuses(const struct value *container, struct value *const *items,
                          size_t count);
/* Room for `count` items more, so that adding them allocates once. */
void value_reserve(struct arena *arena, struct value *container, size_t count);
void value_add(struct arena *arena, struct value *container, struct value *item);
void value_put(struct arena *arena, struct value *dict, const char *key,
               struct value *item);
/* Whether it can be a dict's key or in a set. */
bool value_is_hashable(const struct value *value);

/* The last entry of that text key; NULL when absent or no dict. */
const struct value *value_find(const struct value *dict, const char *key);

/*
 * As JSON text, for logs, exec, `jobs show` and queues of the JSON serializer: bytes as
 * base64, sets and tuples as arrays, times as ISO 8601, a timedelta as its seconds, a
 * decimal and a UUID as text; keys that are no text as Python's json writes them.
 */
void value_to_json(const struct value *value, struct buf *out);
/* Whether Python's json would write it at all, and read back what we mean. */
bool value_is_json(const struct value *value);
/* As Python would print it, cut to `max` characters and "...": job descriptions. */
void value_repr(const struct value *value, struct buf *out, size_t max);
/* A date, time or datetime as Python's isoformat() gives it. */
void value_write_iso(const struct value *value, struct buf *out);

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
