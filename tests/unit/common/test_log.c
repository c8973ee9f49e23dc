/*
 * test_log.c - lines as text and JSON, levels, reopening, no forged lines.
 */
#include "common/log.h"
#include "tests/unit/testing.h"
#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64], path[96], content[20000];

static int setup(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/forkmark-test-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/log", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    log_open(NULL, LOGF_TEXT, LOGL_INFO);
    unlink(path);
    rmdir(folder);
    return 0;
}

static const char *read_log(void)
{
    FILE *file = fopen(path, "r");

    assert_non_null(file);
    content[fread(content, 1, sizeof(content) - 1, file)] = '\0';
    fclose(file);
    return content;
}

static void text_lines(void **state)
{
    (void)state;
    assert_int_equal(log_open(path, LOGF_TEXT, LOGL_INFO), 0);
    log_set_process("worker 3");
    log_set_id("req-1");
    log_debug("not shown");
    log_warn("a\nb %d", 7);
    read_log();
    assert_non_null(strstr(content, " WARN  worker 3 [req-1] a\\x0ab 7\n"));
    assert_null(strstr(content, "not shown"));
    log_set_level(LOGL_DEBUG);
    log_set_id(NULL);
    log_debug("shown");
    assert_non_null(strstr(read_log(), " DEBUG worker 3 shown\n"));
}

static void json_lines(void **state)
{
    (void)state;
    assert_int_equal(log_open(path, LOGF_JSON, LOGL_INFO), 0);
    log_set_process("master");
    log_error("quote \" backslash \\ newline \n end");
    cJSON *line = cJSON_Parse(read_log());
    assert_non_null(line);
    assert_string_equal(cJSON_GetObjectItem(line, "event")->valuestring,
                        "quote \" backslash \\ newline \n end");
    assert_string_equal(cJSON_GetObjectItem(line, "level")->valuestring, "error");
    assert_null(cJSON_GetObjectItem(line, "id"));
    cJSON_Delete(line);
}

static void long_messages_are_cut_not_lost(void **state)
{
    static char big[10000];

    (void)state;
    memset(big, 'x', sizeof(big) - 1);
    assert_int_equal(log_open(path, LOGF_TEXT, LOGL_INFO), 0);
    log_info("%s", big);
    log_info("next");
    read_log();
    assert_true(strlen(content) < 5000);
    assert_non_null(strstr(content, "x\n"));
    assert_non_null(strstr(content, "next\n"));
}

static void reopening_follows_the_name(void **state)
{
    char moved[128];

    (void)state;
    snprintf(moved, sizeof(moved), "%s.1", path);
    assert_int_equal(log_open(path, LOGF_TEXT, LOGL_INFO), 0);
    log_info("before");
    assert_int_equal(rename(path, moved), 0);
    assert_int_equal(log_reopen(), 0);
    log_info("after");
    assert_null(strstr(read_log(), "before"));
    assert_non_null(strstr(content, "after"));
    unlink(moved);
    assert_int_equal(log_open("/nonexistent/x", LOGF_TEXT, LOGL_INFO), -ENOENT);
    log_info("still here");
    assert_non_null(strstr(read_log(), "still here"));
}

static void a_shared_level_is_everybodys(void **state)
{
    static _Atomic int32_t shared = LOGL_ERROR;

    (void)state;
    assert_int_equal(log_open(path, LOGF_TEXT, LOGL_INFO), 0);
    log_share_level(&shared);
    assert_int_equal(shared, LOGL_INFO); /* it begins as this process' own */
    log_debug("hidden");
    shared = LOGL_DEBUG; /* as another process would */
    log_debug("shown");
    shared = LOGL_WARN;
    assert_int_equal(log_get_level(), LOGL_WARN);
    assert_string_equal(log_level_text(log_get_level()), "warn");
    log_share_level(NULL); /* the memory may go now */
    shared = LOGL_DEBUG;
    log_info("hidden as well");
    assert_null(strstr(read_log(), "hidden"));
    assert_non_null(strstr(content, "shown"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(text_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(json_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(long_messages_are_cut_not_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(reopening_follows_the_name, setup, teardown),
        cmocka_unit_test_setup_teardown(a_shared_level_is_everybodys, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
