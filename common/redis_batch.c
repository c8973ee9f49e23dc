/*
 * redis_batch.c - several commands, one write, one wait.
 *
 * In a cluster: one write and one wait for each node that has some of the keys. What a
 * node sends elsewhere, or nobody is known to have, goes its way alone after that.
 */
#include "common/arena.h"
#include "common/buf.h"
#include "common/redis_cluster.h"
#include "common/redis_redirect.h"
#include "common/redis_resp.h"
#include "common/task.h"
#include <assert.h>
#include <errno.h>
#include <string.h>

struct redis_batch {
    struct redis *redis;
    struct buf commands;
    struct buf starts; /* of each command in `commands`: size_t */
    size_t count;
};

struct redis_batch *redis_batch_new(struct redis *redis)
{
    struct redis_batch *batch = arena_alloc(task_arena(), sizeof(*batch));

    batch->redis = redis;
    batch->commands = (struct buf)BUF_IN(task_arena());
    batch->starts = (struct buf)BUF_IN(task_arena());
    return batch;
}

static void begin_command(struct redis_batch *batch)
{
    size_t start = batch->commands.length;

    if (batch->redis->cluster)
        buf_add(&batch->starts, &start, sizeof(start));
    batch->count++;
}

void redis_batch_add(struct redis_batch *batch, const char *format, ...)
{
    va_list args;

    begin_command(batch);
    va_start(args, format);
    redis_resp_format(&batch->commands, format, args);
    va_end(args);
}

void redis_batch_argv(struct redis_batch *batch, int argc, const char *const *argv,
                      const size_t *lengths)
{
    begin_command(batch);
    redis_resp_argv(&batch->commands, (size_t)argc, argv, lengths);
}

/* ---- in a cluster ---- */

struct part {
    struct redis *node; /* NULL: not known, or it has its turn behind it */
    const char *data, *key;
    size_t length, key_length;
};

static size_t start_of(const struct redis_batch *batch, size_t i)
{
    size_t start;

    if (i == batch->count)
        return batch->commands.length;
    memcpy(&start, batch->starts.data + i * sizeof(start), sizeof(start));
    return start;
}

static struct part *take_apart(const struct redis_batch *batch)
{
    struct part *parts = arena_array(task_arena(), batch->count, sizeof(*parts));

    for (size_t i = 0; i < batch->count; i++) {
        size_t start = start_of(batch, i);

        parts[i].data = batch->commands.data + start;
        parts[i].length = start_of(batch, i + 1) - start;
        parts[i].key = redis_resp_key(&batch->commands, start, &parts[i].key_length);
        parts[i].node =
            redis_cluster_node(batch->redis->cluster, parts[i].key, parts[i].key_length);
    }
    return parts;
}

/* All parts of the first one's node. Yields. What failed is left without a reply. */
static void run_on_node(struct part *parts, size_t count, uint64_t until_ms,
                        redisReply **replies)
{
    struct redis *node = parts[0].node;
    size_t *indexes = arena_array(task_arena(), count, sizeof(*indexes)), sent = 0;
    redisReply **got = NULL;
    int rc = redis_call_begin(node, until_ms);

    for (size_t i = 0; i < count; i++) {
        if (parts[i].node != node)
            continue;
        parts[i].node = NULL;
        if (rc < 0)
            continue;
        buf_add(redis_call_out(node), parts[i].data, parts[i].length);
        indexes[sent++] = i;
    }
    if (rc < 0)
        return;
    rc = redis_call_wait(node, until_ms, sent, &got);
    for (size_t i = 0; rc == 0 && i < sent; i++)
        replies[indexes[i]] = got[i];
}

static void write_part(struct buf *out, const void *arg)
{
    const struct part *part = arg;

    buf_add(out, part->data, part->length);
}

static bool is_answer(const redisReply *reply)
{
    struct redirect redirect = { 0 };

    if (reply)
        redis_redirect_read(reply, &redirect);
    return reply && redirect.kind == REDIRECT_NONE;
}

static int run_in_cluster(const struct redis_batch *batch, redisReply ***ret_replies)
{
    struct redis *redis = batch->redis;
    uint64_t until_ms = redis_call_until(redis->timeout_ms);

    redis_cluster_hold(redis->cluster);
    struct part *parts = take_apart(batch);
    redisReply **replies = arena_array(task_arena(), batch->count, sizeof(replies[0]));

    for (size_t i = 0; i < batch->count; i++) {
        if (parts[i].node)
            run_on_node(&parts[i], batch->count - i, until_ms, &replies[i]);
    }
    for (size_t i = 0; i < batch->count; i++) {
        struct redis_command command = { .write = write_part,
                                         .arg = &parts[i],
                                         .key = parts[i].key,
                                         .key_length = parts[i].key_length };

        if (is_answer(replies[i]))
            continue;
        int rc = redis_cluster_execute(redis->cluster, &command, until_ms, &replies[i]);
        if (rc < 0 && rc != -EPROTO)
            return rc;
    }
    if (ret_replies)
        *ret_replies = replies;
    return 0;
}

/* ---- both ---- */

static int run_at_once(const struct redis_batch *batch, redisReply ***ret_replies)
{
    struct redis *redis = batch->redis;
    uint64_t until_ms = redis_call_until(redis->timeout_ms);
    int rc = redis_call_begin(redis, until_ms);

    if (rc < 0)
        return rc;
    buf_add(redis_call_out(redis), batch->commands.data, batch->commands.length);
    return redis_call_wait(redis, until_ms, batch->count, ret_replies);
}

int redis_batch_run(struct redis_batch *batch, redisReply ***ret_replies,
                    size_t *ret_count)
{
    assert(batch->count > 0);
    int rc = batch->redis->cluster ? run_in_cluster(batch, ret_replies)
                                   : run_at_once(batch, ret_replies);
    if (rc == 0 && ret_count)
        *ret_count = batch->count;
    return rc;
}
