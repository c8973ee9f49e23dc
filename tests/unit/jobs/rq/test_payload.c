/*
 * The codec against captured RQ data: what real producers emit, what must be
 * refused, and what we emit, each row of the fixtures one case.
 */
#include "jobs/rq/bigint.h"
#include "tests/unit/jobs/rq/fixtures.h"
#include <time.h>
#include <zlib.h>

static void hex_of(struct buf *out, const char *data, size_t length)
{
    for (size_t i = 0; i < length; i++)
        buf_addf(out, "%02x", (unsigned char)data[i]);
}

/* ---- a value in the fixtures' tagged notation ---- */

static cJSON *tagged(const struct value *value);

static cJSON *tag(const char *name, cJSON *content)
{
    cJSON *object = cJSON_CreateObject();

    cJSON_AddItemToObject(object, name, content);
    return object;
}

static cJSON *tag_text(const char *name, struct buf *text)
{
    cJSON *object = tag(name, cJSON_CreateString(buf_text(text)));

    buf_done(text);
    return object;
}

static cJSON *tagged_int(const struct value *value)
{
    struct buf digits = BUF_HEAP;

    if (value->kind == VALUE_BIGINT)
        bigint_write(&digits, value->bytes.data, value->bytes.length);
    else if (llabs(value->integer) <= 1LL << 53)
        return cJSON_CreateNumber((double)value->integer);
    else
        buf_addf(&digits, "%lld", (long long)value->integer);
    return tag_text("$int", &digits);
}

/* Of floats only the bits are compared; Python's text is another test's. */
static cJSON *tagged_float(double real)
{
    struct buf bits = BUF_HEAP;
    uint64_t number;

    memcpy(&number, &real, sizeof(number));
    buf_addf(&bits, "%016llx", (unsigned long long)number);
    return tag_text("$bits", &bits);
}

