/*
 * pickle_classes.c - builders of typed values, in a table by the names Python pickles.
 *
 * Every builder takes constant time, or pays for the bytes it looks at from a budget of
 * the input's length: a shared argument must not be worked on again and again. (Real
 * picklers write an argument once for each call.)
 */
#include "jobs/rq/pickle_classes.h"
#include "common/arena.h"
#include "common/utf8.h"
#include <string.h>

typedef struct value *(*builder)(struct pickle_build *build, struct value *const *args,
                                 size_t count);

static struct value *refuse(struct pickle_build *build, const char *error)
{
    build->error = error;
    return NULL;
}

static bool pay(struct pickle_build *build, size_t bytes)
{
    if (bytes > build->budget)
        return false;
    build->budget -= bytes;
    return true;
}

static struct value *checked(struct pickle_build *build, struct value *value,
                             const char *error)
{
    return value ? value : refuse(build, error);
}

static bool is_bytes(const struct value *value, size_t length)
{
    return value->kind == VALUE_BYTES && value->bytes.length == length;
}

/* ---- dates and times: packed bytes, big-endian ---- */

#define FOLD 0x80 /* top bit of a datetime's month, of a time's hour */

static void read_date(struct value_moment *moment, const uint8_t *packed)
{
    moment->year = (uint16_t)(packed[0] << 8 | packed[1]);
    moment->month = packed[2];
    moment->day = packed[3];
}

static void read_time(struct value_moment *moment, const uint8_t *packed)
{
    moment->hour = packed[0];
    moment->minute = packed[1];
    moment->second = packed[2];
    moment->microsecond =
        (uint32_t)packed[3] << 16 | (uint32_t)packed[4] << 8 | (uint32_t)packed[5];
}

/* The second argument, which may be None. */
static const struct value *zone_of(struct value *const *args, size_t count)
{
    return count == 2 && args[1]->kind != VALUE_NONE ? args[1] : NULL;
}

static struct value *build_date(struct pickle_build *build, struct value *const *args,
                                size_t count)
{
    struct value_moment moment = { 0 };

    if (count != 1 || !is_bytes(args[0], 4))
        return refuse(build, "no date");
    read_date(&moment, (const uint8_t *)args[0]->bytes.data);
    return checked(build, value_moment(build->arena, VALUE_DATE, &moment), "no date");
}

static struct value *build_time(struct pickle_build *build, struct value *const *args,
                                size_t count)
{
    struct value_moment moment = { .zone = zone_of(args, count) };

    if (count < 1 || count > 2 || !is_bytes(args[0], 6))
        return refuse(build, "no time");
    read_time(&moment, (const uint8_t *)args[0]->bytes.data);
    moment.fold = moment.hour & FOLD;
    moment.hour &= (uint8_t)~FOLD;
    return checked(build, value_moment(build->arena, VALUE_TIME, &moment), "no time");
}

static struct value *build_datetime(struct pickle_build *build, struct value *const *args,
                                    size_t count)
{
    struct value_moment moment = { .zone = zone_of(args, count) };

    if (count < 1 || count > 2 || !is_bytes(args[0], 10))
        return refuse(build, "no datetime");
    read_date(&moment, (const uint8_t *)args[0]->bytes.data);
    read_time(&moment, (const uint8_t *)args[0]->bytes.data + 4);
    moment.fold = moment.month & FOLD;
    moment.month &= (uint8_t)~FOLD;
    return checked(build, value_moment(build->arena, VALUE_DATETIME, &moment),
                   "no datetime");
}

static struct value *build_timedelta(struct pickle_build *build,
                                     struct value *const *args, size_t count)
{
    if (count != 3)
        return refuse(build, "no timedelta");
    for (size_t i = 0; i < count; i++) {
        if (args[i]->kind != VALUE_INT || args[i]->integer < INT32_MIN ||
            args[i]->integer > INT32_MAX)
            return refuse(build, "no timedelta");
    }
    const struct value_delta delta = { (int32_t)args[0]->integer,
                                       (int32_t)args[1]->integer,
                                       (int32_t)args[2]->integer };
    return checked(build, value_timedelta(build->arena, &delta), "no timedelta");
}

static struct value *build_timezone(struct pickle_build *build, struct value *const *args,
                                    size_t count)
{
    if (count < 1 || count > 2)
        return refuse(build, "no time zone");
    return checked(build,
                   value_timezone(build->arena, args[0], count == 2 ? args[1] : NULL),
                   "no time zone");
}

/* ---- numbers ---- */

static struct value *build_decimal(struct pickle_build *build, struct value *const *args,
                                   size_t count)
{
    if (count != 1 || args[0]->kind != VALUE_TEXT || !pay(build, args[0]->bytes.length))
        return refuse(build, "no decimal");
    return checked(
        build, value_decimal(build->arena, args[0]->bytes.data, args[0]->bytes.length),
        "no decimal");
}

