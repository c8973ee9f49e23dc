/*
 * test_log_sink.c - where lines go: names, files, and datagrams as a daemon gets them.
 */
#include "common/log_sink.h"
#include "tests/unit/testing.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static char folder[64], path[96];

static int setup(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/fm-sink-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/x", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    rmdir(folder);
    return 0;
}

static const struct log_record record = {
    .level = LOGL_WARN,
    .unix_us = 1795660796209577,
    .process = "worker 3",
    .id = "req-1",
    .message = "it is \"so\" 50%",
    .line = "the whole line\n",
    .line_length = 15,
};

static struct log_sink *open_sink(const char *text)
{
    int error = 0;
    struct log_sink *sink = log_sink_open(text, &error);

    if (!sink)
        fail_msg("%s: %s", text, strerror(-error));
    return sink;
}

static void names(void **state)
{
    static const struct {
        const char *text;
        bool is_fine;
    } rows[] = {
        { "-", true },
        { "stdout", true },
        { "/var/log/x", true },
        { "syslog", true },
        { "syslog:/run/log", true },
        { "syslog://logs", true },
        { "syslog://logs:5140", true },
        { "syslog://[::1]:514", true },
        { "journal", true },
        { "syslog:relative", false },
        { "syslog://", false },
        { "syslog://logs:0", false },
        { "syslog://logs:x", false },
        { "syslog://logs:65536", false },
        { "syslog://[::1", false },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (!log_sink_check(rows[i].text) != rows[i].is_fine)
            fail_msg("%s", rows[i].text);
}

static void what_cannot_be_opened(void **state)
{
    int error = 0;
    (void)state;

    assert_null(log_sink_open("/nonexistent/x", &error));
    assert_int_equal(error, -ENOENT);
    assert_null(log_sink_open("syslog:/nonexistent/x", &error));
    assert_int_equal(error, -ENOENT);
    assert_null(log_sink_open("syslog://", &error));
    assert_int_equal(error, -EINVAL);
}

static void a_file_that_was_moved(void **state)
{
    struct log_sink *sink = open_sink(path);
    char moved[128];
    struct stat file;
    (void)state;

    snprintf(moved, sizeof(moved), "%s.1", path);
    int fd = log_sink_fd(sink);
    log_sink_write(sink, &record);
    rename(path, moved);
    log_sink_write(sink, &record);
    assert_int_equal(log_sink_reopen(sink), 0);
    assert_int_equal(log_sink_fd(sink), fd);
    log_sink_write(sink, &record);
    stat(moved, &file);
    assert_int_equal(file.st_size, 30);
    stat(path, &file);
    assert_int_equal(file.st_size, 15);
    assert_int_equal(file.st_mode & 0777, 0640);
    log_sink_close(sink);
    unlink(moved);
}

static int daemon_at(const char *where)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", where);
    unlink(where);
    assert_int_equal(bind(fd, (void *)&address, sizeof(address)), 0);
    return fd;
}

static const char *receive(int fd)
{
    static char text[4096];
    ssize_t length = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);

    if (length < 0)
        return "";
    text[length] = '\0';
    return text;
}

static void assert_like(const char *text, const char *pattern)
{
    regex_t regex;

    assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
    if (regexec(&regex, text, 0, NULL, 0) != 0)
        fail_msg("%s", text);
    regfree(&regex);
}

static void the_local_daemon(void **state)
{
    char name[128];
    (void)state;

    snprintf(name, sizeof(name), "syslog:%s", path);
    int fd = daemon_at(path);
    struct log_sink *sink = open_sink(name);
    log_sink_write(sink, &record);
    assert_like(receive(fd),
                "^<28>[A-Z][a-z]{2} [ 0-9][0-9] [0-9:]{8} forkmark\\[[0-9]+\\]: "
                "worker 3 \\[req-1\\] it is \"so\" 50%$");
    /* Restarted: the same path, another socket. */
    close(fd);
    fd = daemon_at(path);
    log_sink_write(sink, &record);
    assert_like(receive(fd), "it is");
    close(fd);
    log_sink_close(sink);
}

/* Nothing waits for a daemon that is stuck; it hears later how much it has missed. */
static void a_daemon_that_is_stuck(void **state)
{
    char name[128];
    int received = 0;
    (void)state;

    snprintf(name, sizeof(name), "syslog:%s", path);
    int fd = daemon_at(path);
    struct log_sink *sink = open_sink(name);
    for (int i = 0; i < 2000; i++)
        log_sink_write(sink, &record);
    while (strstr(receive(fd), "it is"))
        received++;
    assert_true(received > 0 && received < 2000);
    log_sink_write(sink, &record);
    char expected[64];
    snprintf(expected, sizeof(expected), "%d log lines were dropped", 2000 - received);
    assert_non_null(strstr(receive(fd), expected));
    assert_like(receive(fd), "it is");
    assert_string_equal(receive(fd), "");
    close(fd);
    log_sink_close(sink);
}

static void by_udp(void **state)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t length = sizeof(address);
    char name[64];
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    (void)state;

    assert_int_equal(bind(fd, (void *)&address, length), 0);
    getsockname(fd, (void *)&address, &length);
    snprintf(name, sizeof(name), "syslog://127.0.0.1:%d", ntohs(address.sin_port));
    struct log_sink *sink = open_sink(name);
    log_sink_set_facility(2); /* local0 */
    log_sink_write(sink, &record);
    log_sink_set_facility(1);
    /* RFC 5424: <PRI>VERSION TIMESTAMP HOSTNAME APP-NAME PROCID MSGID SD MSG */
    assert_like(receive(fd),
                "^<132>1 2026-11-26T02:39:56\\.209577Z [!-~]{1,255} forkmark [0-9]+ - - "
                "worker 3 \\[req-1\\] it is \"so\" 50%$");
    struct log_record object = record;
    object.is_json = object.is_access = true;
    object.line = "{\"a\":1}\n";
    object.line_length = 8;
    log_sink_write(sink, &object);
    assert_like(receive(fd), "^<28>1 .* forkmark [0-9]+ access - \\{\"a\":1\\}$");
    close(fd);
    log_sink_close(sink);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(what_cannot_be_opened),
        cmocka_unit_test(a_file_that_was_moved),
        cmocka_unit_test(the_local_daemon),
        cmocka_unit_test(a_daemon_that_is_stuck),
        cmocka_unit_test(by_udp),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
