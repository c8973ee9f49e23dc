/*
 * test_conf_cron.c - jobs.cron: entries and what is wrong with them.
 */
#include "common/buf.h"
#include "common/conf.h"
#include "common/options.h"
#include "tests/unit/testing.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[] = "/tmp/fm-conf-cron-XXXXXX";

/* Read directly and by the child, which must agree. "FILE" stands for the path. */
static struct options *load(const char *text, const char *const *sets, struct buf *errors)
{
    struct conf_input input = { .file = path, .sets = sets };
    struct buf again = BUF_HEAP, one = BUF_HEAP, other = BUF_HEAP, raw = BUF_HEAP;
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    struct options *options = options_load(&input, &raw);
    struct options *by_child = options_load_in_child(&input, &again);
    assert_string_equal(buf_text(&raw), buf_text(&again));
    assert_true((options == NULL) == (by_child == NULL));
    if (options) {
        assert_true(options_same_group(options, by_child, "jobs.cron"));
        options_show_group(options, "jobs.cron", &one);
        options_show_group(by_child, "jobs.cron", &other);
        assert_string_equal(buf_text(&one), buf_text(&other));
        for (size_t i = 0; i < options->jobs.cron_count; i++)
            assert_string_equal(options->jobs.cron[i].where,
                                by_child->jobs.cron[i].where);
    }
    for (const char *at = buf_text(&raw); *at;) {
        bool is_path = strncmp(at, path, strlen(path)) == 0;

        buf_add(errors, is_path ? "FILE" : at, is_path ? 4 : 1);
        at += is_path ? strlen(path) : 1;
    }
    options_free(by_child);
    buf_done(&again);
    buf_done(&raw);
    buf_done(&one);
    buf_done(&other);
    return options;
}

static void entries_are_read(void **state)
{
    const char *sets[] = { "jobs.cron.b.enabled=false", "jobs.cron.c.schedule=@hourly",
                           "jobs.cron.c.function=f", NULL };
    struct buf errors = BUF_HEAP, out = BUF_HEAP;
    struct options *o = load(
        "jobs: { cron: {\n"
        " a: { schedule = \"30 3 * * mon-fri\"; zone = \"Europe/Berlin\"; function = "
        "\"m.f\";\n args = \"[1, \\\"x\\\"]\"; kwargs = \"{\\\"k\\\": null}\"; queue = "
        "\"low\"; at_front = true;\n timeout = 60; result_ttl = 0; failure_ttl = -1; "
        "retries = 2; retry_intervals = [ 10, 60 ];\n catch_up = \"1d\"; };\n"
        " b: { schedule = \"@daily\"; function = \"g\"; };\n}; };\n",
        sets, &errors);

    (void)state;
    assert_string_equal(buf_text(&errors), "");
    options_show_group(o, "jobs.cron", &out);
    assert_string_equal(
        buf_text(&out),
        "jobs.cron.a = { schedule = \"30 3 * * mon-fri\"; zone = \"Europe/Berlin\"; "
        "function = \"m.f\"; args = \"[1, \\\"x\\\"]\"; kwargs = \"{\\\"k\\\": null}\"; "
        "queue = \"low\"; at_front = true; timeout = 60; result_ttl = 0; failure_ttl = "
        "-1; retries = 2; retry_intervals = [ \"10\", \"60\" ]; catch_up = \"1d\"; "
        "enabled = true; }\n"
        "jobs.cron.b = { schedule = \"@daily\"; zone = \"UTC\"; function = \"g\"; args = "
        "\"[]\"; kwargs = \"{}\"; queue = \"default\"; at_front = false; timeout = 0; "
        "result_ttl = -2; failure_ttl = -2; retries = -1; retry_intervals = [ ]; "
        "catch_up "
        "= \"1h\"; enabled = false; }\n"
        "jobs.cron.c = { schedule = \"@hourly\"; zone = \"UTC\"; function = \"f\"; args "
        "= \"[]\"; kwargs = \"{}\"; queue = \"default\"; at_front = false; timeout = 0; "
        "result_ttl = -2; failure_ttl = -2; retries = -1; retry_intervals = [ ]; "
        "catch_up "
        "= \"1h\"; enabled = true; }\n");
    assert_int_equal(o->jobs.cron[0].catch_up, 86400000);
    options_free(o);
    buf_done(&errors);
    buf_done(&out);
}

