/*
 * fuzz_request.c - any bytes as what a client sends: the whole HTTP worker in process.
 *
 * The input goes into one end of a socket pair whose other end went through
 * MHD_add_connection. Every route of the real table can be reached; PostgreSQL and
 * Redis are addresses where nobody listens, so that what needs them gets 503. When
 * the client has sent all and closed its side, nothing of it may be left: no
 * connection, no task, no stream.
 */
#include "common/buf.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/task.h"
#include "tests/fuzz/fuzzing.h"
#include "worker/access.h"
#include "worker/access_log.h"
#include "worker/client_ip.h"
#include "worker/headers.h"
#include "worker/http.h"
#include "worker/router.h"
#include "worker/stream.h"
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* What is left after so long will not go any more. */
#define PATIENCE_MS 3000

static struct server server;

static struct options *make_options(void)
{
    static const char *const sets[] = { "auth.jwt_secret=fuzz", "auth.secret_key=fuzz",
                                        "database.url=postgresql:///x?host=/nowhere",
                                        "redis.url=unix:///nowhere/redis", NULL };
    struct buf errors = BUF_HEAP;
    struct options *options = options_load(&(struct conf_input){ .sets = sets }, &errors);

    require(options != NULL);
    buf_done(&errors);
    /* Below what an operator may set: an input should not wait for anybody. */
    options->server.request_timeout = 10;
    options->database.pool_timeout = 2;
    options->database.connect_timeout = 2;
    options->redis.connect_timeout = 2;
    options->redis.timeout = 2;
    return options;
}

static void open_services(struct options *options)
{
    server.pg = pg_new(&(struct pg_options){
        .url = options->database.url,
        .ssl_mode = options->database.ssl_mode,
        .size = 1,
        .overflow = 1,
        .prepared = true,
        .acquire_timeout_ms = options->database.pool_timeout,
        .recycle_ms = options->database.pool_recycle,
        .connect_timeout_ms = options->database.connect_timeout,
        .statement_timeout_ms = options->database.statement_timeout,
        .ping_after_ms = options->database.ping_after,
        .application_name = "fuzz",
    });
    server.redis = redis_new(&(struct redis_options){
        .url = options->redis.url,
        .connect_timeout_ms = options->redis.connect_timeout,
        .timeout_ms = options->redis.timeout,
        .breaker_ms = 1000,
    });
    require(server.pg && server.redis);
    server.cache_redis = server.redis;
    server.cache = cache_new(server.redis, options->redis.prefix);
}

static const struct role_context role = { .notify_fd = -1 };

static void start_server(void)
{
    struct options *options = make_options();

    signal(SIGPIPE, SIG_IGN);
    log_open("/dev/null", LOGF_JSON, LOGL_DEBUG);
    options->log.access = true;
    options->log.access_format =
        "%(h)s %(t)s \"%(r)s\" %(m)s %(U)s %(q)s %(s)s %(B)s \"%(f)s\" \"%(a)s\" "
        "%({Cookie}i)s %({Content-Length}o)s";
    server.options = options;
    server.role = &role;
    server.board = board_new(1);
    server.slot =
        board_slot(server.board, (size_t)board_take(server.board, BOARD_WORKER, 1, NULL));
    task_runtime_init();
    json_init();
    router_init();
    headers_init(options);
    access_log_init(options);
    require(client_ip_init(options));
    require(access_init(&server));
    open_services(options);
    server.http = http_new(&server);
    server.hub = hub_new(&server);
}

static void drop_answers(int fd)
{
    char answers[65536];

    while (read(fd, answers, sizeof(answers)) > 0)
        continue;
}

static void send_all(int fd, const uint8_t *data, size_t size)
{
    while (size > 0) {
        ssize_t sent = write(fd, data, size);

        if (sent > 0) {
            data += sent;
            size -= (size_t)sent;
        } else if (errno != EAGAIN) {
            break; /* the server has had enough of it */
        }
        uv_run(task_loop(), UV_RUN_NOWAIT);
        drop_answers(fd);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct sockaddr address = { .sa_family = AF_UNIX };
    int pair[2];

    if (!server.http)
        start_server();
    require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) ==
            0);
    require(http_add(server.http, pair[0], &address, sizeof(address.sa_family), 0));
    send_all(pair[1], data, size);
    shutdown(pair[1], SHUT_WR);

    uint64_t until = clock_ms() + PATIENCE_MS;
    while (http_connections(server.http) > 0) {
        require(clock_ms() < until);
        uv_run(task_loop(), http_connections(server.http) > 0 && task_count() > 0
                                ? UV_RUN_ONCE
                                : UV_RUN_NOWAIT);
        drop_answers(pair[1]);
    }
    close(pair[1]);
    require(hub_count(server.hub) == 0);
    return 0;
}
