/*
 * Paths into a call, and what is said when nothing of the kind stands there.
 */
#include "common/arena.h"
#include "jobs/rq/value_access.h"
#include "tests/unit/testing.h"
#include <string.h>

static const char args_json[] =
    "[7, \"text\", 2.5, true, {\"a\": [1, {\"b c\": -3}]}, \"a\\u0000b\", "
    "9223372036854775808, null]";
static const char kwargs_json[] = "{\"user\": {\"id\": 12, \"tags\": [\"x\", \"y\"]}}";

struct fixture {
    struct arena *arena;
    struct call call;
};

static struct fixture start(void)
{
    struct fixture f = { .arena = arena_new(0) };
    const char *error;

    f.call = (struct call){
        .name = "f",
        .args = value_from_json(f.arena, args_json, strlen(args_json), &error),
        .kwargs = value_from_json(f.arena, kwargs_json, strlen(kwargs_json), &error),
    };
    assert_non_null(f.call.args);
    assert_non_null(f.call.kwargs);
    return f;
}

static void finds_integers(void **state)
{
    static const struct {
        const char *path;
        int64_t number;    /* when there is no error */
        const char *error; /* NULL: found */
    } rows[] = {
        { "args[0]", 7, NULL },
        { "args[4].a[0]", 1, NULL },
        { "args[4][\"a\"][1][\"b c\"]", -3, NULL },
        { "kwargs.user.id", 12, NULL },
        { "args[1]", 0, "TypeError: args[1] is str, not int" },
        { "args[2]", 0, "TypeError: args[2] is float, not int" },
        { "args[3]", 0, "TypeError: args[3] is bool, not int" },
        { "args[7]", 0, "TypeError: args[7] is None, not int" },
        { "args[6]", 0, "OverflowError: args[6] has more than 64 bits" },
        { "args[8]", 0, "IndexError: args[8] is missing: 8 given" },
        { "args[0][1]", 0, "TypeError: args[0] is int, not list or tuple" },
        { "args.x", 0, "TypeError: args is list, not dict" },
        { "kwargs.name", 0, "KeyError: kwargs.name is missing" },
        { "kwargs.user.tags[0]", 0, "TypeError: kwargs.user.tags[0] is str, not int" },
        { "kwargs.user[0]", 0, "TypeError: kwargs.user is dict, not list or tuple" },
        { "kwargs", 0, "TypeError: kwargs is dict, not int" },
    };
    struct fixture f = start();

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int64_t number = -1;
        const char *error = NULL;
        bool is_found = call_int(f.arena, &f.call, rows[i].path, &number, &error);

        assert_int_equal(is_found, rows[i].error == NULL);
        if (is_found)
            assert_int_equal(number, rows[i].number);
        else
            assert_string_equal(error, rows[i].error);
        if (!is_found)
            assert_int_equal(number, -1);
    }
    arena_free(f.arena);
}

static void finds_other_types(void **state)
{
    struct fixture f = start();
    const char *text = NULL;
    const char *error = NULL;
    double number = 0;
    bool boolean = false;

    (void)state;
    assert_true(call_text(f.arena, &f.call, "args[1]", &text, &error));
    assert_string_equal(text, "text");
    assert_true(call_number(f.arena, &f.call, "args[2]", &number, &error));
    assert_true(number == 2.5);
    assert_true(call_number(f.arena, &f.call, "args[0]", &number, &error));
    assert_true(number == 7);
    assert_true(call_bool(f.arena, &f.call, "args[3]", &boolean, &error));
    assert_true(boolean);
    assert_false(call_text(f.arena, &f.call, "args[5]", &text, &error));
    assert_string_equal(error, "ValueError: args[5] holds a NUL");
    assert_false(call_text(f.arena, &f.call, "args[0]", &text, &error));
    assert_string_equal(error, "TypeError: args[0] is int, not str");
    assert_false(call_bool(f.arena, &f.call, "args[0]", &boolean, &error));
    assert_string_equal(error, "TypeError: args[0] is int, not bool");
    assert_false(call_number(f.arena, &f.call, "args[3]", &number, &error));
    assert_string_equal(error, "TypeError: args[3] is bool, not int or float");
    arena_free(f.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_integers),
        cmocka_unit_test(finds_other_types),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
