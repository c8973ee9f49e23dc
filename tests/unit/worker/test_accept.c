/*
 * test_accept.c - whose turn it is to accept, and the limit of connections.
 */
#include "http_fixture.h"
#include "worker/accept.h"
#include "worker/reply.h"
#include <arpa/inet.h>
#include <netinet/in.h>

static enum http_status hello(struct request *req)
{
    return reply_data(req, HTTP_OK, "text/plain", "hello", 5);
}

const struct route route_table[] = {
    { .method = METHOD_GET,
      .pattern = "/t",
      .limit = LIMIT_NONE,
      .handle = hello,
      .is_inline = true },
    { .pattern = NULL },
};

/* ---- the mean ---- */

struct neighbour {
    uint32_t connections;
    bool accepting;
    uint64_t age_ms; /* of its beat */
    enum board_role role;
};

static const struct {
    uint32_t mine;
    struct neighbour neighbours[3];
    bool is_above;
} rows[] = {
    { 0, { { 0 } }, false },
    { 500, { { 0 } }, false }, /* alone */
    { 1, { { 0, true, 0, BOARD_WORKER } }, false },
    { 2, { { 0, true, 0, BOARD_WORKER } }, false }, /* mean 1: one above, not more */
    { 3, { { 0, true, 0, BOARD_WORKER } }, true },
    { 3, { { 0, true, 99, BOARD_WORKER } }, true },
    /* Hung, full or draining, and other roles: they would not take it. */
    { 3, { { 0, true, 101, BOARD_WORKER } }, false },
    { 3, { { 0, false, 0, BOARD_WORKER } }, false },
    { 3, { { 0, true, 0, BOARD_CONSUMER } }, false },
    { 11,
      { { 10, true, 0, BOARD_WORKER },
        { 10, true, 0, BOARD_WORKER },
        { 9, true, 0, BOARD_WORKER } },
      false },
    { 12,
      { { 10, true, 0, BOARD_WORKER },
        { 10, true, 0, BOARD_WORKER },
        { 9, true, 0, BOARD_WORKER } },
      true },
    { 5, { { 9, true, 0, BOARD_WORKER }, { 9, true, 0, BOARD_WORKER } }, false },
};

static void the_mean(void **state)
{
    const uint64_t now = 1000000;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct scoreboard *board = board_new(4);
        struct board_slot *own =
            board_slot(board, (size_t)board_take(board, BOARD_WORKER, 1, NULL));

        atomic_store(&own->count.connections, rows[i].mine);
        for (int n = 0; n < 3; n++) {
            const struct neighbour *neighbour = &rows[i].neighbours[n];

            if (neighbour->role == BOARD_NONE)
                continue;
            struct board_slot *slot = board_slot(
                board, (size_t)board_take(board, neighbour->role, n + 2, NULL));
            atomic_store(&slot->count.connections, neighbour->connections);
            atomic_store(&slot->count.accepting, neighbour->accepting);
            atomic_store(&slot->count.beat_ms, now - neighbour->age_ms);
        }
        if (accept_is_above_mean(board, own, now, 1) != rows[i].is_above)
            fail_msg("row %zu", i);
        board_free(board);
    }
}

static void any_above_the_mean_is_too_much_where_they_stay(void **state)
{
    struct scoreboard *board = board_new(2);
    struct board_slot *own =
        board_slot(board, (size_t)board_take(board, BOARD_WORKER, 1, NULL));
    struct board_slot *other =
        board_slot(board, (size_t)board_take(board, BOARD_WORKER, 2, NULL));

    (void)state;
    atomic_store(&own->count.connections, 10);
    atomic_store(&other->count.connections, 10);
    atomic_store(&other->count.accepting, 1);
    atomic_store(&other->count.beat_ms, 1000);
    assert_false(accept_is_above_mean(board, own, 1000, 0)); /* 10, mean 10 */
    atomic_store(&own->count.connections, 11);
    assert_true(accept_is_above_mean(board, own, 1000, 0)); /* 11, mean 10.5 */
    assert_false(accept_is_above_mean(board, own, 1000, 1));
    board_free(board);
}

