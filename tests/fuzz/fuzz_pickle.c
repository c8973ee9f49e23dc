/*
 * fuzz_pickle.c - any bytes as a job's `data`: refused with a reason, or a call that
 * is written and read again as the same.
 */
#include "common/arena.h"
#include "common/buf.h"
#include "jobs/rq/payload.h"
#include "tests/fuzz/fuzzing.h"
#include <string.h>

static void check_call(struct arena *arena, const struct call *call)
{
    struct buf data = BUF_IN(arena), first = BUF_IN(arena), second = BUF_IN(arena);
    struct buf text = BUF_IN(arena);
    struct call again;
    const char *error = NULL;

    value_repr(call->args, &text, 75);
    value_to_json(call->kwargs, &text);
    payload_write(arena, call, &data);
    require(payload_read(arena, data.data, data.length, &again, &error));
    require(strcmp(call->name, again.name) == 0);
    pickle_write(call->args, &first);
    pickle_write(again.args, &second);
    require(first.length == second.length);
    require(memcmp(first.data, second.data, first.length) == 0);
}

/* JSON has no bytes, tuples or numbers as keys: only what came as JSON goes back. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_new(0);
    const char *error = NULL;
    struct call call;

    if (payload_read(arena, data, size, &call, &error))
        check_call(arena, &call);
    else
        require(error != NULL && *error);
    arena_free(arena);
    return 0;
}
