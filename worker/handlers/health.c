/*
 * health.c - is this server alive, ready, and what does it lean on (contract 2.13).
 */
#include "common/arena.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/task.h"
#include "worker/handlers/handlers.h"
#include <stdlib.h>
#include <string.h>

/* A question that takes longer is an answer too. */
#define ASK_MS 1000

static bool database_answers(struct request *req)
{
    return pg_ping(req->server->pg, ASK_MS) == 0;
}

static int call_redis(struct request *req, redisReply **ret, int argc,
                      const char *const *argv)
{
    return redis_call_argv_timeout(req->server->redis, ret, ASK_MS, argc, argv, NULL);
}

static bool redis_answers(struct request *req)
{
    static const char *const ping[] = { "PING" };

    return call_redis(req, NULL, 1, ping) == 0;
}

/* One "name:value" line of Redis' INFO, in the arena; NULL: not there. */
static const char *info_value(struct request *req, const char *info, const char *name)
{
    size_t length = strlen(name);

    for (const char *line = info; line; line = strchr(line, '\n')) {
        if (*line == '\n')
            line++;
        if (strncmp(line, name, length) == 0 && line[length] == ':') {
            const char *value = line + length + 1;

            return arena_strndup(req->arena, value, strcspn(value, "\r\n"));
        }
    }
    return NULL;
}

static const char *redis_info(struct request *req)
{
    static const char *const info[] = { "INFO" };
    redisReply *reply = NULL;

    if (call_redis(req, &reply, 1, info) < 0 || reply->type != REDIS_REPLY_STRING)
        return NULL;
    return reply->str;
}

static int64_t info_number(struct request *req, const char *info, const char *name)
{
    const char *value = info_value(req, info, name);

    return value ? strtoll(value, NULL, 10) : 0;
}

static enum http_status send_json(struct request *req, enum http_status status,
                                  const struct buf *json)
{
    return reply_text(req, status, json->data, json->length);
}

static const char *environment_name(const struct options *options)
{
    static const char *const names[] = { [ENV_DEVELOPMENT] = "development",
                                         [ENV_STAGING] = "staging",
                                         [ENV_PRODUCTION] = "production",
                                         [ENV_TESTING] = "testing" };

    return names[options->server.environment];
}

/* GET /api/health: for people and the extension, which needs a 2xx. */
enum http_status health_overview(struct request *req)
{
    const struct options *options = req->server->options;
    bool database = database_answers(req);
    const char *info = redis_info(req);
    bool healthy = database && info;
    struct buf out = BUF_IN(req->arena);
    struct json_writer w = { .out = &out };

    json_begin_object(&w, NULL);
    json_put_text(&w, "status", healthy ? "healthy" : "degraded");
    json_put_text(&w, "message",
                  healthy ? "forkmark is running"
                          : "forkmark is running, but not everything it leans on");
    json_put_text(&w, "version", options->server.app_version);
    json_put_text(&w, "environment", environment_name(options));
    json_put_text(&w, "database", database ? "connected" : "disconnected");
    json_begin_object(&w, "redis");
    json_put_bool(&w, "connected", info != NULL);
    json_put_int(&w, "keyspace_hits", info ? info_number(req, info, "keyspace_hits") : 0);
    json_put_int(&w, "keyspace_misses",
                 info ? info_number(req, info, "keyspace_misses") : 0);
    json_end_object(&w);
    json_put_bool(&w, "recommendations_available", false);
    json_put_bool(&w, "intent_analysis_available", false);
    json_put_bool(&w, "linkedin_available", false);
    json_end_object(&w);
    return send_json(req, HTTP_OK, &out);
}

/* The time now in the API's form; its first part changes once a second. */
static char *put_now(char *to)
{
    static char second[CLOCK_TEXT_SIZE];
    static int64_t second_of = -1;
    int64_t now = clock_unix_us();
    int64_t us = now % 1000000;

    if (now / 1000000 != second_of) {
        second_of = now / 1000000;
        clock_iso(second_of * 1000000, second);
    }
    to = stpcpy(to, second);
    *to = '.';
    for (int i = 6; i > 0; i--, us /= 10)
        to[i] = (char)('0' + us % 10);
    to[7] = '\0';
    return to + 7;
}