static cJSON *tagged_items(const struct value *value)
{
    cJSON *array = cJSON_CreateArray();

    for (size_t i = 0; i < value->list.count; i++)
        cJSON_AddItemToArray(array, tagged(value->list.items[i]));
    return array;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sets are compared as their items' sorted JSON texts. */
static cJSON *sorted(const cJSON *array)
{
    char *texts[64];
    size_t count = 0;
    const cJSON *item;
    cJSON *result = cJSON_CreateArray();

    cJSON_ArrayForEach(item, array) texts[count++] = cJSON_PrintUnformatted(item);
    qsort(texts, count, sizeof(texts[0]), by_text);
    for (size_t i = 0; i < count; i++) {
        cJSON_AddItemToArray(result, cJSON_CreateString(texts[i]));
        cJSON_free(texts[i]);
    }
    return result;
}

static cJSON *tagged_dict(const struct value *value)
{
    cJSON *object = cJSON_CreateObject();
    cJSON *pairs = cJSON_CreateArray();
    bool is_plain = true;

    for (size_t i = 0; i < value->list.count; i += 2) {
        const struct value *key = value->list.items[i];

        is_plain = is_plain && key->kind == VALUE_TEXT && key->bytes.data[0] != '$';
    }
    for (size_t i = 0; i < value->list.count; i += 2) {
        const struct value *key = value->list.items[i];
        cJSON *item = tagged(value->list.items[i + 1]);

        if (is_plain) {
            cJSON_AddItemToObject(object, key->bytes.data, item);
        } else {
            cJSON *pair = cJSON_CreateArray();
            cJSON_AddItemToArray(pair, tagged(key));
            cJSON_AddItemToArray(pair, item);
            cJSON_AddItemToArray(pairs, pair);
        }
    }
    if (!is_plain) {
        cJSON_Delete(object);
        return tag("$dict", pairs);
    }
    cJSON_Delete(pairs);
    return object;
}

/* Texts as Python gives them: isoformat(), str(). NULL: not a kind of these. */
static cJSON *tagged_typed(const struct value *value)
{
    static const char *const names[] = {
        [VALUE_BYTES] = "$bytes",       [VALUE_BYTEARRAY] = "$bytearray",
        [VALUE_DATETIME] = "$datetime", [VALUE_DATE] = "$date",
        [VALUE_TIME] = "$time",         [VALUE_TIMEDELTA] = "$timedelta_us",
        [VALUE_UUID] = "$uuid",         [VALUE_DECIMAL] = "$decimal",
        [VALUE_COMPLEX] = "$complex",
    };
    struct buf text = BUF_HEAP;

    switch (value->kind) {
    case VALUE_BYTES:
    case VALUE_BYTEARRAY:
        hex_of(&text, value->bytes.data, value->bytes.length);
        break;
    case VALUE_DATE:
    case VALUE_TIME:
    case VALUE_DATETIME:
        value_write_iso(value, &text);
        break;
    case VALUE_TIMEDELTA:
        buf_addf(&text, "%lld",
                 ((long long)value->delta.days * 86400 + value->delta.seconds) * 1000000 +
                     value->delta.microseconds);
        break;
    case VALUE_UUID: /* UUID('...') */
        value_repr(value, &text, 100);
        buf_consume(&text, strlen("UUID('"));
        text.data[text.length -= 2] = '\0';
        break;
    case VALUE_DECIMAL:
        buf_adds(&text, value->bytes.data);
        break;
    case VALUE_COMPLEX:
        value_repr(value, &text, 100);
        break;
    default:
        return NULL;
    }
    return tag_text(names[value->kind], &text);
}

static cJSON *tagged(const struct value *value)
{
    cJSON *typed = tagged_typed(value);

    if (typed)
        return typed;
    switch (value->kind) {
    case VALUE_NONE:
        return cJSON_CreateNull();
    case VALUE_BOOL:
        return cJSON_CreateBool(value->boolean);
    case VALUE_INT:
    case VALUE_BIGINT:
        return tagged_int(value);
    case VALUE_FLOAT:
        return tagged_float(value->real);
    case VALUE_TEXT:
        /* cJSON cuts both sides at a NUL; keeps_a_nul_inside() looks behind it. */
        return cJSON_CreateString(value->bytes.data);
    case VALUE_LIST:
        return tagged_items(value);
    case VALUE_TUPLE:
        return tag("$tuple", tagged_items(value));
    case VALUE_DICT:
        return tagged_dict(value);
    default: {
        cJSON *items = tagged_items(value);
        cJSON *object =
            tag(value->kind == VALUE_SET ? "$set" : "$frozenset", sorted(items));
        cJSON_Delete(items);
        return object;
    }
    }
}

/* The same changes to what the fixture expects: floats by bits, sets sorted. */
static cJSON *comparable(const cJSON *expected)
{
    cJSON *copy = cJSON_IsArray(expected) ? cJSON_CreateArray() : cJSON_CreateObject();
    const cJSON *child;

    if (!cJSON_IsArray(expected) && !cJSON_IsObject(expected)) {
        cJSON_Delete(copy);
        return cJSON_Duplicate(expected, true);
    }
    cJSON_ArrayForEach(child, expected)
    {
        if (child->string && strcmp(child->string, "$float") == 0)
            continue;
        if (child->string && strstr(child->string, "set") == child->string + 1) {
            cJSON_AddItemToObject(copy, child->string, sorted(child));
        } else if (child->string && strcmp(child->string, "$frozenset") == 0) {
            cJSON_AddItemToObject(copy, child->string, sorted(child));
        } else if (cJSON_IsArray(expected)) {
            cJSON_AddItemToArray(copy, comparable(child));
        } else {
            cJSON_AddItemToObject(copy, child->string, comparable(child));
        }
    }
    return copy;
}

/* As texts: cJSON_Compare() looks both ways at each level of objects, so 50 levels
 * never end. Both sides keep the order of a dict's keys. */
static void check_equal(const char *name, cJSON *got, cJSON *expected)
{
    char *a = cJSON_PrintUnformatted(got);
    char *b = cJSON_PrintUnformatted(expected);

    if (strcmp(a, b) != 0)
        fail_msg("%s: got %.300s, expected %.300s", name, a, b);
    cJSON_free(a);
    cJSON_free(b);
    cJSON_Delete(got);
    cJSON_Delete(expected);
}

/* A value too large for the fixture stands there as its length and CRC. */
static void check_large(const char *name, const struct value *value, const cJSON *expect)
{
    struct buf text = BUF_HEAP;
    size_t length = value->bytes.length;

    if (value->kind == VALUE_LIST) {
        length = value->list.count;
        for (size_t i = 0; i < length; i++)
            buf_addf(&text, "%s%lld", i ? ", " : "[",
                     (long long)value->list.items[i]->integer);
        buf_addc(&text, ']');
    } else {
        buf_add(&text, value->bytes.data, length);
    }
    uLong crc = crc32(0, (const Bytef *)buf_text(&text), (uInt)text.length);
    buf_done(&text);
    if ((double)length != cJSON_GetNumberValue(cJSON_GetObjectItem(expect, "length")) ||
        (double)crc != cJSON_GetNumberValue(cJSON_GetObjectItem(expect, "crc32")))
        fail_msg("%s: another large value", name);
}

static void check_call(const char *name, const struct call *call, const cJSON *row)
{
    const cJSON *expect = cJSON_GetObjectItem(row, "expect");
    const cJSON *args = cJSON_GetObjectItem(expect, "args");
    const cJSON *first = cJSON_GetArrayItem(args, 0);

    if (cJSON_HasObjectItem(row, "func_name"))
        assert_string_equal(call->name, text_of(row, "func_name"));
    if (cJSON_GetObjectItem(first, "$large")) {
        check_large(name, call->args->list.items[0], first);
        return;
    }
    check_equal(name, tagged_items(call->args), comparable(args));
    check_equal(name, tagged(call->kwargs),
                comparable(cJSON_GetObjectItem(expect, "kwargs")));
}

/* What was read is written, and read again: nothing may change. */
static void check_round_trip(const char *name, struct arena *arena,
                             const struct call *call)
{
    struct buf data = BUF_IN(arena);
    struct buf first = BUF_IN(arena);
    struct buf second = BUF_IN(arena);
    struct call again;
    const char *error;

    payload_write(arena, call, &data);
    if (!payload_read(arena, data.data, data.length, &again, &error))
        fail_msg("%s: our own payload is refused: %s", name, error);
    assert_int_equal(again.format, call->format);
    pickle_write(call->args, &first);
    pickle_write(again.args, &second);
    assert_int_equal(first.length, second.length);
    assert_memory_equal(first.data, second.data, first.length);
}

/* Legal pickles of what no text, tree or data is. */
static bool may_be_refused(const char *name)
{
    static const char *const names[] = { "str_lone_surrogate", "nested_300_lists",
                                         "cyclic_list", "exception_instance" };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strncmp(name, names[i], strlen(names[i])) == 0)
            return true;
    }
    return false;
}

