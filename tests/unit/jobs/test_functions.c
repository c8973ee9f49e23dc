/*
 * test_functions.c - what a job may be called with: the truth table of argument specs.
 */
#include "common/arena.h"
#include "common/options.h"
#include "jobs/functions.h"
#include "tests/unit/testing.h"
#include <string.h>

static enum job_outcome nothing(struct job_run *job)
{
    (void)job;
    return JOB_SUCCESS;
}

static const struct job_function spec_of_all = {
    .name = "f",
    .args = "int number, text? words, number? weight, any? rest",
    .run = nothing,
};

/* Arguments as JSON; NULL error: they fit. */
static const struct {
    const char *args, *kwargs, *error;
} rows[] = {
    { "[1]", "{}", NULL },
    { "[1, \"a\", 2.5, [3]]", "{}", NULL },
    { "[]", "{\"number\": 1}", NULL },
    { "[1]", "{\"weight\": 2, \"rest\": {}}", NULL },
    { "[1, null, null, null]", "{}", NULL },
    { "[]", "{}", "TypeError: f() misses the argument 'number' (int)" },
    { "[null]", "{}", "TypeError: f() wants the argument 'number' as int, not None" },
    { "[\"1\"]", "{}", "TypeError: f() wants the argument 'number' as int, not str" },
    { "[1.0]", "{}", "TypeError: f() wants the argument 'number' as int, not float" },
    { "[true]", "{}", "TypeError: f() wants the argument 'number' as int, not bool" },
    { "[99999999999999999999]", "{}",
      "TypeError: f() wants the argument 'number' as int, not int beyond 64 bits" },
    { "[1, 2]", "{}", "TypeError: f() wants the argument 'words' as text, not int" },
    { "[1, \"a\\u0000b\"]", "{}",
      "TypeError: f() wants the argument 'words' as text, not text with a NUL" },
    { "[1, \"a\", \"b\"]", "{}",
      "TypeError: f() wants the argument 'weight' as number, not str" },
    { "[1]", "{\"number\": 2}", "TypeError: f() got the argument 'number' (int) twice" },
    { "[1]", "{\"color\": 2}",
      "TypeError: f() got an unexpected keyword argument 'color'" },
    { "[1, \"a\", 2, 3, 4]", "{}",
      "TypeError: f() got more positional arguments than it takes" },
};

static const struct value *parse(struct arena *arena, const char *json)
{
    const char *error = NULL;
    const struct value *value = value_from_json(arena, json, strlen(json), &error);

    assert_non_null(value);
    return value;
}

static void arguments_are_checked_before_the_call(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct arena *arena = arena_new(0);
        struct job_run job = {
            .arena = arena,
            .function = &spec_of_all,
            .call = { .name = "f",
                      .args = parse(arena, rows[i].args),
                      .kwargs = parse(arena, rows[i].kwargs) },
        };
        bool fits = job_args_check(&job, &spec_of_all);

        if (fits != (rows[i].error == NULL))
            fail_msg("%s %s: %s", rows[i].args, rows[i].kwargs,
                     job.error ? job.error : "accepted");
        if (!fits)
            assert_string_equal(job.error, rows[i].error);
        arena_free(arena);
    }
}

static void arguments_are_found_by_place_and_name(void **state)
{
    struct arena *arena = arena_new(0);
    struct job_run job = {
        .arena = arena,
        .function = &spec_of_all,
        .call = { .name = "f",
                  .args = parse(arena, "[7]"),
                  .kwargs = parse(arena, "{\"words\": \"hello\"}") },
    };

    (void)state;
    assert_int_equal(job_arg_int(&job, "number"), 7);
    assert_string_equal(job_arg_text(&job, "words"), "hello");
    assert_null(job_arg(&job, "rest"));
    assert_null(job_arg_text(&job, "no such"));
    arena_free(arena);
}

static void functions_are_found_by_name(void **state)
{
    struct options options = { 0 };

    (void)state;
    assert_non_null(job_function_find(&options, JOB_PROCESS_BOOKMARK));
    assert_null(job_function_find(&options, "os.system"));
    assert_null(job_function_find(&options, ""));
    assert_null(job_function_find(&options, "forkmark.test.echo"));
    options.jobs.test_functions = true;
    assert_non_null(job_function_find(&options, "forkmark.test.echo"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arguments_are_checked_before_the_call),
        cmocka_unit_test(arguments_are_found_by_place_and_name),
        cmocka_unit_test(functions_are_found_by_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
