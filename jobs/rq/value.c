/*
 * value.c - building and walking trees of Python values.
 *
 * Small integers, None and the booleans are shared constants: payloads consist
 * of little else. Containers keep their expanded size and depth as items come,
 * so a bound is checked in constant time and "billion laughs" stops early.
 */
#include "jobs/rq/value.h"
#include "common/arena.h"
#include "common/log.h"
#include <assert.h>
#include <string.h>

#define SHARED_INTEGERS   256
#define SHARED_CHARACTERS 128
#define WALK_DEPTH        (VALUE_MAX_DEPTH + 16) /* what was read, wrapped by us */

_Static_assert(sizeof(struct value) == 24, "payloads are made of millions of these");

static struct value *new_value(struct arena *arena, enum value_kind kind)
{
    struct value *value = arena_alloc(arena, sizeof(*value));

    value->kind = kind;
    return value;
}

struct value *value_none(struct arena *arena)
{
    static struct value none = { .kind = VALUE_NONE };

    (void)arena;
    return &none;
}

struct value *value_bool(struct arena *arena, bool boolean)
{
    static struct value yes = { .kind = VALUE_BOOL, .boolean = true };
    static struct value no = { .kind = VALUE_BOOL, .boolean = false };

    (void)arena;
    return boolean ? &yes : &no;
}

struct value *value_int(struct arena *arena, int64_t integer)
{
    static struct value shared[SHARED_INTEGERS];
    struct value *value;

    if (integer >= 0 && integer < SHARED_INTEGERS) {
        value = &shared[integer];
        value->kind = VALUE_INT;
    } else {
        value = new_value(arena, VALUE_INT);
    }
    value->integer = integer;
    return value;
}

struct value *value_integer(struct arena *arena, const void *data, size_t length)
{
    const uint8_t *bytes = data;

    /* A byte that only repeats the sign of the one before it says nothing. */
    while (length > 1 && ((bytes[length - 1] == 0 && !(bytes[length - 2] & 0x80)) ||
                          (bytes[length - 1] == 0xff && bytes[length - 2] & 0x80)))
        length--;
    if (length > sizeof(int64_t)) {
        struct value *value = new_value(arena, VALUE_BIGINT);
        value->bytes.data = arena_memdup(arena, bytes, length);
        value->bytes.length = length;
        return value;
    }

    uint64_t number = length > 0 && bytes[length - 1] & 0x80 ? UINT64_MAX : 0;
    for (size_t i = length; i-- > 0;)
        number = number << 8 | bytes[i];
    return value_int(arena, (int64_t)number);
}

struct value *value_float(struct arena *arena, double real)
{
    struct value *value = new_value(arena, VALUE_FLOAT);

    value->real = real;
    return value;
}

struct value *value_complex(struct arena *arena, double real, double imaginary)
{
    struct value *value = new_value(arena, VALUE_COMPLEX);

    value->complex.real = real;
    value->complex.imaginary = imaginary;
    return value;
}

/* Texts of no or one ASCII character are shared, as Python shares them. */
static struct value *short_text(const char *text, size_t length)
{
    static struct value shared[SHARED_CHARACTERS];
    static char characters[SHARED_CHARACTERS][2];
    static struct value empty = { .kind = VALUE_TEXT, .bytes.data = "" };
    unsigned char character = length > 0 ? (unsigned char)text[0] : 0;

    if (length == 0)
        return &empty;
    if (length > 1 || character >= SHARED_CHARACTERS)
        return NULL;
    characters[character][0] = (char)character;
    shared[character].kind = VALUE_TEXT;
    shared[character].bytes.data = characters[character];
    shared[character].bytes.length = 1;
    return &shared[character];
}

struct value *value_view(struct arena *arena, enum value_kind kind, const char *data,
                         size_t length)
{
    struct value *value = kind == VALUE_TEXT ? short_text(data, length) : NULL;

    if (value)
        return value;
    assert(data[length] == '\0');
    value = new_value(arena, kind);
    value->bytes.data = data;
    value->bytes.length = length;
    return value;
}

struct value *value_text(struct arena *arena, const char *text, size_t length)
{
    struct value *value = short_text(text, length);

    return value ? value
                 : value_view(arena, VALUE_TEXT, arena_strndup(arena, text, length),
                              length);
}

struct value *value_bytes(struct arena *arena, const void *data, size_t length)
{
    return value_view(arena, VALUE_BYTES,
                      arena_strndup(arena, length > 0 ? data : "", length), length);
}

struct value *value_uuid(struct arena *arena, const uint8_t bytes[VALUE_UUID_SIZE])
{
    return value_view(arena, VALUE_UUID,
                      arena_strndup(arena, (const char *)bytes, VALUE_UUID_SIZE),
                      VALUE_UUID_SIZE);
}

struct value *value_container(struct arena *arena, enum value_kind kind)
{
    struct value *value = new_value(arena, kind);

    assert(value_is_container(value));
    value->depth = 1;
    value->expanded = 1;
    return value;
}