/* GET /health/liveness: on the loop's own stack; asks nobody. */
enum http_status health_liveness(struct request *req)
{
    char *json = arena_alloc(req->arena, 96);
    char *end = put_now(stpcpy(json, "{\"status\":\"alive\",\"timestamp\":\""));

    end = stpcpy(end, "\"}");
    return reply_text(req, HTTP_OK, json, (size_t)(end - json));
}

/* GET /health/readiness: may a load balancer send requests here? Without the primary, but
 * with a replica, reads are answered, and writes get 503 wherever they are sent. */
enum http_status health_readiness(struct request *req)
{
    bool database = database_answers(req);
    bool redis = redis_answers(req);
    bool reads = database || pg_has_reader(req->server->pg);
    bool writes = database && !pg_is_read_only(req->server->pg);
    bool ready = reads && !server_is_leaving(req->server);
    struct buf out = BUF_IN(req->arena);
    struct json_writer w = { .out = &out };

    json_begin_object(&w, NULL);
    json_put_text(&w, "status",
                  !ready            ? "not_ready"
                  : writes && redis ? "ready"
                                    : "degraded");
    json_put_text(&w, "database", writes ? "ready" : "unhealthy");
    json_put_text(&w, "redis", redis ? "ready" : "unhealthy");
    json_end_object(&w);
    return send_json(req, ready ? HTTP_OK : HTTP_UNAVAILABLE, &out);
}

static int64_t number_of(const redisReply *reply)
{
    return reply && reply->type == REDIS_REPLY_INTEGER ? reply->integer : 0;
}

/* GET /health/queue */
enum http_status health_queue(struct request *req)
{
    struct redis_batch *batch = redis_batch_new(req->server->redis);
    redisReply **replies = NULL;
    size_t count = 0;
    struct buf out = BUF_IN(req->arena);
    struct json_writer w = { .out = &out };

    redis_batch_add(batch, "LLEN rq:queue:default");
    redis_batch_add(batch, "ZCARD rq:failed:default");
    redis_batch_add(batch, "SCARD rq:workers:default");
    bool connected = redis_batch_run(batch, &replies, &count) == 0 && count == 3;

    json_begin_object(&w, NULL);
    json_put_text(&w, "status", connected ? "connected" : "disconnected");
    json_put_text(&w, "queue_name", "default");
    json_put_int(&w, "depth", connected ? number_of(replies[0]) : 0);
    json_put_int(&w, "failed_count", connected ? number_of(replies[1]) : 0);
    json_put_int(&w, "active_workers", connected ? number_of(replies[2]) : 0);
    json_end_object(&w);
    return send_json(req, connected ? HTTP_OK : HTTP_UNAVAILABLE, &out);
}

/* GET /api/health/redis */
enum http_status health_redis(struct request *req)
{
    const char *info = redis_info(req);
    struct buf out = BUF_IN(req->arena);
    struct json_writer w = { .out = &out };

    json_begin_object(&w, NULL);
    json_put_bool(&w, "connected", info != NULL);
    if (info) {
        json_put_text(&w, "used_memory", info_value(req, info, "used_memory_human"));
        json_put_int(&w, "connected_clients",
                     info_number(req, info, "connected_clients"));
        json_put_int(&w, "keyspace_hits", info_number(req, info, "keyspace_hits"));
        json_put_int(&w, "keyspace_misses", info_number(req, info, "keyspace_misses"));
    }
    json_end_object(&w);
    return send_json(req, info ? HTTP_OK : HTTP_UNAVAILABLE, &out);
}

/* GET /api/health/database */
enum http_status health_database(struct request *req)
{
    static const char healthy[] = "{\"status\":\"healthy\",\"service\":\"database\"}";
    static const char unhealthy[] = "{\"status\":\"unhealthy\",\"service\":\"database\"}";

    if (database_answers(req))
        return reply_text(req, HTTP_OK, healthy, sizeof(healthy) - 1);
    return reply_text(req, HTTP_INTERNAL, unhealthy, sizeof(unhealthy) - 1);
}
