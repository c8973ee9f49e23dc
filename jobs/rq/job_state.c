/*
 * job_state.c - see job_state.h; the hash by named fields, results by RQ's stream.
 */
#include "jobs/rq/job_state.h"
#include "common/arena.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/task.h"
#include "jobs/rq/base64.h"
#include "jobs/rq/payload.h"
#include "jobs/rq/scripts.h"
#include <stdlib.h>
#include <string.h>

#define DEFAULT_TIMEOUT_S 180

/* The order is that of FIELDS. */
enum {
    STATUS,
    ORIGIN,
    DESCRIPTION,
    WORKER_NAME,
    CREATED_AT,
    ENQUEUED_AT,
    STARTED_AT,
    ENDED_AT,
    TIMEOUT,
    RETRIES_LEFT
};
#define FIELDS                                                                      \
    "HMGET rq:job:%s status origin description worker_name created_at enqueued_at " \
    "started_at ended_at timeout retries_left"

static int64_t time_of(const redisReply *hash, size_t index)
{
    const char *text = rq_reply_text(hash, index);
    int64_t us = 0;

    return *text && clock_parse(text, strlen(text), &us) == 0 ? us : 0;
}

/* ---- outcomes ---- */

static const char *field_of(const redisReply *fields, const char *name)
{
    for (size_t i = 0; fields && i + 1 < fields->elements; i += 2) {
        if (strcmp(rq_reply_text(fields, i), name) == 0)
            return rq_reply_text(fields, i + 1);
    }
    return "";
}

static const char *error_of(const char *base64)
{
    struct buf bytes = BUF_IN(task_arena());
    const void *data;
    size_t length;

    if (!*base64 || !base64_read(&bytes, base64, strlen(base64)))
        return NULL;
    data = buf_text(&bytes);
    length = bytes.length;
    if (!payload_inflate(task_arena(), &data, &length))
        return NULL;
    return arena_strndup(task_arena(), data, length);
}

static void read_value(struct rq_result *result, const char *base64)
{
    struct buf bytes = BUF_IN(task_arena());
    const char *data;

    if (!*base64)
        return;
    if (!base64_read(&bytes, base64, strlen(base64))) {
        result->unreadable = "no base64";
        return;
    }
    data = buf_text(&bytes);
    result->value =
        bytes.length > 0 && data[0] == '\x80'
            ? pickle_read(task_arena(), data, bytes.length, &result->unreadable)
            : value_from_json(task_arena(), data, bytes.length, &result->unreadable);
    if (result->value)
        result->unreadable = NULL;
}

static const char *kind_of(const redisReply *fields)
{
    static const char *const kinds[] = { "unknown", "finished", "failed",
                                         "stopped", "retried",  "retries exceeded" };
    long type = strtol(field_of(fields, "type"), NULL, 10);

    return kinds[type > 0 && type < 6 ? type : 0];
}

static struct rq_result result_of(const redisReply *entry)
{
    const redisReply *fields = entry->elements > 1 ? entry->element[1] : NULL;
    double begun = strtod(field_of(fields, "execution_started_at"), NULL);
    double ended = strtod(field_of(fields, "execution_ended_at"), NULL);
    struct rq_result result = {
        .what = kind_of(fields),
        .at_us = strtoll(rq_reply_text(entry, 0), NULL, 10) * 1000,
        .worker = field_of(fields, "worker_name"),
        .took_s = begun > 0 && ended >= begun ? ended - begun : -1,
        .error = error_of(field_of(fields, "exc_string")),
    };

    read_value(&result, field_of(fields, "return_value"));
    return result;
}

static const struct rq_result no_result = { .what = "", .worker = "", .took_s = -1 };

int rq_results(struct redis *redis, const char *id, size_t max, struct rq_result **ret)
{
    redisReply *entries;
    int rc = redis_call(redis, &entries, "XREVRANGE rq:results:%s + - COUNT %lld", id,
                        (long long)max);

    if (rc < 0)
        return rc;
    *ret = arena_array(task_arena(), entries->elements, sizeof(**ret));
    for (size_t i = 0; i < entries->elements; i++)
        (*ret)[i] = result_of(entries->element[i]);
    return (int)entries->elements;
}

const char *job_error_line(const char *error)
{
    size_t end = error ? strlen(error) : 0;
    size_t begin;

    while (end > 0 && strchr(" \r\n\t", error[end - 1]))
        end--;
    for (begin = end; begin > 0 && error[begin - 1] != '\n'; begin--)
        ;
    return end > begin ? arena_strndup(task_arena(), error + begin, end - begin) : "";
}

/* ---- states ---- */

static struct job_state state_of(const char *id, const redisReply *hash,
                                 const redisReply *has_data, const redisReply *results)
{
    struct job_state state = {
        .id = id,
        .exists = has_data->integer == 1,
        .status = rq_reply_text(hash, STATUS),
        .queue = rq_reply_text(hash, ORIGIN),
        .description = rq_reply_text(hash, DESCRIPTION),
        .worker = rq_reply_text(hash, WORKER_NAME),
        .created_us = time_of(hash, CREATED_AT),
        .enqueued_us = time_of(hash, ENQUEUED_AT),
        .started_us = time_of(hash, STARTED_AT),
        .ended_us = time_of(hash, ENDED_AT),
        .timeout_s = *rq_reply_text(hash, TIMEOUT) ? rq_reply_int(hash, TIMEOUT)
                                                   : DEFAULT_TIMEOUT_S,
        .retries_left = rq_reply_int(hash, RETRIES_LEFT),
        .newest = no_result,
    };

    if (results && results->type == REDIS_REPLY_ARRAY && results->elements > 0)
        state.newest = result_of(results->element[0]);
    return state;
}

int job_states(struct redis *redis, const char *const *ids, size_t count,
               bool with_newest, struct job_state *ret)
{
    struct redis_batch *batch = redis_batch_new(redis);
    redisReply **replies;
    size_t each = with_newest ? 3 : 2;
    size_t reply_count;
    int exist = 0;

    for (size_t i = 0; i < count; i++) {
        redis_batch_add(batch, FIELDS, ids[i]);
        redis_batch_add(batch, "HEXISTS rq:job:%s data", ids[i]);
        if (with_newest)
            redis_batch_add(batch, "XREVRANGE rq:results:%s + - COUNT 1", ids[i]);
    }
    int rc = count > 0 ? redis_batch_run(batch, &replies, &reply_count) : 0;
    for (size_t i = 0; rc == 0 && i < count; i++, replies += each) {
        ret[i] =
            state_of(ids[i], replies[0], replies[1], with_newest ? replies[2] : NULL);
        exist += ret[i].exists;
    }
    return rc < 0 ? rc : exist;
}

int job_state(struct redis *redis, const char *id, struct job_state *ret)
{
    return job_states(redis, &id, 1, true, ret);
}
