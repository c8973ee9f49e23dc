/*
 * fuzz_pickle.c - any bytes as a job's `data`, and as a bare value: refused with a
 * reason, or a value that is written and read again as the same, whatever its form.
 */
#include "common/arena.h"
#include "common/buf.h"
#include "jobs/rq/payload.h"
#include "jobs/rq/value_access.h"
#include "tests/fuzz/fuzzing.h"
#include <string.h>

/* What our own form of a value may be too long for, when it was full of shared items. */
#define LARGE ((size_t)4 << 20)
/* A value of one byte costs less than this, with its place in stack, memo and container.
 */
#define MEMORY_FACTOR 64

static void check_value(struct arena *arena, const struct value *value)
{
    struct buf first = BUF_IN(arena), second = BUF_IN(arena), text = BUF_IN(arena);
    const char *error = NULL;

    require(value_type_name(value) != NULL);
    value_repr(value, &text, 75);
    pickle_write(value, &first);
    if (first.length > LARGE)
        return;
    const struct value *again = pickle_read(arena, first.data, first.length, &error);
    require(again != NULL && again->kind == value->kind);
    pickle_write(again, &second);
    require(first.length == second.length);
    require(memcmp(first.data, second.data, first.length) == 0);

    buf_clear(&text);
    value_to_json(value, &text);
    if (value_is_json(value))
        require(value_from_json(arena, buf_text(&text), text.length, &error) != NULL);
}

static void check_call(struct arena *arena, const struct call *call)
{
    struct buf data = BUF_IN(arena);
    struct call again;
    const char *error = NULL;

    check_value(arena, call->args);
    check_value(arena, call->kwargs);
    payload_write(arena, call, &data);
    if (data.length < LARGE / 1000) { /* it may be zlib's best case */
        require(payload_read(arena, data.data, data.length, &again, &error));
        require(strcmp(call->name, again.name) == 0);
        require(again.format == call->format);
    }
}

/* JSON has no bytes, tuples or numbers as keys: only what came as JSON goes back. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_new(0);
    const char *error = NULL;
    struct call call;

    const struct value *value = pickle_read(arena, data, size, &error);
    require(arena_used(arena) <= 4096 + MEMORY_FACTOR * size);
    if (value)
        check_value(arena, value);
    else
        require(error != NULL && *error);

    error = NULL;
    if (payload_read(arena, data, size, &call, &error))
        check_call(arena, &call);
    else
        require(error != NULL && *error);
    arena_free(arena);
    return 0;
}