static struct value *build_complex(struct pickle_build *build, struct value *const *args,
                                   size_t count)
{
    if (count != 2 || args[0]->kind != VALUE_FLOAT || args[1]->kind != VALUE_FLOAT)
        return refuse(build, "no complex number");
    return value_complex(build->arena, args[0]->real, args[1]->real);
}

/* ---- bytes and sets below protocol 4 ---- */

/* _codecs.encode(text, 'latin1'): how bytes travel in protocols 0 to 2. */
static struct value *encode_latin1(struct pickle_build *build, const struct value *text,
                                   const struct value *encoding, enum value_kind kind)
{
    size_t length = 0;

    if (text->kind != VALUE_TEXT || encoding->kind != VALUE_TEXT ||
        (strcmp(encoding->bytes.data, "latin1") != 0 &&
         strcmp(encoding->bytes.data, "latin-1") != 0) ||
        !pay(build, text->bytes.length))
        return refuse(build, "no bytes");
    char *bytes = arena_alloc(build->arena, text->bytes.length + 1);
    for (size_t i = 0; i < text->bytes.length; i++) {
        uint8_t c = (uint8_t)text->bytes.data[i];

        if (c >= 0x80) { /* the text is valid: C2 or C3, and a byte more */
            if (c > 0xc3)
                return refuse(build, "no bytes");
            c = (uint8_t)(c << 6 | ((uint8_t)text->bytes.data[++i] & 0x3f));
        }
        bytes[length++] = (char)c;
    }
    return value_view(build->arena, kind, bytes, length);
}

static struct value *build_encoded(struct pickle_build *build, struct value *const *args,
                                   size_t count)
{
    return count == 2 ? encode_latin1(build, args[0], args[1], VALUE_BYTES)
                      : refuse(build, "no bytes");
}

static struct value *build_bytes(struct pickle_build *build, struct value *const *args,
                                 size_t count)
{
    (void)args;
    return count == 0 ? value_view(build->arena, VALUE_BYTES, "", 0)
                      : refuse(build, "no bytes");
}

static struct value *build_bytearray(struct pickle_build *build,
                                     struct value *const *args, size_t count)
{
    if (count == 0)
        return value_view(build->arena, VALUE_BYTEARRAY, "", 0);
    if (count == 2)
        return encode_latin1(build, args[0], args[1], VALUE_BYTEARRAY);
    if (count != 1 || args[0]->kind != VALUE_BYTES)
        return refuse(build, "no bytearray");
    return value_view(build->arena, VALUE_BYTEARRAY, args[0]->bytes.data,
                      args[0]->bytes.length);
}

/* The list it is made of is frozen, being an argument: the set shares its items. */
static struct value *build_from_list(struct pickle_build *build,
                                     struct value *const *args, size_t count,
                                     enum value_kind kind)
{
    if (count == 0)
        return value_empty(kind);
    if (count != 1 || args[0]->kind != VALUE_LIST || args[0]->holds_unhashable)
        return refuse(build, "no set");
    struct value *set = value_container(build->arena, kind);
    set->depth = args[0]->depth;
    set->expanded = args[0]->expanded;
    set->list = args[0]->list;
    set->frozen = true;
    return set;
}

static struct value *build_set(struct pickle_build *build, struct value *const *args,
                               size_t count)
{
    return build_from_list(build, args, count, VALUE_SET);
}

static struct value *build_frozenset(struct pickle_build *build,
                                     struct value *const *args, size_t count)
{
    return build_from_list(build, args, count, VALUE_FROZENSET);
}

static struct value *rebuild(struct pickle_build *build, struct value *const *args,
                             size_t count);

/* ---- the table ---- */

struct class
{
    struct value value; /* on the reader's stack */
    const char *module, *name;
    builder call; /* NULL: not by REDUCE */
};

#define CLASS(of_module, of_name, by)                                             \
    {                                                                             \
        .value = { .kind = VALUE_NONE, .internal = true }, .module = (of_module), \
        .name = (of_name), .call = (by)                                           \
    }

