/*
 * proof.c - see proof.h.
 */
#include "worker/proof.h"
#include "common/connect.h"
#include "common/log.h"
#include "common/task.h"
#include "worker/http.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Each of its questions may take so long; the master has patience for all of them. */
#define ASK_MS 5000

static void (*when_passed)(void);

static const char request[] = "GET /health/readiness HTTP/1.1\r\nHost: localhost\r\n"
                              "Connection: close\r\n\r\n";

static void ask_database(struct server *server)
{
    int rc = pg_ping(server->pg, ASK_MS);

    if (rc < 0)
        role_refuse(server->role, "database.url: %s",
                    *pg_last_error(server->pg) ? pg_last_error(server->pg)
                    : rc == -ETIMEDOUT         ? "no answer in time"
                                               : strerror(-rc));
}

static void ask_redis(struct server *server, struct redis *redis, const char *option)
{
    static const char *const ping[] = { "PING" };
    redisReply *reply = NULL;
    int rc = redis_call_argv_timeout(redis, &reply, ASK_MS, 1, ping, NULL);

    if (rc < 0)
        role_refuse(server->role, "%s: %s", option,
                    rc == -EPROTO && reply && reply->str ? reply->str
                    : *redis_trouble(redis)              ? redis_trouble(redis)
                    : rc == -ETIMEDOUT                   ? "no answer in time"
                                                         : strerror(-rc));
}

/* One end as if it had been accepted; the other is the client's. */
static int connect_to_itself(struct server *server)
{
    struct sockaddr address = { .sa_family = AF_UNIX };
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) < 0)
        role_refuse(server->role, "no socket pair: %s", strerror(errno));
    if (!http_add(server->http, ends[0], &address, sizeof(address.sa_family), 0))
        role_refuse(server->role, "it takes no connection");
    return ends[1];
}

static void ask_itself(struct server *server)
{
    static const char wanted[] = "HTTP/1.1 200 ";
    int fd = connect_to_itself(server);
    char answer[sizeof(wanted)] = "";

    if (send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) < 0)
        role_refuse(server->role, "a request to itself: %s", strerror(errno));
    if (task_poll_fd(fd, UV_READABLE, ASK_MS) < 0)
        role_refuse(server->role, "a request to itself got no answer in time");
    ssize_t got = recv(fd, answer, sizeof(wanted) - 1, 0);
    close(fd);
    if (got != sizeof(wanted) - 1 || strcmp(answer, wanted) != 0)
        role_refuse(server->role, "a request to itself was answered `%s`", answer);
}

static void run(void *arg)
{
    struct server *server = arg;

    ask_database(server);
    ask_redis(server, server->redis, connect_queue_option(server->options));
    if (server->cache_redis != server->redis)
        ask_redis(server, server->cache_redis,
                  *server->options->redis.cache_url ? "redis.cache_url"
                                                    : "redis.cache.cluster");
    ask_itself(server);
}

static void ended(void *arg, enum task_outcome outcome)
{
    struct server *server = arg;

    if (outcome != TASK_DONE)
        role_refuse(server->role, "the proof was not finished");
    if (!server->draining)
        when_passed();
}

void proof_start(struct server *server, void (*passed)(void))
{
    when_passed = passed;
    task_spawn(&(struct task_spec){
        .name = "proof", .run = run, .arg = server, .on_end = ended });
}
