/*
 * test_log_link.c - files that another process has opened: also while nobody listened,
 * also where this one could not have opened them, and the latest counts.
 */
#include "tests/unit/testing.h"

#include "common/log.h"
#include "common/log_link.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[] = "/tmp/fm-link-XXXXXX";

static const char *path_of(const char *name)
{
    static char path[96];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

/* What the file of that name holds; "" when it is not there. */
static const char *text_of(const char *name)
{
    static char text[4096];
    int fd = open(path_of(name), O_RDONLY);
    ssize_t got = fd >= 0 ? read(fd, text, sizeof(text) - 1) : 0;

    text[got > 0 ? got : 0] = '\0';
    if (fd >= 0)
        close(fd);
    return text;
}

static void move(const char *from, const char *to)
{
    char source[96];

    snprintf(source, sizeof(source), "%s", path_of(from));
    assert_int_equal(rename(source, path_of(to)), 0);
}

static int setup(void **state)
{
    (void)state;
    strcpy(folder + strlen(folder) - 6, "XXXXXX");
    assert_non_null(mkdtemp(folder));
    assert_int_equal(log_open(path_of("log"), LOGF_TEXT, LOGL_INFO), 0);
    assert_int_equal(log_open_access(path_of("access")), 0);
    return 0;
}

static int teardown(void **state)
{
    static const char *const names[] = { "log",    "log.1",    "log.2",
                                         "access", "access.1", "access.2" };
    (void)state;

    log_take_from(0);
    log_open("-", LOGF_TEXT, LOGL_INFO);
    log_open_access("");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        unlink(path_of(names[i]));
    return rmdir(folder);
}

/* The child: everything was handed over before it looks. It says `word` to both logs. */
static void write_as_child(int link, const char *word)
{
    pid_t pid = fork();
    int status;

    assert_true(pid >= 0);
    if (pid == 0) {
        log_take_from(link);
        log_info("%s", word);
        log_access("", word, false);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void rotate(const char *number)
{
    char name[16];

    snprintf(name, sizeof(name), "log.%s", number);
    move("log", name);
    snprintf(name, sizeof(name), "access.%s", number);
    move("access", name);
    assert_int_equal(log_reopen(), 0);
}

static void the_latest_of_what_waits_is_taken(void **state)
{
    int ends[2], before, after;
    (void)state;

    assert_true(log_link_open(ends));
    before = dup(0);
    for (int i = 0; i < 2; i++) {
        char number[2] = { (char)('1' + i), '\0' };

        rotate(number);
        log_hand(ends[0]);
    }
    /* The child has the files of before the first rotation, as it was forked then. */
    write_as_child(ends[1], "late");
    assert_non_null(strstr(text_of("log"), "late"));
    assert_string_equal(text_of("access"), "late\n");
    assert_null(strstr(text_of("log.1"), "late"));
    assert_string_equal(text_of("access.2"), "");
    after = dup(0);
    assert_int_equal(after, before + 1); /* none of those sent is left open */
    close(before);
    close(after);
    close(ends[0]);
    close(ends[1]);
}

static void who_hears_nothing_opens_by_himself(void **state)
{
    int ends[2];
    (void)state;

    assert_true(log_link_open(ends));
    log_take_from(ends[1]);
    rotate("1");
    log_info("own");
    assert_non_null(strstr(text_of("log"), "own"));
    /* The other end is gone: a program of before. */
    close(ends[0]);
    move("log", "log.2");
    assert_int_equal(log_reopen(), 0);
    log_info("alone");
    assert_non_null(strstr(text_of("log"), "alone"));
    log_take_from(0);
    close(ends[1]);
}

/* Root may open anything, so it is the folder that is in nobody's way any more. */
static void what_is_handed_is_not_opened(void **state)
{
    int ends[2];
    (void)state;

    assert_true(log_link_open(ends));
    log_hand(ends[0]);
    log_take_from(ends[1]);
    move("log", "log.1");
    move("access", "access.1");
    log_hand(ends[0]);
    assert_int_equal(log_reopen(), 0);
    assert_int_equal(access(path_of("log"), F_OK), -1);
    log_info("still there");
    assert_non_null(strstr(text_of("log.1"), "still there"));
    log_take_from(0);
    close(ends[0]);
    close(ends[1]);
}

static void a_full_socket_does_not_block(void **state)
{
    int ends[2];
    (void)state;

    assert_true(log_link_open(ends));
    for (int i = 0; i < 2000; i++)
        log_hand(ends[0]);
    log_take_from(ends[1]);
    log_info("after all");
    assert_non_null(strstr(text_of("log"), "after all"));
    log_take_from(0);
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_latest_of_what_waits_is_taken, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(who_hears_nothing_opens_by_himself, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_is_handed_is_not_opened, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_socket_does_not_block, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
