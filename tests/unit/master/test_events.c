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

/* The lines of `text`, one after the other. */
static void read_all(char *text)
{
    char *save = NULL;

    for (char *line = strtok_r(text, "\n", &save); line;
         line = strtok_r(NULL, "\n", &save))
        assert_true(events_read(line));
}

static void another_program_goes_on_with_them(void **state)
{
    struct buf first = BUF_HEAP, second = BUF_HEAP, third = BUF_HEAP;

    (void)state;
    events_clear();
    event_note(EVENT_SCALE, "web: 1 -> 2 by somebody");
    size_t count = events_count();
    events_write(0, &first);
    event_note(EVENT_DEATH, "worker 1 died");
    events_write(count, &second);
    assert_null(strstr(buf_text(&second), "somebody"));

    events_clear();
    read_all(first.data);
    assert_int_equal(events_count(), 1);
    event_note(EVENT_START, "worker 2 is ready");
    read_all(second.data); /* which happened before that */
    cJSON *list = shown(&third);
    assert_int_equal(cJSON_GetArraySize(list), 3);
    assert_string_equal(member(cJSON_GetArrayItem(list, 0), "text"),
                        "web: 1 -> 2 by somebody");
    assert_string_equal(member(cJSON_GetArrayItem(list, 0), "kind"), "scale");
    assert_string_equal(member(cJSON_GetArrayItem(list, 1), "text"), "worker 1 died");
    assert_string_equal(member(cJSON_GetArrayItem(list, 2), "text"), "worker 2 is ready");
    cJSON_Delete(list);

    assert_false(events_read("count requests 1 5"));
    assert_true(events_read("event 5 surprise of a later program")); /* it was long ago */
    assert_true(events_read("event"
                            " "));
    buf_done(&first);
    buf_done(&second);
    buf_done(&third);
}

static void the_oldest_gives_way_whoever_brings_it(void **state)
{
    struct buf text = BUF_HEAP;
    char line[64];

    (void)state;
    events_clear();
    for (int i = 0; i < 1000; i++) { /* 0, 500, 1, 501 ... */
        int at = i / 2 + (i % 2) * 500;

        snprintf(line, sizeof(line), "event %d start number %d", at + 1, at);
        assert_true(events_read(line));
    }
    assert_true(events_read("event 1 start too old"));
    cJSON *list = shown(&text);
    int kept = cJSON_GetArraySize(list);
    for (int i = 0; i < kept; i++) {
        snprintf(line, sizeof(line), "number %d", 1000 - kept + i);
        assert_string_equal(member(cJSON_GetArrayItem(list, i), "text"), line);
    }
    cJSON_Delete(list);
    buf_done(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_the_order_they_happened),
        cmocka_unit_test(the_oldest_gives_way),
        cmocka_unit_test(one_line_each_however_long),
        cmocka_unit_test(another_program_goes_on_with_them),
        cmocka_unit_test(the_oldest_gives_way_whoever_brings_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
