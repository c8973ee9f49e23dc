/*
 * test_backlog.c - connections that wait, on real sockets of each kind.
 */
#include "tests/unit/testing.h"
#include "worker/backlog.h"
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define ROOM 7

static void counts_those_that_wait(const struct sockaddr *address, socklen_t length,
                                   const char *name)
{
    struct sockaddr_storage bound;
    socklen_t bound_length = sizeof(bound);
    struct backlog backlog;
    int listener = socket(address->sa_family, SOCK_STREAM, 0);

    assert_int_equal(bind(listener, address, length), 0);
    assert_int_equal(listen(listener, ROOM), 0);
    assert_int_equal(getsockname(listener, (void *)&bound, &bound_length), 0);
    for (uint32_t i = 0; i < 3; i++) {
        assert_true(backlog_read(listener, &backlog));
        assert_int_equal(backlog.waiting, i);
        assert_int_equal(backlog.room, ROOM);
        int client = socket(address->sa_family, SOCK_STREAM, 0);
        assert_int_equal(connect(client, (void *)&bound, bound_length), 0);
    }
    close(accept(listener, NULL, NULL));
    assert_true(backlog_read(listener, &backlog));
    assert_int_equal(backlog.waiting, 2);
    assert_memory_equal(backlog.name, name, strlen(name));
    close(listener);
}

static void tcp(void **state)
{
    struct sockaddr_in v4 = { .sin_family = AF_INET,
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6,
                               .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    (void)state;

    counts_those_that_wait((void *)&v4, sizeof(v4), "127.0.0.1:");
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    if (fd >= 0 && bind(fd, (void *)&v6, sizeof(v6)) == 0)
        counts_those_that_wait((void *)&v6, sizeof(v6), "[::1]:");
    close(fd);
}

static void unix_sockets(void **state)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    char name[160];
    (void)state;

    snprintf(address.sun_path, sizeof(address.sun_path), "/tmp/fm-backlog-%d",
             (int)getpid());
    snprintf(name, sizeof(name), "unix:%s", address.sun_path);
    unlink(address.sun_path);
    counts_those_that_wait((void *)&address, sizeof(address), name);
    unlink(address.sun_path);
}

static void what_is_no_socket(void **state)
{
    struct backlog backlog;
    (void)state;

    assert_false(backlog_read(-1, &backlog));
    assert_false(backlog_read(STDIN_FILENO, &backlog));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tcp),
        cmocka_unit_test(unix_sockets),
        cmocka_unit_test(what_is_no_socket),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
