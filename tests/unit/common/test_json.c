/*
 * test_json.c - the pass before the parser, parsing in a task, the writer.
 */
#include "common/arena.h"
#include "common/buf.h"
#include "common/json.h"
#include "common/task.h"
#include "tests/unit/testing.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void checks(void **state)
{
    static const struct {
        const char *text;
        int depth, values, expected;
    } rows[] = {
        { "{}", 1, 1, 0 },
        { "[]", 1, 1, 0 },
        { "1", 0, 1, 0 },
        { " \t\r\n\"a\" ", 0, 1, 0 },
        { "{\"a\":1,\"b\":[true,null]}", 2, 5, 0 },
        { "{\"a\":1,\"b\":[true,null]}", 2, 4, -E2BIG },
        { "{\"a\":1,\"b\":[true,null]}", 1, 99, -E2BIG },
        { "[[[]]]", 3, 3, 0 },
        { "[[[]]]", 2, 9, -E2BIG },
        { "[1,2,3]", 1, 4, 0 },
        { "[1,2,3]", 1, 3, -E2BIG },
        /* Brackets and quotes in texts are text. */
        { "\"[[[[{{\\\"\\\\\"", 0, 1, 0 },
        { "\"\\\\\"", 0, 1, 0 },
        { "\"\\\"", 0, 1, -EINVAL },
        { "\"a", 9, 9, -EINVAL },
        { "\"a\\", 9, 9, -EINVAL },
        { "\"a\nb\"", 9, 9, -EINVAL },
        { "[", 9, 9, -EINVAL },
        { "]", 9, 9, -EINVAL },
        { "[}", 9, 9, -EINVAL },
        { "{]", 9, 9, -EINVAL },
        { "[{]}", 9, 9, -EINVAL },
        { "[]]", 9, 9, -EINVAL },
        { "", 9, 9, -EINVAL },
        { "  ", 9, 9, -EINVAL },
        /* A colon only makes a key of a text, so it cannot undo the count. */
        { "1:1:1:1", 9, 9, -EINVAL },
        { "::::", 9, 9, -EINVAL },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (json_check(rows[i].text, strlen(rows[i].text), rows[i].depth,
                       rows[i].values) != rows[i].expected)
            fail_msg("%s, depth %d, values %d", rows[i].text, rows[i].depth,
                     rows[i].values);
    assert_int_equal(json_check("\"a\0b\"", 5, 9, 9), -EINVAL);
}

/* Everything below that parses runs in one task, as requests do. */

struct run {
    void (*body)(void);
    enum task_outcome outcome;
};

static void run_body(void *arg)
{
    ((struct run *)arg)->body();
}

static void note_end(void *arg, enum task_outcome outcome)
{
    ((struct run *)arg)->outcome = outcome;
}

static void in_task(void (*body)(void))
{
    struct run run = { .body = body, .outcome = TASK_CANCELLED };

    task_spawn(&(struct task_spec){
        .name = "test", .run = run_body, .arg = &run, .on_end = note_end });
    task_run_loop();
    assert_int_equal(run.outcome, TASK_DONE);
}

static cJSON *parse(const char *text)
{
    return json_parse(text, strlen(text));
}

static void parse_rows(void)
{
    static const struct {
        const char *text;
        bool is_good;
    } rows[] = {
        { "{\"a\": [1, 2.5e3, -0, true, false, null, \"x\"]}", true },
        { "  7  ", true },
        { "\"\\ud83d\\ude00\"", true },
        { "\"\xf0\x9f\x98\x80\"", true },
        { "{\"a\":1} x", false },
        { "{\"a\":1}{}", false },
        { "{\"a\" 1}", false },
        { "{a:1}", false },
        { "[1,]", false },
        { "[1 2]", false },
        { "nul", false },
        { "[0, -0.5, 10, 1e5, 1E+5, 2.50e-3]", true },
        { "[01]", false },
        { "[-01]", false },
        { "[1.]", false },
        { "[.5]", false },
        { "[1e]", false },
        { "[+1]", false },
        { "[0x10]", false },
        { "[-]", false },
        { "[nan]", false },
        { "\f{}", false },
        { "{}\v", false },
        { "\"\\ud83d\"", true }, /* half a character: U+FFFD */
        { "\"\\x\"", false },
        { "\"\xff\"", false },
        { "\"\xc0\xaf\"", false },         /* overlong */
        { "\"\xed\xa0\x80\"", false },     /* a surrogate */
        { "\"\xf4\x90\x80\x80\"", false }, /* past U+10FFFF */
        { "\"\xe2\x82\"", false },
        { "", false },
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if ((parse(rows[i].text) != NULL) != rows[i].is_good)
            fail_msg("%s", rows[i].text);
}

static void parses(void **state)
{
    (void)state;
    in_task(parse_rows);
}

static void bomb(void)
{
    static char text[20001];

    memset(text, '[', 10000);
    memset(text + 10000, ']', 10000);
    assert_null(parse(text));
    text[0] = '\0';
    for (int i = 0; i < 2000; i++)
        memcpy(text + i * 5, "{\"a\":", 5);
    text[10000] = '1';
    memset(text + 10001, '}', 2000);
    text[12001] = '\0';
    assert_null(parse(text));
    assert_true(arena_used(task_arena()) < 4096); /* cJSON saw nothing of it */

    size_t deep = JSON_MAX_DEPTH;
    memset(text, '[', deep);
    memset(text + deep, ']', deep);
    text[2 * deep] = '\0';
    assert_non_null(parse(text));
    memset(text, '[', deep + 1);
    memset(text + deep + 1, ']', deep + 1);
    text[2 * deep + 2] = '\0';
    assert_null(parse(text));
}

static void refuses_bombs(void **state)
{
    (void)state;
    in_task(bomb);
}

static void too_many(void)
{
    struct buf text = BUF_IN(task_arena());

    buf_addc(&text, '[');
    for (int i = 0; i < JSON_MAX_VALUES - 2; i++)
        buf_adds(&text, "0,");
    buf_adds(&text, "0]");
    assert_non_null(json_parse(text.data, text.length));
    text.data[text.length - 1] = ',';
    buf_adds(&text, "0]");
    assert_null(json_parse(text.data, text.length));
}

static void refuses_floods(void **state)
{
    (void)state;
    in_task(too_many);
}

static void read_values(void)
{
    const cJSON *o = parse("{\"t\":\"x\",\"e\":\"\",\"n\":7,\"f\":1.5,\"big\":1e300,"
                           "\"z\":null,\"t2\":1,\"t2\":2,\"b\":true,\"neg\":-3}");
    int64_t n = 42;

    assert_non_null(o);
    assert_string_equal(json_text(o, "t"), "x");
    assert_string_equal(json_text(o, "e"), "");
    assert_null(json_text(o, "n"));
    assert_null(json_text(o, "z"));
    assert_null(json_text(o, "none"));
    assert_null(json_get(o, "z"));
    assert_null(json_get(o, "T"));
    assert_null(json_get(NULL, "t"));
    assert_null(json_get(parse("[1]"), "t"));
    assert_false(json_int(o, "f", &n));
    assert_false(json_int(o, "big", &n));
    assert_false(json_int(o, "t", &n));
    assert_false(json_int(o, "b", &n));
    assert_int_equal(n, 42);
    assert_true(json_int(o, "n", &n) && n == 7);
    assert_true(json_int(o, "neg", &n) && n == -3);
    assert_true(json_int(o, "t2", &n) && n == 2);
}

static void reads(void **state)
{
    (void)state;
    in_task(read_values);
}

static void nul_bodies(void)
{
    static const struct {
        const char *text, *value;
    } rows[] = {
        { "{\"a\":\"x\\u0000y\"}", "xy" },
        { "{\"a\":\"\\u0000\\u0000\"}", "" },
        { "{\"a\":\"\\\\u0000\"}", "\\u0000" },
        { "{\"a\":\"\\\\\\u0000z\"}", "\\z" },
        { "{\"a\":\"\\u00000\"}", "0" },
        /* Halves of a pair, and whole ones. */
        { "{\"a\":\"cut \\ud83d\"}", "cut \xef\xbf\xbd" },
        { "{\"a\":\"\\uDE00 cut\"}", "\xef\xbf\xbd cut" },
        { "{\"a\":\"\\ud83d\\ud83d\\ude00\"}", "\xef\xbf\xbd\xf0\x9f\x98\x80" },
        { "{\"a\":\"\\ud83d\\u0000\\ude00\"}", "\xef\xbf\xbd\xef\xbf\xbd" },
        { "{\"a\":\"\\\\ud83d\"}", "\\ud83d" },
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_string_equal(json_text(parse(rows[i].text), "a"), rows[i].value);
}

static void drops_nul(void **state)
{
    (void)state;
    in_task(nul_bodies);
}

static cJSON *kept_tree;

static void mixed_memory(void)
{
    size_t before = arena_used(task_arena());

    cJSON_Delete(kept_tree); /* made outside: freed here, not leaked */
    kept_tree = cJSON_CreateString("in the arena");
    assert_true(arena_used(task_arena()) > before);
    cJSON_Delete(kept_tree);
    kept_tree = NULL;
}

static void parse_in_thread(void *arg)
{
    cJSON *tree = cJSON_Parse("[1,2,3]");

    *(int *)arg = cJSON_GetArraySize(tree);
    cJSON_Delete(tree);
}

static void from_thread(void)
{
    size_t before = arena_used(task_arena());
    int *size = arena_alloc(task_arena(), sizeof(*size));

    before = arena_used(task_arena());
    assert_int_equal(task_work("json", parse_in_thread, size, 0), 0);
    assert_int_equal(*size, 3);
    assert_true(arena_used(task_arena()) < before + 400);
}

static void memory_of_tasks_and_others(void **state)
{
    (void)state;
    kept_tree = cJSON_Parse("{\"a\":[1,2,{\"b\":\"c\"}]}");
    in_task(mixed_memory);
    in_task(from_thread);
}

static void writes(void **state)
{
    struct buf out = BUF_HEAP;
    struct json_writer w = { .out = &out };

    (void)state;
    json_begin_object(&w, NULL);
    json_put_text(&w, "a", "x\"\\\n\x01\x7f/");
    json_put_text(&w, "n", NULL);
    json_put_int(&w, "i", INT64_MIN);
    json_put_double(&w, "d", 0.125, 2);
    json_put_double(&w, "inf", INFINITY, 2);
    json_begin_array(&w, "l");
    json_put_bool(&w, NULL, true);
    json_begin_object(&w, NULL);
    json_end_object(&w);
    json_put_raw(&w, NULL, "[1]");
    json_end_array(&w);
    json_put_null(&w, "k");
    json_put_textn(&w, "p", "abc", 2);
    json_end_object(&w);
    assert_string_equal(
        buf_text(&out),
        "{\"a\":\"x\\\"\\\\\\n\\u0001\\u007f/\",\"n\":null,\"i\":-9223372036854775808,"
        "\"d\":0.12,\"inf\":null,\"l\":[true,{},[1]],\"k\":null,\"p\":\"ab\"}");
    buf_done(&out);
}

static void quotes(void **state)
{
    static const struct {
        const char *text;
        size_t length;
        const char *json;
    } rows[] = {
        { "", 0, "\"\"" },
        { "a\0b", 3, "\"a\\u0000b\"" },
        { "\xf0\x9f\x98\x80", 4, "\"\xf0\x9f\x98\x80\"" },
        { "\xf0\x9f\x98", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
        { "a\xff"
          "b",
          3,
          "\"a\xef\xbf\xbd"
          "b\"" },
        { "\b\f\r\t", 4, "\"\\b\\f\\r\\t\"" },
    };
    struct buf out = BUF_HEAP;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        buf_clear(&out);
        json_quote(&out, rows[i].text, rows[i].length);
        assert_string_equal(buf_text(&out), rows[i].json);
    }
    buf_done(&out);
}

/* Texts are looked at eight bytes at a time: an odd byte at each place of each length. */
static void quotes_at_any_place(void **state)
{
    static const char odd[] = "\"\\\n\x7f\x1f";
    struct buf out = BUF_HEAP;

    (void)state;
    for (size_t length = 1; length <= 40; length++) {
        for (size_t at = 0; at < length; at++) {
            for (const char *c = odd; *c; c++) {
                char text[41];

                memset(text, 'a' + (int)(at % 26), length);
                text[length] = '\0';
                text[at] = *c;
                buf_clear(&out);
                json_quote(&out, text, length);
                cJSON *read = cJSON_Parse(buf_text(&out));
                assert_non_null(read);
                assert_string_equal(read->valuestring, text);
                assert_true(out.length >= length + 3 && out.length <= length + 7);
                cJSON_Delete(read);
            }
        }
    }
    buf_done(&out);
}

static int setup(void **state)
{
    (void)state;
    task_runtime_init();
    json_init();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    task_runtime_done();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checks),
        cmocka_unit_test(parses),
        cmocka_unit_test(refuses_bombs),
        cmocka_unit_test(refuses_floods),
        cmocka_unit_test(reads),
        cmocka_unit_test(drops_nul),
        cmocka_unit_test(memory_of_tasks_and_others),
        cmocka_unit_test(writes),
        cmocka_unit_test(quotes),
        cmocka_unit_test(quotes_at_any_place),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
