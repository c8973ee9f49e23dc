/*
 * test_exchange.c - requests from head to answer, through libmicrohttpd.
 */
#include "common/arena.h"
#include "http_fixture.h"
#include "worker/cors.h"
#include "worker/reply.h"
#include <stdlib.h>

/* ---- handlers ---- */

static int calls, ended;

static enum http_status hello(struct request *req)
{
    static const char json[] = "{\"hello\":true}";

    calls++;
    return reply_text(req, HTTP_OK, json, sizeof(json) - 1);
}

static enum http_status echo(struct request *req)
{
    calls++;
    return reply_data(req, HTTP_OK, "text/plain", req->body.data ? req->body.data : "",
                      req->body.length);
}

static enum http_status json(struct request *req)
{
    const cJSON *body = request_json(req);

    if (!body)
        return request_json_failed(req);
    return reply_json(req, HTTP_CREATED, body);
}

static enum http_status query(struct request *req)
{
    cJSON *body = cJSON_CreateObject();
    const char *q = request_query(req, "q"), *cookie = request_cookie(req, "c");

    cJSON_AddItemToObject(body, "q", q ? cJSON_CreateString(q) : cJSON_CreateNull());
    cJSON_AddItemToObject(body, "c",
                          cookie ? cJSON_CreateString(cookie) : cJSON_CreateNull());
    cJSON_AddNumberToObject(body, "n", (double)request_query_int(req, "n", -1));
    cJSON_AddStringToObject(body, "ip", req->client_ip);
    return reply_json(req, HTTP_OK, body);
}

static void note_end(void *arg)
{
    (void)arg;
    ended++;
}

static enum http_status slow(struct request *req)
{
    calls++;
    arena_defer(req->arena, note_end, NULL);
    task_sleep((uint64_t)request_query_int(req, "ms", 50));
    return reply_message(req, HTTP_OK, "slept");
}

static enum http_status greedy(struct request *req)
{
    arena_defer(req->arena, note_end, NULL);
    while (arena_alloc(req->arena, 65536))
        continue;
    return HTTP_OK;
}

static enum http_status big(struct request *req)
{
    size_t size = (size_t)4 * 1024 * 1024;
    char *data = arena_alloc(req->arena, size);

    memset(data, 'x', size);
    return reply_data(req, HTTP_OK, "text/plain", data, size);
}

static enum http_status silent(struct request *req)
{
    (void)req;
    return HTTP_OK;
}

static enum http_status away(struct request *req)
{
    return reply_failure(req, -EAGAIN);
}

static enum http_status id(struct request *req)
{
    return reply_json(req, HTTP_OK, cJSON_CreateNumber((double)req->int_params[0]));
}

const struct route route_table[] = {
    { .method = METHOD_GET, .pattern = "/t/hello", .limit = LIMIT_NONE, .handle = hello },
    { .method = METHOD_GET,
      .pattern = "/t/inline",
      .limit = LIMIT_NONE,
      .handle = hello,
      .is_inline = true },
    { .method = METHOD_POST,
      .pattern = "/t/hello",
      .limit = LIMIT_NONE,
      .handle = hello },
    { .method = METHOD_POST, .pattern = "/t/echo", .limit = LIMIT_NONE, .handle = echo },
    { .method = METHOD_POST,
      .pattern = "/t/small",
      .limit = LIMIT_NONE,
      .handle = echo,
      .body_limit = 100 },
    { .method = METHOD_POST, .pattern = "/t/json", .limit = LIMIT_NONE, .handle = json },
    { .method = METHOD_GET, .pattern = "/t/query", .limit = LIMIT_NONE, .handle = query },
    { .method = METHOD_GET, .pattern = "/t/slow", .limit = LIMIT_NONE, .handle = slow },
    { .method = METHOD_GET,
      .pattern = "/t/greedy",
      .limit = LIMIT_NONE,
      .handle = greedy },
    { .method = METHOD_GET, .pattern = "/t/big", .limit = LIMIT_NONE, .handle = big },
    { .method = METHOD_GET,
      .pattern = "/t/silent",
      .limit = LIMIT_NONE,
      .handle = silent },
    { .method = METHOD_GET, .pattern = "/t/away", .limit = LIMIT_NONE, .handle = away },
    { .method = METHOD_DELETE,
      .pattern = "/t/item/<int:id>",
      .limit = LIMIT_NONE,
      .handle = id },
    { .method = METHOD_POST,
      .pattern = "/t/private",
      .access = ACCESS_USER,
      .limit = LIMIT_NONE,
      .handle = echo },
    { .pattern = NULL },
};