/* ---- a listening socket ---- */

static struct accept *accept_here;
static int listener;
static struct sockaddr_in address;

static void start_with(const char *const *sets)
{
    socklen_t length = sizeof(address);

    address = (struct sockaddr_in){ .sin_family = AF_INET,
                                    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(listener, 64), 0);
    getsockname(listener, (struct sockaddr *)&address, &length);
    fixture.role.listeners = &listener;
    fixture.role.listener_count = 1;
    server_start(sets);
    accept_here = accept_new(&fixture.server);
}

static void stop_here(void)
{
    accept_free(accept_here);
    turn_loop(5);
    server_stop();
    close(listener);
    fixture.role.listener_count = 0;
}

static struct client connect_here(void)
{
    struct client client = { .in = BUF_HEAP };

    client.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(client.fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(fcntl(client.fd, F_SETFL, O_NONBLOCK), 0);
    client_say(&client, "GET /t HTTP/1.1\r\nHost: x\r\n\r\n");
    return client;
}

static void past_the_limit_they_wait(void **state)
{
    static const char *const sets[] = { "server.worker_connections=3", NULL };
    struct client clients[5];

    (void)state;
    start_with(sets);
    for (int i = 0; i < 5; i++)
        clients[i] = connect_here();
    for (int i = 0; i < 3; i++)
        assert_int_equal(client_answer(&clients[i], false).status, 200);
    turn_loop(20);
    assert_int_equal(http_connections(fixture.server.http), 3);
    assert_int_equal(atomic_load(&fixture.server.slot->count.accepting), 0);
    assert_false(client_wait(&clients[3], "HTTP", 10));

    client_close(&clients[0]);
    assert_int_equal(client_answer(&clients[3], false).status, 200);
    client_close(&clients[1]);
    assert_int_equal(client_answer(&clients[4], false).status, 200);
    for (int i = 2; i < 5; i++)
        client_close(&clients[i]);
    turn_loop(10);
    assert_int_equal(atomic_load(&fixture.server.slot->count.accepting), 1);
    assert_int_equal(atomic_load(&fixture.server.slot->count.accepted), 5);
    stop_here();
}

/* A neighbour that seems idle but never accepts costs a millisecond each, no more. */
static void nobody_starves(void **state)
{
    struct client clients[10];

    (void)state;
    start_with(NULL);
    struct board_slot *slot =
        board_slot(fixture.server.board,
                   (size_t)board_take(fixture.server.board, BOARD_WORKER, 2, NULL));
    atomic_store(&slot->count.accepting, 1);
    atomic_store(&slot->count.beat_ms, clock_ms() + 60000);
    uint64_t began = clock_ms();
    for (int i = 0; i < 10; i++) {
        clients[i] = connect_here();
        assert_int_equal(client_answer(&clients[i], false).status, 200);
    }
    assert_true(clock_ms() - began < 500);
    for (int i = 0; i < 10; i++)
        client_close(&clients[i]);
    stop_here();
}

static void the_backlog_is_emptied(void **state)
{
    struct client clients[20];

    (void)state;
    start_with(NULL);
    for (int i = 0; i < 20; i++) {
        clients[i] = (struct client){ .in = BUF_HEAP };
        clients[i].fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(
            connect(clients[i].fd, (struct sockaddr *)&address, sizeof(address)), 0);
        assert_int_equal(fcntl(clients[i].fd, F_SETFL, O_NONBLOCK), 0);
    }
    accept_stop(accept_here);
    assert_int_equal(http_connections(fixture.server.http), 20);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(ask(&clients[i], "GET /t HTTP/1.1\r\nHost: x\r\n\r\n").status,
                         200);
        client_close(&clients[i]);
    }
    struct client late = connect_here();
    assert_false(client_wait(&late, "HTTP", 30));
    client_close(&late);
    stop_here();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_mean),
        cmocka_unit_test(any_above_the_mean_is_too_much_where_they_stay),
        cmocka_unit_test(past_the_limit_they_wait),
        cmocka_unit_test(nobody_starves),
        cmocka_unit_test(the_backlog_is_emptied),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
