/*
 * scripts.h - the Lua scripts that change RQ's books, each one step.
 *
 * Private to jobs/rq. A script is made of the files that scripts.c lists for it.
 */
#ifndef FORKMARK_JOBS_RQ_SCRIPTS_H
#define FORKMARK_JOBS_RQ_SCRIPTS_H

#include "common/redis.h"
#include "common/task.h"

struct buf;

enum rq_script {
    RQ_ABANDONED,
    RQ_BIRTH,
    RQ_CANCEL,
    RQ_CLAIM,
    RQ_CRON,
    RQ_DEATH,
    RQ_DUE,
    RQ_EMPTY,
    RQ_FINISH,
    RQ_GROUPS,
    RQ_HEARTBEAT,
    RQ_LIVE,
    RQ_LOCK,
    RQ_PEEK,
    RQ_PUSH,
    RQ_RECOVER,
    RQ_REQUEUE,
    RQ_SHUTDOWN,
    RQ_UPKEEP,
    RQ_WAITING,
    RQ_SCRIPT_COUNT,
};

/* A script's arguments, gathered one by one; texts are borrowed. */
struct rq_args {
    struct arena *arena;
    const char **items;
    size_t *lengths;
    size_t count, room;
};
#define RQ_ARGS                \
    {                          \
        .arena = task_arena(), \
    }

void rq_arg(struct rq_args *args, const char *text);
void rq_arg_bytes(struct rq_args *args, const void *data, size_t length);
void rq_arg_int(struct rq_args *args, int64_t number);
void rq_arg_seconds(struct rq_args *args, double seconds); /* three decimals */
void rq_arg_buf(struct rq_args *args, const struct buf *buf);
/* Now, in RQ's form for hashes. */
void rq_arg_now(struct rq_args *args);
/* "... Kind: message" as the results stream holds it: zlib, then base64. */
void rq_arg_error(struct rq_args *args, const char *error);

/* Yields. As redis_run_script(). */
int rq_run(struct redis *redis, enum rq_script script, const struct rq_args *args,
           redisReply **ret);

/* An item of an array reply as text, in place; "" when there is none. */
const char *rq_reply_text(const redisReply *reply, size_t index);
int64_t rq_reply_int(const redisReply *reply, size_t index);

#endif