/* Protocols below 3 use the modules' names of Python 2. */
static struct class classes[] = {
    CLASS("uuid", "UUID", NULL),
    CLASS("builtins", "object", NULL),
    CLASS("__builtin__", "object", NULL),
    CLASS("datetime", "datetime", build_datetime),
    CLASS("datetime", "date", build_date),
    CLASS("datetime", "time", build_time),
    CLASS("datetime", "timedelta", build_timedelta),
    CLASS("datetime", "timezone", build_timezone),
    CLASS("decimal", "Decimal", build_decimal),
    CLASS("builtins", "complex", build_complex),
    CLASS("__builtin__", "complex", build_complex),
    CLASS("builtins", "bytearray", build_bytearray),
    CLASS("__builtin__", "bytearray", build_bytearray),
    CLASS("builtins", "set", build_set),
    CLASS("__builtin__", "set", build_set),
    CLASS("builtins", "frozenset", build_frozenset),
    CLASS("__builtin__", "frozenset", build_frozenset),
    CLASS("builtins", "bytes", build_bytes),
    CLASS("__builtin__", "bytes", build_bytes),
    CLASS("_codecs", "encode", build_encoded),
    CLASS("copyreg", "_reconstructor", rebuild),
    CLASS("copy_reg", "_reconstructor", rebuild),
};
#define CLASS_COUNT (sizeof(classes) / sizeof(classes[0]))
#define CLASS_UUID  (&classes[0])

static bool is_named(const char *name, const char *text, size_t length)
{
    return strlen(name) == length && memcmp(name, text, length) == 0;
}

struct value *pickle_class(const char *module, size_t module_length, const char *name,
                           size_t name_length)
{
    for (size_t i = 0; i < CLASS_COUNT; i++) {
        if (is_named(classes[i].name, name, name_length) &&
            is_named(classes[i].module, module, module_length))
            return &classes[i].value;
    }
    return NULL;
}

/* The row that a value of the stack stands for; NULL when it is no class. */
static const struct class *class_of(const struct value *value)
{
    for (size_t i = 0; i < CLASS_COUNT; i++) {
        if (value == &classes[i].value)
            return &classes[i];
    }
    return NULL;
}

static struct value *new_uuid(struct pickle_build *build)
{
    static const uint8_t nil[VALUE_UUID_SIZE];
    struct value *uuid = value_uuid(build->arena, nil);

    uuid->internal = true;
    return uuid;
}

/* copyreg._reconstructor(UUID, object, None): NEWOBJ of protocols 0 and 1. */
static struct value *rebuild(struct pickle_build *build, struct value *const *args,
                             size_t count)
{
    const struct class *base = count == 3 ? class_of(args[1]) : NULL;

    if (!base || class_of(args[0]) != CLASS_UUID || strcmp(base->name, "object") != 0 ||
        args[2]->internal || args[2]->kind != VALUE_NONE)
        return refuse(build, "object not allowed");
    return new_uuid(build);
}

struct value *pickle_call(struct pickle_build *build, const struct value *callable,
                          struct value *args)
{
    const struct class *class = class_of(callable);

    if (!class || !class->call)
        return refuse(build, "call not allowed");
    if (args->kind != VALUE_TUPLE)
        return refuse(build, "call without a tuple of arguments");
    /* Classes are only what _reconstructor takes. */
    if (args->internal && class->call != rebuild)
        return refuse(build, "class as an argument");
    return class->call(build, args->list.items, args->list.count);
}

struct value *pickle_new(struct pickle_build *build, const struct value *class,
                         const struct value *args)
{
    if (class_of(class) != CLASS_UUID || args->kind != VALUE_TUPLE ||
        args->list.count > 0)
        return refuse(build, "object not allowed");
    return new_uuid(build);
}

/* An integer of up to 128 bits as 16 bytes, big-endian. */
static bool read_uuid(const struct value *number, uint8_t bytes[VALUE_UUID_SIZE])
{
    uint8_t little[VALUE_UUID_SIZE + 1] = { 0 };

    if (number->kind == VALUE_INT && number->integer >= 0) {
        for (size_t i = 0; i < sizeof(number->integer); i++)
            little[i] = (uint8_t)((uint64_t)number->integer >> (8 * i));
    } else if (number->kind == VALUE_BIGINT && number->bytes.length <= sizeof(little)) {
        memcpy(little, number->bytes.data, number->bytes.length);
        if (number->bytes.data[number->bytes.length - 1] & 0x80)
            return false; /* negative */
    } else {
        return false;
    }
    for (size_t i = 0; i < VALUE_UUID_SIZE; i++)
        bytes[i] = little[VALUE_UUID_SIZE - 1 - i];
    return little[VALUE_UUID_SIZE] == 0;
}

/* `is_safe` says how the UUID was made and is no part of what it is: it may be there and
 * is dropped. */
bool pickle_set_state(struct pickle_build *build, struct value *object,
                      const struct value *state)
{
    const struct value *number = state->kind == VALUE_DICT && state->list.count <= 4
                                     ? value_find(state, "int")
                                     : NULL;
    uint8_t bytes[VALUE_UUID_SIZE];

    if (object->kind != VALUE_UUID || !object->internal || !number ||
        !read_uuid(number, bytes)) {
        build->error = "object not allowed";
        return false;
    }
    object->bytes.data =
        arena_strndup(build->arena, (const char *)bytes, VALUE_UUID_SIZE);
    object->internal = false;
    return true;
}