static void wrong_entries_are_explained(void **state)
{
    static const struct {
        const char *entry, *errors;
    } table[] = {
        { "a: { };", "FILE:2: `jobs.cron.a` has no schedule, such as \"30 3 * * *\" or "
                     "\"@daily\"\nFILE:2: `jobs.cron.a` has no function: what is to "
                     "run?\n" },
        { "a: { schedule = \"@daily\"; };",
          "FILE:2: `jobs.cron.a` has no function: what is to run?\n" },
        { "a: { function = \"f\"; schedule = \"0 25 * * *\"; };",
          "FILE:2: `jobs.cron.a.schedule` is no schedule: the hour field `25`: 25 is not "
          "between 0 and 23; it is \"0 25 * * *\"\n" },
        { "a: { function = \"f\"; schedule = \"@daily\"; zone = \"Mars/Base\"; };",
          "FILE:2: `jobs.cron.a.zone` is not in the system's tz database (is the package "
          "tzdata installed?); it is \"Mars/Base\"\n" },
        { "a: { args = \"{}\"; };",
          "FILE:2: `jobs.cron.a.args` must be a JSON array, such "
          "as \"[1, true]\"; it is \"{}\"\n" },
        { "a: { args = \"[1] 2\"; };",
          "FILE:2: `jobs.cron.a.args` must be a JSON array, such as \"[1, true]\"; it is "
          "\"[1] 2\"\n" },
        { "a: { kwargs = \"[1]\"; };",
          "FILE:2: `jobs.cron.a.kwargs` must be a JSON object, such as \"{\\\"a\\\": "
          "1}\"; it is \"[1]\"\n" },
        { "a: { queue = \"a,b\"; };",
          "FILE:2: `jobs.cron.a.queue` is no queue's name: 1 to 128 characters without a "
          "comma; it is \"a,b\"\n" },
        { "a: { retry_intervals = [ \"10\", \"x\" ]; };",
          "FILE:2: `jobs.cron.a.retry_intervals` must be whole seconds; it is "
          "\"10, x\"\n" },
        { "a: { colour = 1; };",
          "FILE:2: `jobs.cron.a.colour` is unknown; an entry has `schedule`, `zone`, "
          "`function`, `args`, `kwargs`, `queue`, `at_front`, `timeout`, `result_ttl`, "
          "`failure_ttl`, `retries`, `retry_intervals`, `catch_up` and `enabled`\n" },
        { "a = 1;", "FILE:2: `jobs.cron.a` is a group of options: write a: { ... };\n" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct buf text = BUF_HEAP, errors = BUF_HEAP;

        buf_addf(&text, "jobs: { cron: {\n%s\n}; };\n", table[i].entry);
        assert_null(load(text.data, NULL, &errors));
        assert_string_equal(buf_text(&errors), table[i].errors);
        buf_done(&text);
        buf_done(&errors);
    }
}

static void a_change_is_noticed(void **state)
{
    const char *one[] = { "jobs.cron.a.schedule=@daily", "jobs.cron.a.function=f", NULL };
    const char *other[] = { "jobs.cron.a.schedule=@daily", "jobs.cron.a.function=g",
                            NULL };
    struct buf errors = BUF_HEAP;
    struct options *a = load("", one, &errors), *b = load("", other, &errors);
    struct options *c = load("", one, &errors);

    (void)state;
    assert_false(options_same_group(a, b, "jobs.cron"));
    assert_true(options_same_group(a, c, "jobs.cron"));
    options_free(a);
    options_free(b);
    options_free(c);
}

static int make_file(void **state)
{
    (void)state;
    close(mkstemp(path));
    return 0;
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_are_read),
        cmocka_unit_test(wrong_entries_are_explained),
        cmocka_unit_test(a_change_is_noticed),
    };

    return cmocka_run_group_tests(tests, make_file, remove_file);
}