static void check_payloads(const char *file)
{
    cJSON *json = load(file);
    const cJSON *row;
    int accepted = 0;

    cJSON_ArrayForEach(row, cJSON_GetObjectItem(json, "payloads"))
    {
        struct arena *arena = arena_new(0);
        struct buf data = BUF_IN(arena);
        const char *name = text_of(row, "name");
        const char *error = NULL;
        struct call call;

        read_row(row, arena, &data);
        if (payload_read(arena, data.data, data.length, &call, &error)) {
            if (strcmp(name, "exception_instance") == 0)
                fail_msg("%s should be refused", name);
            check_call(name, &call, row);
            check_round_trip(name, arena, &call);
            accepted++;
        } else if (!may_be_refused(name)) {
            fail_msg("%s: %s", name, error);
        } else {
            assert_int_equal(strncmp(error, "DeserializationError: ", 22), 0);
        }
        arena_free(arena);
    }
    assert_true(accepted > 60);
    cJSON_Delete(json);
}

static void reads_what_rq_1_13_wrote(void **state)
{
    (void)state;
    check_payloads("payloads-1.13.json");
}

static void reads_what_rq_2_3_wrote(void **state)
{
    (void)state;
    check_payloads("payloads-2.3.3.json");
}

static void reads_protocols_0_to_4(void **state)
{
    (void)state;
    check_payloads("payloads-protocols.json");
}

