/*
 * http_fixture.h - a whole HTTP worker in the test's own process.
 *
 * Clients are the other ends of socket pairs, driven from the same thread: whoever
 * waits for bytes turns the loop meanwhile. No database and no Redis; a test brings a
 * route table of its own.
 */
#ifndef FORKMARK_TESTS_UNIT_WORKER_HTTP_FIXTURE_H
#define FORKMARK_TESTS_UNIT_WORKER_HTTP_FIXTURE_H

#include "../testing.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/conf.h"
#include "common/json.h"
#include "common/log.h"
#include "common/task.h"
#include "worker/access.h"
#include "worker/client_ip.h"
#include "worker/headers.h"
#include "worker/http.h"
#include "worker/router.h"
#include "worker/stream.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

static struct {
    struct options *options;
    struct role_context role;
    struct server server;
} fixture;

/* `sets`: "key=value" texts, NULL-ended; or NULL. */
static inline void server_start(const char *const *sets)
{
    struct buf errors = BUF_HEAP;

    signal(SIGPIPE, SIG_IGN);
    /* Mistakes are made on purpose here; TEST_LOG=1 shows what is said of them. */
    log_open(getenv("TEST_LOG") ? "-" : "/dev/null", LOGF_TEXT, LOGL_DEBUG);
    fixture.options = options_load(&(struct conf_input){ .sets = sets }, &errors);
    if (!fixture.options)
        fail_msg("%s", buf_text(&errors));
    buf_done(&errors);
    fixture.server.options = fixture.options;
    fixture.server.board = board_new(4);
    fixture.server.slot =
        board_slot(fixture.server.board,
                   (size_t)board_take(fixture.server.board, BOARD_WORKER, 1, NULL));
    fixture.server.role = &fixture.role;
    fixture.server.draining = false;
    task_runtime_init();
    json_init();
    router_init();
    headers_init(fixture.options);
    assert_true(client_ip_init(fixture.options));
    assert_true(access_init(&fixture.server));
    fixture.server.http = http_new(&fixture.server);
    fixture.server.hub = hub_new(&fixture.server);
}

static inline void turn_loop(uint64_t ms)
{
    uint64_t until = clock_ms() + ms;

    do {
        uv_run(task_loop(), UV_RUN_NOWAIT);
    } while (clock_ms() < until && usleep(200) == 0);
}

static inline void server_stop(void)
{
    hub_close_all(fixture.server.hub);
    turn_loop(20);
    http_free(fixture.server.http);
    hub_free(fixture.server.hub);
    turn_loop(5);
    task_runtime_done();
    board_free(fixture.server.board);
    options_free(fixture.options);
}

/* ---- clients ---- */

struct client {
    int fd;
    struct buf in;
    bool is_closed; /* by the server */
};

static inline struct client client_open(void)
{
    struct client client = { .in = BUF_HEAP };
    struct sockaddr address = { .sa_family = AF_UNIX };
    int pair[2];

    assert_int_equal(
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    assert_true(
        http_add(fixture.server.http, pair[0], &address, sizeof(address.sa_family), 0));
    client.fd = pair[1];
    return client;
}

static inline void client_close(struct client *client)
{
    close(client->fd);
    buf_done(&client->in);
    turn_loop(1);
}

static inline void client_send(struct client *client, const char *data, size_t length)
{
    uint64_t until = clock_ms() + 5000;

    while (length > 0 && clock_ms() < until) {
        ssize_t sent = write(client->fd, data, length);

        if (sent < 0 && errno != EAGAIN)
            return; /* the server has closed: what it said is still to be read */
        if (sent > 0) {
            data += sent;
            length -= (size_t)sent;
        }
        uv_run(task_loop(), UV_RUN_NOWAIT);
    }
}

static inline void client_say(struct client *client, const char *text)
{
    client_send(client, text, strlen(text));
}

static inline void client_read(struct client *client)
{
    char part[16384];
    ssize_t got = read(client->fd, part, sizeof(part));

    if (got > 0)
        buf_add(&client->in, part, (size_t)got);
    else if (got == 0 || errno != EAGAIN)
        client->is_closed = true;
}

/* Until that text has arrived, or the connection is closed, or `ms` have passed. */
static inline bool client_wait(struct client *client, const char *text, uint64_t ms)
{
    uint64_t until = clock_ms() + ms;

    for (;;) {
        client_read(client);
        if (text && client->in.length > 0 && strstr(client->in.data, text))
            return true;
        if (client->is_closed || clock_ms() > until)
            return false;
        uv_run(task_loop(), UV_RUN_NOWAIT);
        poll(&(struct pollfd){ .fd = client->fd, .events = POLLIN }, 1, 1);
    }
}

/* Until the server closes. */
static inline bool client_wait_closed(struct client *client, uint64_t ms)
{
    client_wait(client, NULL, ms);
    return client->is_closed;
}

/* ---- answers ---- */

struct answer {
    int status;
    char *head, *body; /* NUL-ended, in the client's buffer until its next answer */
    size_t body_length;
};

static inline char *header_of(const struct answer *answer, const char *name)
{
    static char value[1024];
    size_t length = strlen(name);

    for (const char *line = strchr(answer->head, '\n'); line; line = strchr(line, '\n')) {
        line++;
        if (strncasecmp(line, name, length) == 0 && line[length] == ':') {
            line += length + 1;
            line += strspn(line, " ");
            snprintf(value, sizeof(value), "%.*s", (int)strcspn(line, "\r\n"), line);
            return value;
        }
    }
    return NULL;
}

/* One whole answer with a Content-Length (or none and no body); it leaves the buffer
 * with the next call. status 0: none came. */
static inline struct answer client_answer(struct client *client, bool is_head)
{
    static struct buf kept;
    struct answer answer = { 0 };
    uint64_t until = clock_ms() + 5000;

    answer.head = answer.body = (char *)(uintptr_t) "";
    if (!client_wait(client, "\r\n\r\n", 5000))
        return answer;
    size_t head = (size_t)(strstr(client->in.data, "\r\n\r\n") - client->in.data) + 4;
    buf_clear(&kept);
    buf_add(&kept, client->in.data, head - 2);
    buf_addc(&kept, '\0');
    answer.head = kept.data;
    answer.status = atoi(kept.data + 9);
    const char *length = header_of(&answer, "Content-Length");
    answer.body_length = length && !is_head ? (size_t)atol(length) : 0;
    while (client->in.length < head + answer.body_length && clock_ms() < until &&
           !client->is_closed)
        client_wait(client, NULL, 5);
    if (client->in.length < head + answer.body_length)
        return (struct answer){ .head = kept.data, .body = kept.data };
    buf_add(&kept, client->in.data + head, answer.body_length);
    buf_consume(&client->in, head + answer.body_length);
    answer.head = kept.data;
    answer.body = kept.data + head - 1;
    return answer;
}

static inline struct answer ask(struct client *client, const char *request)
{
    client_say(client, request);
    return client_answer(client, strncmp(request, "HEAD ", 5) == 0);
}

#endif
