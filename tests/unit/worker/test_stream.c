/*
 * test_stream.c - event streams through libmicrohttpd, without Redis.
 */
#include "http_fixture.h"
#include "worker/reply.h"

static struct stream *last;
static bool fails;

static enum http_status open_stream(struct request *req)
{
    const char *user = request_query(req, "user");

    req->user_id = atoi(user);
    req->token.expires_at = request_query_int(req, "expires", 0);
    struct stream *stream = stream_new(req);
    stream_send(stream, "first\n\n", 7);
    /* While a handler replays, live events come in: they wait behind. */
    task_sleep(20);
    stream_send(stream, "id: e1\nreplayed\n\n", 17);
    if (fails)
        return reply_failure(req, -EAGAIN);
    last = stream;
    return reply_stream(req, stream);
}

const struct route route_table[] = {
    { .method = METHOD_GET, .pattern = "/s", .limit = LIMIT_NONE, .handle = open_stream },
    { .pattern = NULL },
};

static int start(void **state)
{
    (void)state;
    fails = false;
    server_start(NULL);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    server_stop();
    return 0;
}

static struct client open_for(int user)
{
    struct client client = client_open();
    char request[128];

    snprintf(
        request, sizeof(request),
        "GET /s?user=%d HTTP/1.1\r\nHost: x\r\nOrigin: http://localhost:5173\r\n\r\n",
        user);
    client_say(&client, request);
    return client;
}

static void send_to(int user, const char *frame)
{
    hub_send(fixture.server.hub, user, frame, strlen(frame));
}

static void frames_in_order(void **state)
{
    struct client client = open_for(7);

    (void)state;
    turn_loop(5);
    send_to(7, "id: e2\nlive\n\n");
    assert_true(client_wait(&client, "live\n", 1000));
    assert_non_null(strstr(client.in.data, "200 OK"));
    assert_non_null(
        strstr(client.in.data, "Content-Type: text/event-stream; charset=utf-8"));
    assert_non_null(strstr(client.in.data, "Cache-Control: no-cache, no-transform"));
    assert_non_null(strstr(client.in.data, "X-Accel-Buffering: no"));
    assert_non_null(strstr(client.in.data, "Access-Control-Allow-Origin: "));
    assert_non_null(strstr(client.in.data, "X-Request-ID: "));
    assert_null(strstr(client.in.data, "Content-Length"));
    assert_non_null(strstr(client.in.data, "Connection: close"));
    assert_true(strstr(client.in.data, "first") < strstr(client.in.data, "replayed"));
    assert_true(strstr(client.in.data, "replayed") < strstr(client.in.data, "live\n"));
    assert_int_equal(atomic_load(&fixture.server.slot->count.streams), 1);
    assert_int_equal(task_count(), 0);

    send_to(7, "second\n\n");
    assert_true(client_wait(&client, "second", 1000));
    stream_end(last);
    assert_true(client_wait(&client, "\r\n0\r\n\r\n", 1000));
    turn_loop(5);
    assert_int_equal(hub_count(fixture.server.hub), 0);
    client_close(&client);
}

static void only_its_user_hears(void **state)
{
    /* 7 and 4103 fall into the same bucket. */
    struct client seven = open_for(7), other = open_for(4103), again = open_for(7);

    (void)state;
    assert_true(client_wait(&seven, "replayed", 1000));
    assert_true(client_wait(&other, "replayed", 1000));
    assert_true(client_wait(&again, "replayed", 1000));
    send_to(7, "for seven\n\n");
    send_to(4103, "for other\n\n");
    send_to(9, "for nobody\n\n");
    assert_true(client_wait(&seven, "for seven", 1000));
    assert_true(client_wait(&again, "for seven", 1000));
    assert_true(client_wait(&other, "for other", 1000));
    turn_loop(10);
    client_read(&seven);
    client_read(&other);
    assert_null(strstr(other.in.data, "for seven"));
    assert_null(strstr(seven.in.data, "for other"));
    assert_null(strstr(seven.in.data, "for nobody"));
    client_close(&seven);
    client_close(&other);
    client_close(&again);
}

/* A suspended connection does not see its client leave: the next frame finds out. */
static void a_client_that_left(void **state)
{
    struct client client = open_for(7);

    (void)state;
    assert_true(client_wait(&client, "replayed", 1000));
    client_close(&client);
    turn_loop(20);
    assert_int_equal(hub_count(fixture.server.hub), 1);
    send_to(7, "anybody there?\n\n");
    turn_loop(20);
    send_to(7, "no\n\n");
    turn_loop(20);
    assert_int_equal(hub_count(fixture.server.hub), 0);
    assert_int_equal(http_connections(fixture.server.http), 0);
}

static void a_request_that_fails_leaves_no_stream(void **state)
{
    struct client client;

    (void)state;
    fails = true;
    client = open_for(7);
    turn_loop(5);
    send_to(7, "held\n\n");
    assert_int_equal(client_answer(&client, false).status, 503);
    turn_loop(5);
    assert_int_equal(hub_count(fixture.server.hub), 0);
    client_close(&client);
}

static void the_drain_ends_them(void **state)
{
    struct client client = open_for(7), late;

    (void)state;
    assert_true(client_wait(&client, "replayed", 1000));
    hub_close_all(fixture.server.hub);
    assert_true(client_wait(&client, "\r\n0\r\n\r\n", 1000));
    late = open_for(8);
    assert_true(client_wait(&late, "\r\n0\r\n\r\n", 1000));
    client_close(&client);
    client_close(&late);
    assert_int_equal(hub_count(fixture.server.hub), 0);
}

static void ends_with_its_token(void **state)
{
    struct client client = client_open();
    char request[128];

    (void)state;
    snprintf(request, sizeof(request),
             "GET /s?user=1&expires=%lld HTTP/1.1\r\nHost: x\r\n\r\n",
             (long long)clock_unix() + 1);
    client_say(&client, request);
    assert_true(client_wait(&client, "replayed", 1000));
    assert_true(client_wait(&client, "\r\n0\r\n\r\n", 3500));
    client_close(&client);
}

/* It takes nothing: its frames must not pile up. */
static void a_slow_client_is_ended(void **state)
{
    struct client client = open_for(7);
    struct buf frame = BUF_HEAP;

    (void)state;
    assert_true(client_wait(&client, "replayed", 1000));
    for (int i = 0; i < 10000; i++)
        buf_addc(&frame, 'x');
    for (int i = 0; i < 200; i++) {
        send_to(7, frame.data);
        turn_loop(0);
    }
    assert_true(client_wait(&client, "\r\n0\r\n\r\n", 3000));
    assert_true(client.in.length < (size_t)200 * 10000);
    turn_loop(10);
    assert_int_equal(hub_count(fixture.server.hub), 0);
    buf_done(&frame);
    client_close(&client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(frames_in_order, start, stop),
        cmocka_unit_test_setup_teardown(only_its_user_hears, start, stop),
        cmocka_unit_test_setup_teardown(a_client_that_left, start, stop),
        cmocka_unit_test_setup_teardown(a_request_that_fails_leaves_no_stream, start,
                                        stop),
        cmocka_unit_test_setup_teardown(the_drain_ends_them, start, stop),
        cmocka_unit_test_setup_teardown(ends_with_its_token, start, stop),
        cmocka_unit_test_setup_teardown(a_slow_client_is_ended, start, stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