static int start(void **state)
{
    static const char *const sets[] = { "server.request_timeout=300ms",
                                        "server.header_timeout=1s",
                                        "server.body_timeout=1s",
                                        "server.keepalive=1s",
                                        "server.body_limit=200K",
                                        "auth.jwt_secret=secret",
                                        NULL };

    (void)state;
    calls = 0;
    ended = 0;
    server_start(sets);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    server_stop();
    return 0;
}

/* ---- tests ---- */

static void simple_answers(void **state)
{
    static const struct {
        const char *request;
        int status;
        const char *body;
    } rows[] = {
        { "GET /t/hello HTTP/1.1\r\nHost: x\r\n\r\n", 200, "{\"hello\":true}" },
        { "GET /t/hello/ HTTP/1.1\r\nHost: x\r\n\r\n", 200, "{\"hello\":true}" },
        { "GET http://x/t/hello HTTP/1.1\r\nHost: x\r\n\r\n", 200, "{\"hello\":true}" },
        { "GET https://x:1/t/hello?http://y HTTP/1.1\r\nHost: x\r\n\r\n", 200,
          "{\"hello\":true}" },
        { "POST http://x?/t/hello HTTP/1.1\r\nHost: x\r\n\r\n", 404,
          "{\"message\":\"Not found\",\"error\":\"not_found\"}" },
        { "POST http://x#/t/hello HTTP/1.1\r\nHost: x\r\n\r\n", 404,
          "{\"message\":\"Not found\",\"error\":\"not_found\"}" },
        { "GET /t/inline HTTP/1.1\r\nHost: x\r\n\r\n", 200, "{\"hello\":true}" },
        { "HEAD /t/hello HTTP/1.1\r\nHost: x\r\n\r\n", 200, "" },
        { "HEAD /t/inline HTTP/1.1\r\nHost: x\r\n\r\n", 200, "" },
        { "POST /t/hello HTTP/1.1\r\nHost: x\r\n\r\n", 200, "{\"hello\":true}" },
        { "POST /t/hello HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 200,
          "{\"hello\":true}" },
        { "POST /t/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab\0de", 200,
          NULL },
        { "POST /t/echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
          "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
          200, "abcde" },
        { "DELETE /t/item/7 HTTP/1.1\r\nHost: x\r\n"
          "Content-Type: application/json\r\n\r\n",
          200, "7" },
        { "DELETE /t/item/2147483648 HTTP/1.1\r\nHost: x\r\n\r\n", 404,
          "{\"message\":\"Not found\",\"error\":\"not_found\"}" },
        { "GET /api/nothing HTTP/1.1\r\nHost: x\r\n\r\n", 404,
          "{\"message\":\"Not found\",\"error\":\"not_found\"}" },
        { "POST /api/nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", 404,
          "{\"message\":\"Not found\",\"error\":\"not_found\"}" },
        { "PUT /t/hello HTTP/1.1\r\nHost: x\r\n\r\n", 405,
          "{\"message\":\"Method not allowed\",\"error\":\"method_not_allowed\"}" },
        { "GET /t/silent HTTP/1.1\r\nHost: x\r\n\r\n", 500,
          "{\"error\":\"Internal server error\","
          "\"message\":\"An unexpected error occurred\"}" },
        { "GET /t/away HTTP/1.1\r\nHost: x\r\n\r\n", 503,
          "{\"message\":\"Service temporarily unavailable\","
          "\"error\":\"service_unavailable\"}" },
        { "OPTIONS /any/path HTTP/1.1\r\nHost: x\r\n\r\n", 204, "" },
        { "POST /t/private HTTP/1.1\r\nHost: x\r\n\r\n", 401,
          "{\"message\":\"Access token "
          "required\",\"error\":\"authorization_required\"}" },
    };
    struct client client = client_open();

    (void)state;
    /* All on one connection: whatever one leaves behind spoils the next. */
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (!rows[i].body) {
            client_send(&client, rows[i].request, strlen(rows[i].request) + 3);
            struct answer answer = client_answer(&client, false);
            assert_int_equal(answer.body_length, 5);
            assert_memory_equal(answer.body, "ab\0de", 5);
            continue;
        }
        struct answer answer = ask(&client, rows[i].request);
        if (answer.status != rows[i].status || strcmp(answer.body, rows[i].body) != 0)
            fail_msg("%s\nanswered %d %s", rows[i].request, answer.status, answer.body);
        assert_non_null(header_of(&answer, "X-Request-ID"));
        assert_string_equal(header_of(&answer, "X-Content-Type-Options"), "nosniff");
        assert_string_equal(header_of(&answer, "Cache-Control"), "no-store");
        assert_string_equal(header_of(&answer, "Keep-Alive"), "timeout=1");
        if (answer.status == 405)
            assert_string_equal(header_of(&answer, "Allow"), "GET, HEAD, POST, OPTIONS");
        if (answer.status == 503)
            assert_string_equal(header_of(&answer, "Retry-After"), "1");
    }
    assert_false(client.is_closed);
    client_close(&client);
}

