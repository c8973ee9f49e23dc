/*
 * A function's name from the first bytes: of everything that real producers emit, and
 * nothing wrong from anything else.
 */
#include "common/arena.h"
#include "common/buf.h"
#include "common/ids.h"
#include "jobs/rq/base64.h"
#include "jobs/rq/payload.h"
#include "jobs/rq/waiting.h"
#include <cjson/cJSON.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static cJSON *load(const char *name)
{
    char path[512], block[65536];
    struct buf text = BUF_HEAP;
    size_t got;

    snprintf(path, sizeof(path), "%s/interop/fixtures/%s", TEST_DATA, name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while ((got = fread(block, 1, sizeof(block), file)) > 0)
        buf_add(&text, block, got);
    fclose(file);
    cJSON *json = cJSON_Parse(buf_text(&text));
    assert_non_null(json);
    buf_done(&text);
    return json;
}

static const char *text_of(const cJSON *row, const char *key)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(row, key));

    return text ? text : "";
}

/* As the claim does: what follows the first bytes stays in Redis. The copy is exactly
 * as long, so that a sanitizer sees a read behind it. */
static const char *peek(struct arena *arena, const void *data, size_t length)
{
    size_t prefix = length < WAITING_PREFIX ? length : WAITING_PREFIX;
    char *copy = malloc(prefix ? prefix : 1);

    assert_non_null(copy);
    memcpy(copy, data, prefix);
    const char *name = payload_peek_name(arena, copy, prefix);
    free(copy);
    return name;
}

static void check_captured(const char *file)
{
    cJSON *json = load(file);
    const cJSON *row;
    int seen = 0;

    cJSON_ArrayForEach(row, cJSON_GetObjectItem(json, "payloads"))
    {
        struct arena *arena = arena_new(0);
        struct buf data = BUF_IN(arena);
        const char *encoded = text_of(row, "data_b64");

        assert_true(base64_read(&data, encoded, strlen(encoded)));
        const char *name = peek(arena, data.data, data.length);
        /* A bound method's first item is the method's name: also a text. */
        if (!name || strcmp(name, text_of(row, "func_name")) != 0)
            fail_msg("%s: %s instead of %s", text_of(row, "name"),
                     name ? name : "nothing", text_of(row, "func_name"));
        seen++;
        arena_free(arena);
    }
    assert_true(seen > 50);
    cJSON_Delete(json);
}

static void captured(void **state)
{
    (void)state;
    check_captured("payloads-1.13.json");
    check_captured("payloads-2.3.3.json");
}

/* A payload that can be read, and whose name is seen, has that name. */
static void check_agrees(struct arena *arena, const char *label, const struct buf *data)
{
    const char *name = peek(arena, buf_text(data), data->length), *error;
    struct call call;

    if (payload_read(arena, buf_text(data), data->length, &call, &error) && name &&
        strcmp(name, call.name) != 0)
        fail_msg("%s: seen as %s, read as %s", label, name, call.name);
}

static void hostile(void **state)
{
    cJSON *json = load("hostile.json");
    const cJSON *row;
    int seen = 0;

    (void)state;
    cJSON_ArrayForEach(row, cJSON_GetObjectItem(json, "hostile"))
    {
        struct arena *arena = arena_new(0);
        struct buf data = BUF_IN(arena);
        const char *encoded = text_of(row, "data_b64");

        if (base64_read(&data, encoded, strlen(encoded)))
            check_agrees(arena, text_of(row, "name"), &data);
        seen += data.length > 0;
        arena_free(arena);
    }
    assert_true(seen > 100);
    cJSON_Delete(json);
}

/* The longest name, of noise that deflates badly, before a megabyte of the same. */
static void long_names(void **state)
{
    static const enum payload_format formats[] = { PAYLOAD_PICKLE, PAYLOAD_JSON };

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct arena *arena = arena_new(0);
        struct buf data = BUF_IN(arena);
        char *name = arena_alloc(arena, 513), *noise = arena_alloc(arena, 1000001);
        struct value *args = value_container(arena, VALUE_TUPLE);

        id_hex(name, 512);
        id_hex(noise, 1000000);
        value_add(arena, args, value_text(arena, noise, 1000000));
        payload_write(arena,
                      &(struct call){ .name = name, .args = args, .format = formats[i] },
                      &data);
        assert_true(data.length > 400000);
        assert_string_equal(peek(arena, data.data, data.length), name);
        arena_free(arena);
    }
}

static void every_length(void **state)
{
    struct arena *arena = arena_new(0);
    struct buf data = BUF_IN(arena);
    int seen = 0;

    (void)state;
    payload_write(arena, &(struct call){ .name = "some.function" }, &data);
    for (size_t length = 0; length <= data.length; length++) {
        const char *name = peek(arena, data.data, length);

        assert_true(!name || strcmp(name, "some.function") == 0);
        seen += name != NULL;
    }
    assert_true(seen > 0);
    arena_free(arena);
}

static void what_tells_nothing(void **state)
{
    static const struct {
        const char *data;
        size_t length;
        const char *name; /* NULL: it does not tell */
    } rows[] = {
        { "", 0, NULL },
        { "\x80\x02(X\x03\x00\x00\x00"
          "a.bN",
          12, "a.b" }, /* stored as it is, protocol 2 */
        { "\x80\x04(\x8c\x03"
          "a.b\x94N",
          10, "a.b" },
        { "\x80\x04(\x8c\x09"
          "a.b\x94N",
          10, NULL },                      /* longer than what there is */
        { "\x80\x04(\x8c\x00N", 6, NULL }, /* empty */
        { "\x80\x04(X\xff\xff\xff\xff"
          "a",
          9, NULL },
        { "\x80\x04N.", 4, NULL },
        { " [ \"a.b\", null, [], {}]", 23, "a.b" },
        { "[\"a\\u0062\", null, [], {}]", 25, NULL }, /* escapes: read the whole */
        { "[\"a.b", 5, NULL },
        { "[]", 2, NULL },
        { "x\x9c", 2, NULL },
    };
    struct arena *arena = arena_new(0);

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *name = peek(arena, rows[i].data, rows[i].length);

        if (rows[i].name)
            assert_string_equal(name, rows[i].name);
        else
            assert_null(name);
    }
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(captured),           cmocka_unit_test(hostile),
        cmocka_unit_test(long_names),         cmocka_unit_test(every_length),
        cmocka_unit_test(what_tells_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