struct value *value_empty(enum value_kind kind)
{
#define EMPTY(of_kind)         \
    [(of_kind)-VALUE_LIST] = { \
        .kind = (of_kind),     \
        .frozen = true,        \
        .depth = 1,            \
        .expanded = 1          \
    }
    static struct value empty[] = { EMPTY(VALUE_LIST), EMPTY(VALUE_TUPLE),
                                    EMPTY(VALUE_DICT), EMPTY(VALUE_SET),
                                    EMPTY(VALUE_FROZENSET) };
#undef EMPTY

    assert(kind >= VALUE_LIST);
    return &empty[kind - VALUE_LIST];
}

bool value_is_hashable(const struct value *value)
{
    switch (value->kind) {
    case VALUE_BYTEARRAY:
    case VALUE_LIST:
    case VALUE_DICT:
    case VALUE_SET:
        return false;
    default:
        return !value->holds_unhashable;
    }
}

/* Long texts count for more than one: a thousand uses of one are as long as a
 * thousand texts when the value is written again. */
static uint64_t expanded_size(const struct value *value)
{
    switch (value->kind) {
    case VALUE_BIGINT:
    case VALUE_TEXT:
    case VALUE_BYTES:
    case VALUE_BYTEARRAY:
    case VALUE_DECIMAL:
        return 1 + value->bytes.length / VALUE_TEXT_NODE;
    case VALUE_TIME:
    case VALUE_DATETIME:
        return 1 + (value->moment->zone ? expanded_size(value->moment->zone) : 0);
    case VALUE_TIMEZONE:
        return 2 + (value->zone.name ? expanded_size(value->zone.name) : 0);
    default:
        return value_is_container(value) ? value->expanded : 1;
    }
}

const char *value_refuses(const struct value *container, struct value *const *items,
                          size_t count)
{
    uint64_t expanded = container->expanded;

    if (container->frozen)
        return "container modified after use";
    for (size_t i = 0; i < count; i++) {
        if (items[i] == container)
            return "container inside itself";
        if (items[i]->depth >= VALUE_MAX_DEPTH)
            return "nested too deeply";
        expanded += expanded_size(items[i]);
        if (expanded > VALUE_MAX_NODES)
            return "too many values";
    }
    return NULL;
}

void value_reserve(struct arena *arena, struct value *container, size_t count)
{
    size_t need = container->list.count + count;
    size_t room = container->list.room;

    if (need <= room)
        return;
    /* The first batch gets what it asks for: most containers have only one. */
    if (room > 0 && need < room * 2)
        need = room * 2;
    assert(need <= UINT32_MAX);
    container->list.items =
        arena_grow(arena, container->list.items, container->list.count * sizeof(void *),
                   need * sizeof(void *));
    container->list.room = (uint32_t)need;
}

void value_add(struct arena *arena, struct value *container, struct value *item)
{
    uint64_t expanded = container->expanded + expanded_size(item);

    assert(value_is_container(container) && !container->frozen && item != container);
    if (container->list.count == container->list.room)
        value_reserve(arena, container, container->list.room > 0 ? 1 : 4);
    container->list.items[container->list.count++] = item;
    container->expanded = expanded < UINT32_MAX ? (uint32_t)expanded : UINT32_MAX;
    if (!value_is_hashable(item))
        container->holds_unhashable = true;
    if (value_is_container(item)) {
        item->frozen = true;
        if (container->depth <= item->depth)
            container->depth = (uint16_t)(item->depth + 1);
    }
}

void value_put(struct arena *arena, struct value *dict, const char *key,
               struct value *item)
{
    assert(dict->kind == VALUE_DICT);
    value_add(arena, dict, value_text(arena, key, strlen(key)));
    value_add(arena, dict, item);
}

const struct value *value_find(const struct value *dict, const char *key)
{
    size_t length = strlen(key);

    if (!dict || dict->kind != VALUE_DICT)
        return NULL;
    /* From the end: of two equal keys Python keeps the later one. */
    for (size_t i = dict->list.count; i >= 2; i -= 2) {
        const struct value *name = dict->list.items[i - 2];

        if (name->kind == VALUE_TEXT && name->bytes.length == length &&
            memcmp(name->bytes.data, key, length) == 0)
            return dict->list.items[i - 1];
    }
    return NULL;
}

void value_walk(const struct value *root, const struct value_visitor *visitor, void *arg)
{
    struct {
        const struct value *container;
        size_t next;
    } open[WALK_DEPTH];
    size_t depth = 0;
    const struct value *value = root;
    const struct value *parent = NULL;
    size_t index = 0;

    for (;;) {
        enum value_step step = visitor->enter(arg, value, parent, index);

        if (step == VALUE_STOP)
            return;
        if (step == VALUE_DESCEND && value_is_container(value)) {
            if (depth == WALK_DEPTH)
                fatal("a value nested deeper than %d", WALK_DEPTH);
            open[depth].container = value;
            open[depth].next = 0;
            depth++;
        }
        while (depth > 0 &&
               open[depth - 1].next == open[depth - 1].container->list.count) {
            depth--;
            if (visitor->leave)
                visitor->leave(arg, open[depth].container);
        }
        if (depth == 0)
            return;
        parent = open[depth - 1].container;
        index = open[depth - 1].next++;
        value = parent->list.items[index];
    }
}