/* A key that expands to half a million values, used again and again. */
static void hashes_a_large_key_in_no_time(void **state)
{
    struct arena *arena = arena_new(0);
    struct buf data = BUF_IN(arena);
    const char *error = NULL;

    (void)state;
    buf_adds(&data, "\x80\x04)\x94");
    for (int level = 0; level < 18; level++) /* a tuple of itself twice, 18 times */
        buf_addf(&data, "h%ch%c\x86\x94", level, level);
    for (int i = 0; i < 500000; i++)
        buf_addf(&data, "}h%cNs", 18);
    buf_addc(&data, '.');
    clock_t start = clock();
    assert_null(pickle_read(arena, data.data, data.length, &error));
    assert_true(clock() - start < CLOCKS_PER_SEC);
    arena_free(arena);
}

static void writes_the_vectors(void **state)
{
    cJSON *json = load("encoder-vectors.json");
    const cJSON *row;
    int checked = 0;

    (void)state;
    cJSON_ArrayForEach(row, cJSON_GetObjectItem(json, "vectors"))
    {
        struct arena *arena = arena_new(0);
        struct buf pickle = BUF_IN(arena);
        struct buf written = BUF_IN(arena);
        struct buf field = BUF_IN(arena);
        const char *error = NULL;
        char *name = cJSON_PrintUnformatted(cJSON_GetObjectItem(row, "value"));

        unhex(&pickle, text_of(row, "pickle_hex"));
        struct value *value = pickle_read(arena, pickle.data, pickle.length, &error);
        if (!value)
            fail_msg("%s: %s", name, error);
        check_equal(name, tagged(value), comparable(cJSON_GetObjectItem(row, "value")));
        pickle_write(value, &written);
        assert_int_equal(written.length, pickle.length);
        assert_memory_equal(written.data, pickle.data, pickle.length);
        base64_write(&field, written.data, written.length);
        assert_string_equal(buf_text(&field), text_of(row, "return_value_field"));
        cJSON_free(name);
        arena_free(arena);
        checked++;
    }
    assert_int_equal(checked, 52);
    cJSON_Delete(json);
}

/* JSON in, and how the same value looks as Python's repr and as JSON again. */
static const struct {
    const char *json, *repr, *again;
} texts[] = {
    { "null", "None", "null" },
    { "[true, false]", "[True, False]", "[true,false]" },
    { "-7", "-7", "-7" },
    { "9223372036854775807", "9223372036854775807", "9223372036854775807" },
    { "9223372036854775808", "9223372036854775808", "9223372036854775808" },
    { "-170141183460469231731687303715884105728",
      "-170141183460469231731687303715884105728",
      "-170141183460469231731687303715884105728" },
    { "1.0", "1.0", "1.0" },
    { "0.1", "0.1", "0.1" },
    { "1e16", "1e+16", "1e+16" },
    { "123456789012345680.0", "1.2345678901234568e+17", "1.2345678901234568e+17" },
    { "1e15", "1000000000000000.0", "1000000000000000.0" },
    { "0.0001", "0.0001", "0.0001" },
    { "0.00001", "1e-05", "1e-05" },
    { "1234.5", "1234.5", "1234.5" },
    { "-0.0", "-0.0", "-0.0" },
    { "NaN", "nan", "NaN" },
    { "-Infinity", "-inf", "-Infinity" },
    { "\"it's\"", "\"it's\"", "\"it's\"" },
    { "\"it's \\\"so\\\"\"", "'it\\'s \"so\"'", "\"it's \\\"so\\\"\"" },
    { "\"a\\nb\\u0001\"", "'a\\nb\\x01'", "\"a\\nb\\u0001\"" },
    { "\"\\ud83c\\udf89\"", "'\xf0\x9f\x8e\x89'", "\"\xf0\x9f\x8e\x89\"" },
    { "[]", "[]", "[]" },
    { "{}", "{}", "{}" },
    { " { \"a\" : [ 1 , [ ] , { } ] , \"b\" : null } ", "{'a': [1, [], {}], 'b': None}",
      "{\"a\":[1,[],{}],\"b\":null}" },
};