static void request_ids(void **state)
{
    static const struct {
        const char *sent;
        bool is_kept;
    } rows[] = {
        { "abc.DEF:1-2_3", true }, { "a b", false }, { "", false }, { "<x>", false }
    };
    struct client client = client_open();
    char request[256];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        snprintf(request, sizeof(request),
                 "GET /t/hello HTTP/1.1\r\nHost: x\r\nX-Request-ID: %s\r\n\r\n",
                 rows[i].sent);
        struct answer answer = ask(&client, request);
        const char *id_sent = header_of(&answer, "X-Request-ID");

        assert_int_equal(strcmp(id_sent, rows[i].sent) == 0, rows[i].is_kept);
        if (!rows[i].is_kept)
            assert_int_equal(strlen(id_sent), 36);
    }
    client_close(&client);
}

static void queries_and_cookies(void **state)
{
    static const struct {
        const char *request, *body;
    } rows[] = {
        { "GET /t/query HTTP/1.1\r\nHost: x\r\n\r\n", "\"q\":null,\"c\":null,\"n\":-1" },
        { "GET /t/query?q=a%20b+c%2B&n=12 HTTP/1.1\r\nHost: x\r\nCookie: b=1; "
          "c=two\r\n\r\n",
          "\"q\":\"a b c+\",\"c\":\"two\",\"n\":12" },
        { "GET /t/query?q&n=1x HTTP/1.1\r\nHost: x\r\nCookie: cc=1;c=\"q\"\r\n\r\n",
          "\"q\":\"\",\"c\":\"q\",\"n\":-1" },
        { "GET /t/query?x=1&%71=%zz%4 HTTP/1.1\r\nHost: x\r\n\r\n",
          "\"q\":\"%zz%4\",\"c\":null,\"n\":-1" },
    };
    struct client client = client_open();

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct answer answer = ask(&client, rows[i].request);

        if (answer.status != 200 || !strstr(answer.body, rows[i].body))
            fail_msg("%s\nanswered %d %s", rows[i].request, answer.status, answer.body);
    }
    client_close(&client);
}

static void json_bodies(void **state)
{
    static const struct {
        const char *body;
        int status;
    } rows[] = {
        { "{\"a\":[1,2]}", 201 }, { "", 201 },
        { "  \n", 201 },          { "[1]", 400 },
        { "null", 400 },          { "{\"a\":", 400 },
        { "{} x", 400 },          { "{\"a\":\"\xff\"}", 400 },
    };
    struct client client = client_open();
    struct buf deep = BUF_HEAP;
    char head[128];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        snprintf(head, sizeof(head),
                 "POST /t/json HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n",
                 strlen(rows[i].body));
        client_say(&client, head);
        struct answer answer = ask(&client, rows[i].body);
        if (answer.status != rows[i].status)
            fail_msg("%s answered %d %s", rows[i].body, answer.status, answer.body);
        if (answer.status == 400)
            assert_string_equal(
                answer.body, "{\"message\":\"Bad request\",\"error\":\"invalid_json\"}");
    }

    for (int i = 0; i < 10000; i++)
        buf_addc(&deep, '[');
    snprintf(head, sizeof(head),
             "POST /t/json HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n",
             deep.length);
    client_say(&client, head);
    assert_int_equal(ask(&client, deep.data).status, 400);
    buf_done(&deep);
    client_close(&client);
}

