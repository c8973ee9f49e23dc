/*
 * scripts.c - which files make a script, and how its arguments are gathered.
 */
#include "jobs/rq/scripts.h"
#include "common/arena.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/embedded.h"
#include "common/log.h"
#include "common/task.h"
#include "common/utf8.h"
#include "jobs/rq/base64.h"
#include "jobs/rq/payload.h"
#include "lua_scripts.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Every script starts with base.lua; then comes common.lua, unless it is bare. */
static const struct {
    const char *name, *shared, *also_shared, *own;
    bool is_bare;
    bool settles; /* with common.lua and settling.lua as its function settle(job) */
} parts[RQ_SCRIPT_COUNT] = {
    [RQ_ABANDONED] = { .name = "rq_abandoned",
                       .shared = "redelivering.lua",
                       .own = "abandoned.lua" },
    [RQ_BIRTH] = { .name = "rq_birth", .own = "birth.lua" },
    [RQ_CANCEL] = { .name = "rq_cancel", .own = "cancel.lua" },
    [RQ_CLAIM] = { .name = "rq_claim",
                   .shared = "claiming.lua",
                   .own = "claim.lua",
                   .is_bare = true },
    [RQ_CRON] = { .name = "rq_cron", .shared = "pushing.lua", .own = "cron.lua" },
    [RQ_DEATH] = { .name = "rq_death",
                   .shared = "burying.lua",
                   .also_shared = "redelivering.lua",
                   .own = "death.lua" },
    [RQ_DUE] = { .name = "rq_due", .own = "due.lua" },
    [RQ_EMPTY] = { .name = "rq_empty", .own = "empty.lua" },
    [RQ_FINISH] = { .name = "rq_finish",
                    .shared = "claiming.lua",
                    .own = "finish.lua",
                    .is_bare = true,
                    .settles = true },
    [RQ_GROUPS] = { .name = "rq_groups", .own = "groups.lua" },
    [RQ_HEARTBEAT] = { .name = "rq_heartbeat", .own = "heartbeat.lua", .is_bare = true },
    [RQ_LIVE] = { .name = "rq_live", .own = "live.lua" },
    [RQ_LOCK] = { .name = "rq_lock", .own = "lock.lua" },
    [RQ_PEEK] = { .name = "rq_peek", .own = "peek.lua" },
    [RQ_PUSH] = { .name = "rq_push", .shared = "pushing.lua", .own = "push.lua" },
    [RQ_RECOVER] = { .name = "rq_recover",
                     .shared = "burying.lua",
                     .also_shared = "redelivering.lua",
                     .own = "recover.lua" },
    [RQ_REQUEUE] = { .name = "rq_requeue", .own = "requeue.lua" },
    [RQ_SHUTDOWN] = { .name = "rq_shutdown", .own = "shutdown.lua" },
    [RQ_UPKEEP] = { .name = "rq_upkeep", .own = "upkeep.lua" },
    [RQ_WAITING] = { .name = "rq_waiting", .own = "waiting.lua" },
};

static void add_file(struct buf *text, const char *name)
{
    const struct embedded_file *file = name ? embedded_find(lua_scripts, name) : NULL;

    if (file)
        buf_add(text, file->data, file->length);
    else if (name)
        fatal("the script %s was not built in", name);
}

static void add_parts(struct buf *text, enum rq_script which)
{
    add_file(text, "base.lua");
    if (!parts[which].is_bare)
        add_file(text, "common.lua");
    add_file(text, parts[which].shared);
    add_file(text, parts[which].also_shared);
    if (parts[which].settles) {
        buf_adds(text, "local function settle(job)\n");
        add_file(text, "common.lua");
        add_file(text, "settling.lua");
        buf_adds(text, "end\n");
    }
    add_file(text, parts[which].own);
}

/* Put together at its first use; lives as long as the process. */
static const struct redis_script *script_of(enum rq_script which)
{
    static struct redis_script scripts[RQ_SCRIPT_COUNT];
    static struct buf texts[RQ_SCRIPT_COUNT];

    if (!scripts[which].text) {
        add_parts(&texts[which], which);
        redis_script_init(&scripts[which], parts[which].name, buf_text(&texts[which]));
    }
    return &scripts[which];
}

void rq_arg_bytes(struct rq_args *args, const void *data, size_t length)
{
    if (args->count == args->room) {
        size_t room = args->room > 0 ? args->room * 2 : 16;

        args->items =
            arena_grow(args->arena, args->items, args->room * sizeof(*args->items),
                       room * sizeof(*args->items));
        args->lengths =
            arena_grow(args->arena, args->lengths, args->room * sizeof(*args->lengths),
                       room * sizeof(*args->lengths));
        args->room = room;
    }
    args->items[args->count] = data;
    args->lengths[args->count++] = length;
}

void rq_arg(struct rq_args *args, const char *text)
{
    rq_arg_bytes(args, text, strlen(text));
}

void rq_arg_int(struct rq_args *args, int64_t number)
{
    rq_arg(args, arena_printf(args->arena, "%lld", (long long)number));
}

void rq_arg_seconds(struct rq_args *args, double seconds)
{
    rq_arg(args, arena_printf(args->arena, "%.3f", seconds));
}

void rq_arg_buf(struct rq_args *args, const struct buf *buf)
{
    rq_arg_bytes(args, buf_text(buf), buf->length);
}

void rq_arg_now(struct rq_args *args)
{
    char *text = arena_alloc(args->arena, CLOCK_TEXT_SIZE);

    rq_arg(args, clock_iso_z(clock_unix_us(), text));
}

void rq_arg_error(struct rq_args *args, const char *error)
{
    struct buf deflated = BUF_IN(args->arena), clean = BUF_IN(args->arena);
    struct buf *text = arena_alloc(args->arena, sizeof(*text));

    text->arena = args->arena;
    /* RQ's readers raise on anything else. */
    utf8_add_clean(&clean, error, strlen(error));
    payload_deflate(buf_text(&clean), clean.length, &deflated);
    base64_write(text, deflated.data, deflated.length);
    rq_arg_buf(args, text);
}

int rq_run(struct redis *redis, enum rq_script script, const struct rq_args *args,
           redisReply **ret)
{
    redisReply *reply = NULL;
    int rc = redis_run_script(redis, script_of(script), &reply, 0, NULL, (int)args->count,
                              args->items, args->lengths);

    if (rc == -EPROTO && reply && reply->str)
        log_error("redis refused the script %s: %s", parts[script].name, reply->str);
    if (rc == 0 && ret)
        *ret = reply;
    return rc;
}

static const redisReply *item_of(const redisReply *reply, size_t index)
{
    if (!reply || reply->type != REDIS_REPLY_ARRAY || index >= reply->elements)
        return NULL;
    return reply->element[index];
}

const char *rq_reply_text(const redisReply *reply, size_t index)
{
    const redisReply *item = item_of(reply, index);

    return item && item->str ? item->str : "";
}

int64_t rq_reply_int(const redisReply *reply, size_t index)
{
    const redisReply *item = item_of(reply, index);

    if (!item)
        return 0;
    return item->str ? strtoll(item->str, NULL, 10) : item->integer;
}
