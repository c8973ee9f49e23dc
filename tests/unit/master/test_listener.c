/*
 * test_listener.c - addresses as operators write them, and sockets that are refused.
 */
#include "tests/unit/testing.h"

#include "common/buf.h"
#include "common/options.h"
#include "master/listener.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void addresses_are_read(void **state)
{
    static const struct {
        const char *text;
        int family;
        const char *host; /* as inet_ntop() writes it, or the path */
        int port;         /* or the mode */
    } cases[] = {
        { "0.0.0.0", AF_INET, "0.0.0.0", 7860 },
        { "127.0.0.1:8000", AF_INET, "127.0.0.1", 8000 },
        { "*:80", AF_INET, "0.0.0.0", 80 },
        { ":80", AF_INET, "0.0.0.0", 80 },
        { "localhost:1", AF_INET, "127.0.0.1", 1 },
        { "[::]:7861", AF_INET6, "::", 7861 },
        { "[::1]", AF_INET6, "::1", 7860 },
        { "[::]:7861?v6only=1", AF_INET6, "::", 7861 },
        { "[::1]?v6only=0", AF_INET6, "::1", 7860 },
        { "[::]:7861?v6only=2", 0, NULL, 0 },
        { "[::]:7861?mode=0600", 0, NULL, 0 },
        { "127.0.0.1:80?v6only=1", 0, NULL, 0 },
        { "::1", AF_INET6, "::1", 7860 },
        { "unix:/tmp/x", AF_UNIX, "/tmp/x", 0666 },
        { "unix:/tmp/x?mode=0600", AF_UNIX, "/tmp/x", 0600 },
        { "unix:/tmp/x?mode=", 0, NULL, 0 },
        { "unix:/tmp/x?mode=0999", 0, NULL, 0 },
        { "unix:/tmp/x?user=me", 0, NULL, 0 },
        { "unix:", 0, NULL, 0 },
        { "example.org:80", 0, NULL, 0 },
        { "127.0.0.1:0", 0, NULL, 0 },
        { "127.0.0.1:65536", 0, NULL, 0 },
        { "127.0.0.1:80x", 0, NULL, 0 },
        { "127.0.0.1:", 0, NULL, 0 },
        { "[::1", 0, NULL, 0 },
        { "[::1]80", 0, NULL, 0 },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf error = BUF_HEAP, shown = BUF_HEAP;
        struct listeners one = { .count = 1 };
        bool is_good = address_parse(cases[i].text, 7860, &one.addresses[0], &error);
        const struct address *address = &one.addresses[0];
        char host[INET6_ADDRSTRLEN] = "";

        if (is_good != (cases[i].family != 0))
            fail_msg("%s", cases[i].text);
        if (!is_good) {
            assert_non_null(strstr(buf_text(&error), cases[i].text));
            buf_done(&error);
            continue;
        }
        assert_int_equal(address->as.any.sa_family, cases[i].family);
        if (cases[i].family == AF_UNIX) {
            assert_string_equal(address->as.un.sun_path, cases[i].host);
            assert_int_equal(address->mode, cases[i].port);
        } else if (cases[i].family == AF_INET) {
            const struct sockaddr_in *in4 = (const void *)&address->as.room;

            assert_non_null(inet_ntop(AF_INET, &in4->sin_addr, host, sizeof(host)));
            assert_string_equal(host, cases[i].host);
            assert_int_equal(ntohs(in4->sin_port), cases[i].port);
        } else {
            const struct sockaddr_in6 *in6 = (const void *)&address->as.room;

            assert_non_null(inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host)));
            assert_string_equal(host, cases[i].host);
            assert_int_equal(ntohs(in6->sin6_port), cases[i].port);
        }
        listeners_describe(&one, &shown);
        assert_true(shown.length > 0);
        buf_done(&shown);
        buf_done(&error);
    }
}

static void a_unix_path_may_be_too_long(void **state)
{
    char text[200] = "unix:/";
    struct address address;
    struct buf error = BUF_HEAP;
    (void)state;

    memset(text + 6, 'x', 150);
    assert_false(address_parse(text, 1, &address, &error));
    assert_non_null(strstr(buf_text(&error), "1 to 107"));
    buf_done(&error);
}

static struct options *bind_to(const char *list)
{
    char set[256];
    const char *const sets[] = { set, NULL };
    struct conf_input input = { .sets = sets };
    struct buf errors = BUF_HEAP;

    snprintf(set, sizeof(set), "server.bind=%s", list);
    struct options *options = options_load(&input, &errors);
    assert_non_null(options);
    buf_done(&errors);
    return options;
}

/* A port nobody has now. */
static int free_port(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    socklen_t length = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    close(fd);
    return ntohs(address.sin_port);
}

