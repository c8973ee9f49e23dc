/*
 * fuzz_value_json.c - any bytes as JSON of RQ's serializer: refused with a reason, or a
 * value that is written and read again as the same.
 */
#include "common/arena.h"
#include "common/buf.h"
#include "jobs/rq/payload.h"
#include "tests/fuzz/fuzzing.h"
#include <string.h>

static void check_value(struct arena *arena, const struct value *value)
{
    struct buf first = BUF_IN(arena), second = BUF_IN(arena), pickle = BUF_IN(arena);
    const char *error = NULL;

    value_to_json(value, &first);
    const struct value *again =
        value_from_json(arena, buf_text(&first), first.length, &error);
    require(again != NULL);
    value_to_json(again, &second);
    require(first.length == second.length);
    require(memcmp(first.data, second.data, first.length) == 0);
    pickle_write(value, &pickle);
    require(pickle_read(arena, pickle.data, pickle.length, &error) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_new(0);
    const char *error = NULL;
    const struct value *value = value_from_json(arena, (const char *)data, size, &error);

    if (value)
        check_value(arena, value);
    else
        require(error != NULL && *error);
    arena_free(arena);
    return 0;
}