static void shows_values_as_python_does(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct arena *arena = arena_new(0);
        struct buf repr = BUF_IN(arena);
        struct buf json = BUF_IN(arena);
        const char *error = NULL;
        struct value *value =
            value_from_json(arena, texts[i].json, strlen(texts[i].json), &error);

        if (!value)
            fail_msg("%s: %s", texts[i].json, error);
        value_repr(value, &repr, 200);
        assert_string_equal(buf_text(&repr), texts[i].repr);
        value_to_json(value, &json);
        assert_string_equal(buf_text(&json), texts[i].again);
        arena_free(arena);
    }
}

static void refuses_what_is_no_json(void **state)
{
    static const char *const bad[] = {
        "",           "[",       "[1",          "[1,]", "[,1]",  "{",   "{1:2}",
        "{\"a\"}",    "[}",      "{]",          "01",   "1.",    "+1",  "1e",
        "\"",         "\"\\x\"", "\"\\ud800\"", "tru",  "[1 2]", "1 2", "{\"a\":}",
        "{\"a\":1,}", "nul",     "\"\x01\"",    "."
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct arena *arena = arena_new(0);
        const char *error = NULL;

        if (value_from_json(arena, bad[i], strlen(bad[i]), &error))
            fail_msg("accepted: %s", bad[i]);
        assert_non_null(error);
        arena_free(arena);
    }
}

static void keeps_a_nul_inside(void **state)
{
    static const char pickle[] = "\x80\x04\x8c\x03"
                                 "a\0b.";
    struct arena *arena = arena_new(0);
    const char *error = NULL;
    struct value *value = pickle_read(arena, pickle, sizeof(pickle) - 1, &error);

    (void)state;
    assert_non_null(value);
    assert_int_equal(value->bytes.length, 3);
    assert_memory_equal(value->bytes.data, "a\0b", 3);
    arena_free(arena);
}

static void cuts_a_repr_by_characters(void **state)
{
    struct arena *arena = arena_new(0);
    struct buf out = BUF_IN(arena);
    char text[64];

    (void)state;
    memset(text, 0, sizeof(text));
    for (int i = 0; i < 20; i++) /* 20 times e with acute accent: two bytes each */
        memcpy(text + 2 * i, "\xc3\xa9", 2);
    value_repr(value_text(arena, text, 40), &out, 4);
    assert_string_equal(buf_text(&out), "'\xc3\xa9\xc3\xa9\xc3\xa9...");
    buf_clear(&out);
    value_repr(value_text(arena, text, 4), &out, 4);
    assert_string_equal(buf_text(&out), "'\xc3\xa9\xc3\xa9'");
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_rq_1_13_wrote),
        cmocka_unit_test(reads_what_rq_2_3_wrote),
        cmocka_unit_test(reads_protocols_0_to_4),
        cmocka_unit_test(hashes_a_large_key_in_no_time),
        cmocka_unit_test(writes_the_vectors),
        cmocka_unit_test(shows_values_as_python_does),
        cmocka_unit_test(refuses_what_is_no_json),
        cmocka_unit_test(keeps_a_nul_inside),
        cmocka_unit_test(cuts_a_repr_by_characters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
