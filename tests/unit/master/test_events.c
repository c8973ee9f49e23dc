/*
 * test_events.c - the history: in order, bounded, one line each.
 */
#include "tests/unit/testing.h"

#include "common/buf.h"
#include "master/events.h"
#include <stdio.h>
#include <string.h>

static cJSON *shown(struct buf *text)
{
    cJSON *list = cJSON_CreateArray();

    events_show(list, text);
    return list;
}

static const char *member(const cJSON *row, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(row, name)->valuestring;
}

static void in_the_order_they_happened(void **state)
{
    struct buf text = BUF_HEAP;

    (void)state;
    events_clear();
    event_note(EVENT_START, "worker %d is ready", 1);
    event_note(EVENT_DEATH, "worker 1 died");
    cJSON *list = shown(&text);
    assert_int_equal(cJSON_GetArraySize(list), 2);
    const cJSON *first = cJSON_GetArrayItem(list, 0);
    assert_string_equal(member(first, "kind"), "start");
    assert_string_equal(member(first, "text"), "worker 1 is ready");
    assert_int_equal(strlen(member(first, "time")), strlen("2026-11-26T02:20:00.123Z"));
    const char *line = strchr(buf_text(&text), '\n') + 1;
    assert_non_null(strstr(line, "Z death   worker 1 died\n"));
    cJSON_Delete(list);
    buf_done(&text);
}

static void the_oldest_gives_way(void **state)
{
    struct buf text = BUF_HEAP;
    char last[16];

    (void)state;
    events_clear();
    for (int i = 0; i < 1000; i++)
        event_note(EVENT_SCALE, "number %d", i);
    cJSON *list = shown(&text);
    int count = cJSON_GetArraySize(list);
    assert_in_range(count, 100, 999);
    snprintf(last, sizeof(last), "number %d", 1000 - count);
    assert_string_equal(member(cJSON_GetArrayItem(list, 0), "text"), last);
    assert_string_equal(member(cJSON_GetArrayItem(list, count - 1), "text"),
                        "number 999");
    cJSON_Delete(list);
    buf_done(&text);
}

static void one_line_each_however_long(void **state)
{
    struct buf text = BUF_HEAP;
    char endless[2000];

    (void)state;
    events_clear();
    memset(endless, 'x', sizeof(endless) - 1);
    endless[sizeof(endless) - 1] = '\0';
    event_note(EVENT_RELOAD, "failed: one\ntwo\x1b[2J\n");
    event_note(EVENT_RELOAD, "%s", endless);
    cJSON *list = shown(&text);
    assert_string_equal(member(cJSON_GetArrayItem(list, 0), "text"),
                        "failed: one two [2J");
    assert_in_range(strlen(member(cJSON_GetArrayItem(list, 1), "text")), 200, 500);
    cJSON_Delete(list);
    buf_done(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_the_order_they_happened),
        cmocka_unit_test(the_oldest_gives_way),
        cmocka_unit_test(one_line_each_however_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
