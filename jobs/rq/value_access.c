/*
 * value_access.c - see value_access.h. A path is written by our own code: one that makes
 * no sense is a mistake there, and an assertion.
 */
#include "jobs/rq/value_access.h"
#include "common/arena.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

const char *value_type_name(const struct value *value)
{
    static const char *const names[] = {
        [VALUE_NONE] = "None",
        [VALUE_BOOL] = "bool",
        [VALUE_INT] = "int",
        [VALUE_BIGINT] = "int",
        [VALUE_FLOAT] = "float",
        [VALUE_COMPLEX] = "complex",
        [VALUE_TEXT] = "str",
        [VALUE_BYTES] = "bytes",
        [VALUE_BYTEARRAY] = "bytearray",
        [VALUE_DECIMAL] = "decimal.Decimal",
        [VALUE_UUID] = "uuid.UUID",
        [VALUE_DATE] = "datetime.date",
        [VALUE_TIME] = "datetime.time",
        [VALUE_DATETIME] = "datetime.datetime",
        [VALUE_TIMEDELTA] = "datetime.timedelta",
        [VALUE_TIMEZONE] = "datetime.timezone",
        [VALUE_LIST] = "list",
        [VALUE_TUPLE] = "tuple",
        [VALUE_DICT] = "dict",
        [VALUE_SET] = "set",
        [VALUE_FROZENSET] = "frozenset",
    };

    return names[value->kind];
}

bool value_as_bool(const struct value *value, bool *ret)
{
    if (value->kind != VALUE_BOOL)
        return false;
    *ret = value->boolean;
    return true;
}

bool value_as_int(const struct value *value, int64_t *ret)
{
    if (value->kind != VALUE_INT)
        return false;
    *ret = value->integer;
    return true;
}

bool value_as_number(const struct value *value, double *ret)
{
    if (value->kind != VALUE_INT && value->kind != VALUE_FLOAT)
        return false;
    *ret = value->kind == VALUE_INT ? (double)value->integer : value->real;
    return true;
}

bool value_as_text(const struct value *value, const char **ret)
{
    if (value->kind != VALUE_TEXT || strlen(value->bytes.data) != value->bytes.length)
        return false;
    *ret = value->bytes.data;
    return true;
}

/* ---- paths ---- */

/* One step of a path being walked; `here` is the path so far, for errors. */
struct walk {
    struct arena *arena;
    const char *path, *at;
    const struct value *value;
    const char **ret_error;
};

static const struct value *fail(const struct walk *walk, const char *kind,
                                const char *what)
{
    *walk->ret_error = arena_printf(walk->arena, "%s: %.*s %s", kind,
                                    (int)(walk->at - walk->path), walk->path, what);
    return NULL;
}

/* [12] */
static const struct value *take_item(struct walk *walk)
{
    const struct value *from = walk->value;
    char *end;
    unsigned long index = strtoul(walk->at + 1, &end, 10);

    assert(end > walk->at + 1 && *end == ']');
    if (from->kind != VALUE_LIST && from->kind != VALUE_TUPLE)
        return fail(
            walk, "TypeError",
            arena_printf(walk->arena, "is %s, not list or tuple", value_type_name(from)));
    walk->at = end + 1;
    if (index >= from->list.count)
        return fail(walk, "IndexError",
                    arena_printf(walk->arena, "is missing: %u given", from->list.count));
    return from->list.items[index];
}

/* .name or ["name"] */
static const struct value *take_member(struct walk *walk)
{
    bool is_quoted = *walk->at == '[';
    const char *name = walk->at + (is_quoted ? 2 : 1);
    size_t length = strcspn(name, is_quoted ? "\"" : ".[");
    const struct value *from = walk->value;

    assert(length > 0 && (!is_quoted || strncmp(name + length, "\"]", 2) == 0));
    if (from->kind != VALUE_DICT)
        return fail(walk, "TypeError",
                    arena_printf(walk->arena, "is %s, not dict", value_type_name(from)));
    walk->at = name + length + (is_quoted ? 2 : 0);
    const struct value *value =
        value_find(from, arena_strndup(walk->arena, name, length));
    return value ? value : fail(walk, "KeyError", "is missing");
}

static const struct value *begin(struct walk *walk, const struct call *call)
{
    size_t length = strcspn(walk->path, ".[");
    bool is_args = strncmp(walk->path, "args", length) == 0;

    assert(is_args ? length == 4
                   : length == 6 && strncmp(walk->path, "kwargs", length) == 0);
    walk->at = walk->path + length;
    return is_args ? call->args : call->kwargs;
}

const struct value *call_value(struct arena *arena, const struct call *call,
                               const char *path, const char **ret_error)
{
    struct walk walk = { .arena = arena, .path = path, .ret_error = ret_error };

    walk.value = begin(&walk, call);
    while (walk.value && *walk.at)
        walk.value =
            *walk.at == '[' && walk.at[1] != '"' ? take_item(&walk) : take_member(&walk);
    return walk.value;
}

/* ---- with a type ---- */

/* What was found is not what was wanted. */
static bool wrong(struct arena *arena, const char *path, const struct value *value,
                  const char *wanted, const char **ret_error)
{
    if (value->kind == VALUE_BIGINT)
        *ret_error = arena_printf(arena, "OverflowError: %s has more than 64 bits", path);
    else if (value->kind == VALUE_TEXT && strcmp(wanted, "str") == 0)
        *ret_error = arena_printf(arena, "ValueError: %s holds a NUL", path);
    else
        *ret_error = arena_printf(arena, "TypeError: %s is %s, not %s", path,
                                  value_type_name(value), wanted);
    return false;
}

bool call_bool(struct arena *arena, const struct call *call, const char *path, bool *ret,
               const char **ret_error)
{
    const struct value *value = call_value(arena, call, path, ret_error);

    return value &&
           (value_as_bool(value, ret) || wrong(arena, path, value, "bool", ret_error));
}

bool call_int(struct arena *arena, const struct call *call, const char *path,
              int64_t *ret, const char **ret_error)
{
    const struct value *value = call_value(arena, call, path, ret_error);

    return value &&
           (value_as_int(value, ret) || wrong(arena, path, value, "int", ret_error));
}

bool call_number(struct arena *arena, const struct call *call, const char *path,
                 double *ret, const char **ret_error)
{
    const struct value *value = call_value(arena, call, path, ret_error);

    return value && (value_as_number(value, ret) ||
                     wrong(arena, path, value, "int or float", ret_error));
}

bool call_text(struct arena *arena, const struct call *call, const char *path,
               const char **ret, const char **ret_error)
{
    const struct value *value = call_value(arena, call, path, ret_error);

    return value &&
           (value_as_text(value, ret) || wrong(arena, path, value, "str", ret_error));
}