static void send_body(struct client *client, const char *path, size_t size, bool chunked)
{
    struct buf request = BUF_HEAP;

    buf_addf(&request, "POST %s HTTP/1.1\r\nHost: x\r\n", path);
    if (chunked)
        buf_addf(&request, "Transfer-Encoding: chunked\r\n\r\n%zx\r\n", size);
    else
        buf_addf(&request, "Content-Length: %zu\r\n\r\n", size);
    for (size_t i = 0; i < size; i++)
        buf_addc(&request, 'b');
    if (chunked)
        buf_adds(&request, "\r\n0\r\n\r\n");
    client_send(client, request.data, request.length);
    buf_done(&request);
}

static void body_limits(void **state)
{
    static const struct {
        const char *path;
        size_t size;
        bool chunked;
        int status;
        bool closes;
    } rows[] = {
        { "/t/small", 100, false, 200, false },
        { "/t/small", 100, true, 200, false },
        { "/t/small", 101, false, 413, true },
        { "/t/small", 101, true, 413, true },
        { "/t/small", 300000, false, 413, true },
        { "/t/small", 300000, true, 413, true },
        { "/t/echo", 200 * 1024, false, 200, false },
        { "/t/echo", 200 * 1024, true, 200, false },
        { "/t/echo", 200 * 1024 + 1, false, 413, true },
        /* Refused before its body is read, which is then read off. */
        { "/t/private", 1000, false, 401, false },
        { "/t/private", 300000, true, 401, false },
        { "/api/none", 300000, false, 404, false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct client client = client_open();

        send_body(&client, rows[i].path, rows[i].size, rows[i].chunked);
        struct answer answer = client_answer(&client, false);
        if (answer.status != rows[i].status)
            fail_msg("row %zu answered %d", i, answer.status);
        if (answer.status == 200)
            assert_int_equal(answer.body_length, rows[i].size);
        if (rows[i].closes) {
            assert_string_equal(header_of(&answer, "Connection"), "close");
            assert_true(client_wait_closed(&client, 500));
        } else {
            assert_int_equal(
                ask(&client, "GET /t/hello HTTP/1.1\r\nHost: x\r\n\r\n").status, 200);
        }
        client_close(&client);
    }
}

/* More than anyone would read off: the answer comes, or the line is cut. */
static void huge_bodies_end(void **state)
{
    struct client client = client_open();

    (void)state;
    client_say(&client, "POST /t/echo HTTP/1.1\r\nHost: x\r\n"
                        "Content-Length: 99999999999\r\n\r\n");
    assert_int_equal(client_answer(&client, false).status, 413);
    assert_true(client_wait_closed(&client, 500));
    client_close(&client);

    client = client_open();
    send_body(&client, "/t/echo", 6 * 1024 * 1024, true);
    assert_true(client_wait_closed(&client, 500));
    client_close(&client);
    assert_int_equal(http_connections(fixture.server.http), 0);
}

static void expect_continue(void **state)
{
    struct client client = client_open();

    (void)state;
    client_say(&client, "POST /t/echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                        "Content-Length: 2\r\n\r\n");
    assert_true(client_wait(&client, "100 Continue\r\n\r\n", 1000));
    buf_clear(&client.in);
    assert_string_equal(ask(&client, "ab").body, "ab");

    /* A refused one is told so without having to send. */
    client_say(&client, "POST /t/private HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                        "Content-Length: 2\r\n\r\n");
    assert_int_equal(client_answer(&client, false).status, 401);
    assert_true(client_wait_closed(&client, 500));
    client_close(&client);
}

static void pipelined(void **state)
{
    struct client client = client_open();

    (void)state;
    client_say(&client, "GET /t/slow?ms=20 HTTP/1.1\r\nHost: x\r\n\r\n"
                        "GET /t/hello HTTP/1.1\r\nHost: x\r\n\r\n"
                        "POST /t/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
                        "GET /t/inline HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_string_equal(client_answer(&client, false).body, "{\"message\":\"slept\"}");
    assert_string_equal(client_answer(&client, false).body, "{\"hello\":true}");
    assert_string_equal(client_answer(&client, false).body, "abc");
    assert_string_equal(client_answer(&client, false).body, "{\"hello\":true}");
    client_close(&client);
}

static void deadline_and_full_arena(void **state)
{
    struct client client = client_open();

    (void)state;
    struct answer answer =
        ask(&client, "GET /t/slow?ms=5000 HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(answer.status, 503);
    assert_string_equal(header_of(&answer, "Retry-After"), "1");
    assert_int_equal(ask(&client, "GET /t/greedy HTTP/1.1\r\nHost: x\r\n\r\n").status,
                     500);
    assert_int_equal(ask(&client, "GET /t/hello HTTP/1.1\r\nHost: x\r\n\r\n").status,
                     200);
    turn_loop(5);
    assert_int_equal(ended, 2);
    assert_int_equal(atomic_load(&fixture.server.slot->count.requests), 3);
    assert_int_equal(atomic_load(&fixture.server.slot->count.errors_5xx), 2);
    client_close(&client);
}

static void client_leaves(void **state)
{
    struct client client = client_open();

    (void)state;
    client_say(&client, "GET /t/slow?ms=50 HTTP/1.1\r\nHost: x\r\n\r\n");
    turn_loop(10);
    assert_int_equal(calls, 1);
    client_close(&client);
    assert_int_equal(ended, 0); /* libmicrohttpd does not look: the task goes on */
    turn_loop(100);
    assert_int_equal(ended, 1);
    assert_int_equal(http_connections(fixture.server.http), 0);

    client = client_open();
    client_say(&client,
               "POST /t/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc");
    turn_loop(10);
    client_close(&client);
    turn_loop(10);
    assert_int_equal(http_connections(fixture.server.http), 0);
    assert_int_equal(task_count(), 0);
}

static void big_answers(void **state)
{
    struct client client = client_open();

    (void)state;
    struct answer answer = ask(&client, "GET /t/big HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(answer.body_length, 4 * 1024 * 1024);
    client_close(&client);
}

/* Each drips a byte now and then, which keeps libmicrohttpd's own clock happy. */
static void slow_clients_are_cut(void **state)
{
    static const char *const begins[] = {
        "", "GET /t/hello HTTP/1.1\r\nHost: x\r\nX-Slow: ",
        "POST /t/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n", NULL
    };
    struct client clients[3], idle = client_open();

    (void)state;
    assert_int_equal(ask(&idle, "GET /t/hello HTTP/1.1\r\nHost: x\r\n\r\n").status, 200);
    for (size_t i = 0; begins[i]; i++) {
        clients[i] = client_open();
        client_say(&clients[i], begins[i]);
    }
    for (int i = 0; i < 9; i++) {
        turn_loop(100);
        for (size_t n = 1; begins[n]; n++)
            client_say(&clients[n], "a");
    }
    for (size_t i = 0; begins[i]; i++)
        assert_false(client_wait_closed(&clients[i], 0));
    assert_false(client_wait_closed(&idle, 0)); /* promised 1 s */
    turn_loop(800);
    for (size_t i = 0; begins[i]; i++) {
        assert_true(client_wait_closed(&clients[i], 10));
        client_close(&clients[i]);
    }
    assert_true(client_wait_closed(&idle, 100));
    client_close(&idle);
    assert_int_equal(http_connections(fixture.server.http), 0);
}

static void drained(void **state)
{
    struct client busy = client_open(), idle = client_open(), fresh = client_open();

    (void)state;
    assert_int_equal(ask(&idle, "GET /t/hello HTTP/1.1\r\nHost: x\r\n\r\n").status, 200);
    client_say(&busy, "GET /t/slow?ms=100 HTTP/1.1\r\nHost: x\r\n\r\n");
    turn_loop(10);
    http_drain(fixture.server.http);

    struct answer answer = client_answer(&busy, false);
    assert_int_equal(answer.status, 200);
    assert_string_equal(header_of(&answer, "Connection"), "close");
    assert_null(header_of(&answer, "Keep-Alive"));
    assert_true(client_wait_closed(&busy, 500));

    /* A request on an idle connection that was promised its time is still answered. */
    answer = ask(&idle, "GET /t/hello HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(answer.status, 200);
    assert_true(client_wait_closed(&idle, 500));
    assert_true(client_wait_closed(&fresh, 2000));
    turn_loop(50); /* libmicrohttpd 1.0 forgets a connection a turn after closing it */
    assert_int_equal(http_connections(fixture.server.http), 0);
    client_close(&busy);
    client_close(&idle);
    client_close(&fresh);
}

static void cancelled_by_the_drain(void **state)
{
    struct client client = client_open();

    (void)state;
    client_say(&client, "GET /t/slow?ms=250 HTTP/1.1\r\nHost: x\r\n\r\n");
    turn_loop(10);
    http_drain(fixture.server.http);
    http_cancel_all(fixture.server.http);
    assert_int_equal(client_answer(&client, false).status, 503);
    assert_true(client_wait_closed(&client, 500));
    client_close(&client);
}

static void cross_origin(void **state)
{
    struct client client = client_open();

    (void)state;
    struct answer answer = ask(&client, "OPTIONS /api/any HTTP/1.1\r\nHost: x\r\n"
                                        "Origin: http://localhost:5173\r\n\r\n");
    assert_int_equal(answer.status, 204);
    assert_string_equal(header_of(&answer, "Access-Control-Allow-Origin"),
                        "http://localhost:5173");
    assert_string_equal(header_of(&answer, "Access-Control-Allow-Credentials"), "true");
    assert_string_equal(header_of(&answer, "Access-Control-Max-Age"), "86400");
    assert_non_null(
        strstr(header_of(&answer, "Access-Control-Allow-Headers"), "Last-Event-ID"));
    assert_null(header_of(&answer, "Access-Control-Expose-Headers"));

    /* Errors too: without, a browser calls them a network failure. */
    answer = ask(&client, "GET /api/none HTTP/1.1\r\nHost: x\r\n"
                          "Origin: chrome-extension://abc\r\n\r\n");
    assert_int_equal(answer.status, 404);
    assert_string_equal(header_of(&answer, "Access-Control-Allow-Origin"),
                        "chrome-extension://abc");
    assert_null(header_of(&answer, "Access-Control-Allow-Credentials"));
    assert_string_equal(header_of(&answer, "Vary"), "Origin");
    assert_non_null(header_of(&answer, "Access-Control-Expose-Headers"));

    answer = ask(&client, "OPTIONS /t/hello HTTP/1.1\r\nHost: x\r\n"
                          "Origin: http://evil.example\r\n\r\n");
    assert_int_equal(answer.status, 204);
    assert_null(strstr(answer.head, "Access-Control"));
    client_close(&client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(simple_answers, start, stop),
        cmocka_unit_test_setup_teardown(request_ids, start, stop),
        cmocka_unit_test_setup_teardown(queries_and_cookies, start, stop),
        cmocka_unit_test_setup_teardown(json_bodies, start, stop),
        cmocka_unit_test_setup_teardown(body_limits, start, stop),
        cmocka_unit_test_setup_teardown(huge_bodies_end, start, stop),
        cmocka_unit_test_setup_teardown(expect_continue, start, stop),
        cmocka_unit_test_setup_teardown(pipelined, start, stop),
        cmocka_unit_test_setup_teardown(deadline_and_full_arena, start, stop),
        cmocka_unit_test_setup_teardown(client_leaves, start, stop),
        cmocka_unit_test_setup_teardown(big_answers, start, stop),
        cmocka_unit_test_setup_teardown(slow_clients_are_cut, start, stop),
        cmocka_unit_test_setup_teardown(drained, start, stop),
        cmocka_unit_test_setup_teardown(cancelled_by_the_drain, start, stop),
        cmocka_unit_test_setup_teardown(cross_origin, start, stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
