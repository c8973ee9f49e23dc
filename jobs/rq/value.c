/*
 * value.c - building and walking trees of Python values.
 *
 * Small integers, None and the booleans are shared constants: payloads consist
 * of little else. Containers keep their expanded size and depth as items come,
 * so a bound is checked in constant time and "billion laughs" stops early.
 */
#include "jobs/rq/value.h"
#include "common/arena.h"
#include <assert.h>
#include <string.h>

#define SHARED_INTEGERS 256

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

static struct value *bytes_value(struct arena *arena, enum value_kind kind,
                                 const void *data, size_t length)
{
    struct value *value = new_value(arena, kind);

    value->bytes.data = arena_strndup(arena, length > 0 ? data : "", length);
    value->bytes.length = length;
    return value;
}

struct value *value_text(struct arena *arena, const char *text, size_t length)
{
    return bytes_value(arena, VALUE_TEXT, text, length);
}

struct value *value_bytes(struct arena *arena, const void *data, size_t length)
{
    return bytes_value(arena, VALUE_BYTES, data, length);
}

struct value *value_container(struct arena *arena, enum value_kind kind)
{
    struct value *value = new_value(arena, kind);

    assert(value_is_container(value));
    value->depth = 1;
    value->expanded = 1;
    value->unhashable = kind != VALUE_TUPLE && kind != VALUE_FROZENSET;
    return value;
}

/* Long texts count for more than one: a thousand uses of one are as long as a
 * thousand texts when the value is written again. */
static uint64_t expanded_size(const struct value *value)
{
    if (value_is_container(value))
        return value->expanded;
    if (value->kind == VALUE_TEXT || value->kind == VALUE_BYTES ||
        value->kind == VALUE_BIGINT)
        return 1 + value->bytes.length / VALUE_TEXT_NODE;
    return 1;
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
        if (value_is_container(items[i]) && items[i]->depth >= VALUE_MAX_DEPTH)
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
    container->list.items =
        arena_grow(arena, container->list.items, container->list.count * sizeof(void *),
                   need * sizeof(void *));
    container->list.room = need;
}

void value_add(struct arena *arena, struct value *container, struct value *item)
{
    assert(value_is_container(container) && !container->frozen && item != container);
    if (container->list.count == container->list.room)
        value_reserve(arena, container, container->list.room > 0 ? 1 : 4);
    container->list.items[container->list.count++] = item;
    container->expanded += expanded_size(item);
    if (item->unhashable)
        container->unhashable = true;
    if (value_is_container(item)) {
        item->frozen = true;
        if (container->depth <= item->depth)
            container->depth = item->depth + 1;
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
    } open[VALUE_MAX_DEPTH + 1];
    size_t depth = 0;
    const struct value *value = root;
    const struct value *parent = NULL;
    size_t index = 0;

    for (;;) {
        enum value_step step = visitor->enter(arg, value, parent, index);

        if (step == VALUE_STOP)
            return;
        if (step == VALUE_DESCEND && value_is_container(value)) {
            assert(depth <= VALUE_MAX_DEPTH);
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
