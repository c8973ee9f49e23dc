/*
 * redis_batch.c - several commands, one write, one wait.
 */
#include "common/arena.h"
#include "common/buf.h"
#include "common/redis_call.h"
#include "common/redis_resp.h"
#include "common/task.h"
#include <assert.h>

struct redis_batch {
    struct redis *redis;
    struct buf commands;
    size_t count;
};

struct redis_batch *redis_batch_new(struct redis *redis)
{
    struct redis_batch *batch = arena_alloc(task_arena(), sizeof(*batch));

    batch->redis = redis;
    batch->commands = (struct buf)BUF_IN(task_arena());
    return batch;
}

void redis_batch_add(struct redis_batch *batch, const char *format, ...)
{
    char *command;
    va_list args;

    va_start(args, format);
    int length = redisvFormatCommand(&command, format, args);
    va_end(args);
    assert(length > 0);
    /* The arena may end the task here; the command would leak, a few bytes once. */
    buf_reserve(&batch->commands, (size_t)length);
    buf_add(&batch->commands, command, (size_t)length);
    redisFreeCommand(command);
    batch->count++;
}

void redis_batch_argv(struct redis_batch *batch, int argc, const char *const *argv,
                      const size_t *lengths)
{
    redis_resp_argv(&batch->commands, (size_t)argc, argv, lengths);
    batch->count++;
}

int redis_batch_run(struct redis_batch *batch, redisReply ***ret_replies,
                    size_t *ret_count)
{
    struct redis *redis = batch->redis;
    uint64_t until_ms = redis_call_until(redis->timeout_ms);
    int rc = redis_call_begin(redis, until_ms);

    if (rc < 0)
        return rc;
    assert(batch->count > 0);
    buf_add(redis_call_out(redis), batch->commands.data, batch->commands.length);
    rc = redis_call_wait(redis, until_ms, batch->count, ret_replies);
    if (rc == 0 && ret_count)
        *ret_count = batch->count;
    return rc;
}