static void an_address_in_use_names_the_option(void **state)
{
    char list[64];
    struct listeners first, second;
    struct buf error = BUF_HEAP;
    (void)state;

    snprintf(list, sizeof(list), "127.0.0.1:%d", free_port());
    struct options *options = bind_to(list);
    assert_true(listeners_open(&first, options, &error));
    assert_true(listeners_start(&first, 16, &error));
    assert_false(listeners_open(&second, options, &error));
    assert_non_null(strstr(buf_text(&error), "in use"));
    assert_non_null(strstr(buf_text(&error), "server.bind"));
    assert_int_equal(second.count, 0);
    listeners_close(&first);
    buf_done(&error);
    options_free(options);
}

static void ipv4_and_ipv6_share_a_port(void **state)
{
    char list[64];
    struct listeners listeners;
    struct buf error = BUF_HEAP;
    int port = free_port();
    (void)state;

    snprintf(list, sizeof(list), "[::]:%d,0.0.0.0:%d", port, port);
    struct options *options = bind_to(list);
    if (!listeners_open(&listeners, options, &error)) {
        int fd = socket(AF_INET6, SOCK_STREAM, 0);

        assert_int_equal(fd, -1); /* only a machine without IPv6 may refuse */
        buf_done(&error);
        options_free(options);
        skip();
    }
    assert_int_equal(listeners.count, 2);
    listeners_close(&listeners);
    buf_done(&error);
    options_free(options);
}

static int connect_to(const struct address *address)
{
    int fd = socket(address->as.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0);

    if (connect(fd, &address->as.any, address->length) == 0 || errno == EINPROGRESS)
        return fd;
    int error = errno;
    close(fd);
    return -error;
}

static void unix_sockets_have_their_mode_and_outlive_a_kill(void **state)
{
    char folder[] = "/tmp/fm-listener-XXXXXX", list[80], path[64];
    struct listeners listeners, again;
    struct buf error = BUF_HEAP;
    struct stat status;
    (void)state;

    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/http", folder);
    snprintf(list, sizeof(list), "unix:%s?mode=0640", path);
    struct options *options = bind_to(list);
    assert_true(listeners_open(&listeners, options, &error));
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0640);
    assert_true(listeners_start(&listeners, 16, &error));

    assert_false(listeners_open(&again, options, &error));
    assert_non_null(strstr(buf_text(&error), "another process listens"));

    close(listeners.fds[0]); /* as a kill does: the name stays, nobody listens */
    buf_clear(&error);
    assert_true(listeners_open(&again, options, &error));
    assert_true(listeners_start(&again, 16, &error));
    int fd = connect_to(&again.addresses[0]);
    assert_true(fd >= 0);
    close(fd);
    listeners_close(&again);
    assert_int_equal(access(path, F_OK), -1);

    FILE *file = fopen(path, "w"); /* not ours to remove */
    fclose(file);
    assert_false(listeners_open(&again, options, &error));
    assert_int_equal(unlink(path), 0);
    rmdir(folder);
    buf_done(&error);
    options_free(options);
}

/* Who had connected is still served; who comes now is neither let in nor refused. */
static void after_shut_the_backlog_is_all_there_is(void **state)
{
    char list[64];
    struct listeners listeners;
    struct buf error = BUF_HEAP;
    (void)state;

    snprintf(list, sizeof(list), "127.0.0.1:%d", free_port());
    struct options *options = bind_to(list);
    assert_true(listeners_open(&listeners, options, &error));
    assert_true(listeners_start(&listeners, 16, &error));
    int before = connect_to(&listeners.addresses[0]);
    struct pollfd ready = { .fd = before, .events = POLLOUT };
    assert_int_equal(poll(&ready, 1, 1000), 1);

    listeners_shut(&listeners);
    int after = connect_to(&listeners.addresses[0]);
    struct pollfd waiting = { .fd = after, .events = POLLOUT };
    assert_int_equal(poll(&waiting, 1, 100), 0);
    int accepted = accept(listeners.fds[0], NULL, NULL);
    assert_true(accepted >= 0);
    assert_int_equal(accept(listeners.fds[0], NULL, NULL), -1);

    close(accepted);
    close(before);
    close(after);
    listeners_close(&listeners);
    buf_done(&error);
    options_free(options);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_read),
        cmocka_unit_test(a_unix_path_may_be_too_long),
        cmocka_unit_test(an_address_in_use_names_the_option),
        cmocka_unit_test(ipv4_and_ipv6_share_a_port),
        cmocka_unit_test(unix_sockets_have_their_mode_and_outlive_a_kill),
        cmocka_unit_test(after_shut_the_backlog_is_all_there_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
