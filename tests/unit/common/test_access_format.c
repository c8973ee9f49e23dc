/*
 * test_access_format.c - which formats are understood, and what is said of the others.
 */
#include "common/access_format.h"
#include "tests/unit/testing.h"
#include <string.h>

static void what_is_fine_and_what_is_not(void **state)
{
    static const struct {
        const char *format, *error; /* NULL: fine; else a part of it */
    } rows[] = {
        { "", NULL },
        { "text", NULL },
        { "json", NULL },
        { "gunicorn", NULL },
        { "%(h)s %(l)s %(u)s %(t)s \"%(r)s\" %(s)s %(b)s \"%(f)s\" \"%(a)s\"", NULL },
        { "%(m)s %(U)s %(q)s %(H)s %(B)s %(T)s %(D)s %(M)s %(L)s %(p)s", NULL },
        { "%({X-Request-Id}i)s %({content-type}o)s", NULL },
        { "100%% %(D)d", NULL },
        { "%(status)s", "%(status)s; did you mean %(s)s?" },
        { "%(h)s %(methd)s", "%(methd)s; did you mean %(m)s?" },
        { "%(S)s", "did you mean %(s)s?" },
        { "%(d)s", "did you mean %(D)s?" },
        { "%(user_agnt)s", "did you mean %(a)s?" },
        { "%(xyzzy)s", "the atoms are h l u t" },
        { "%({Host})s", "headers are %({Name}i)s" },
        { "%({Host}x)s", "headers are %({Name}i)s" },
        { "%({}i)s", "headers are %({Name}i)s" },
        { "%({a b}i)s", "headers are %({Name}i)s" },
        { "%()s", "the atoms are" },
        { "%(x\ny\x1bz)s", "%(x?y?z)s" },
        { "%h %l", "% that begins no atom" },
        { "%(h)", "% that begins no atom" },
        { "%(h", "% that begins no atom" },
        { "%(h)x", "% that begins no atom" },
        { "50%", "% that begins no atom" },
        { "gunicron", "must be \"text\", \"json\", \"gunicorn\"" },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *error = access_format_check(rows[i].format);

        if (!rows[i].error != !error)
            fail_msg("%s: %s", rows[i].format, error ? error : "fine");
        if (error && !strstr(error, rows[i].error))
            fail_msg("%s: %s", rows[i].format, error);
    }
}

static void parts_are_in_order(void **state)
{
    struct access_format *format = access_format_new("a%(h)s%%b%({X-Y}i)s%({Z}o)sc");
    static const struct {
        enum access_atom atom;
        const char *text;
    } parts[] = {
        { ATOM_TEXT, "a" }, { ATOM_ADDRESS, NULL },    { ATOM_TEXT, "%" },
        { ATOM_TEXT, "b" }, { ATOM_HEADER_IN, "X-Y" }, { ATOM_HEADER_OUT, "Z" },
        { ATOM_TEXT, "c" },
    };
    (void)state;

    assert_int_equal(format->count, sizeof(parts) / sizeof(parts[0]));
    for (size_t i = 0; i < format->count; i++) {
        assert_int_equal(format->parts[i].atom, parts[i].atom);
        if (parts[i].text)
            assert_string_equal(format->parts[i].text, parts[i].text);
    }
    access_format_free(format);
    assert_null(access_format_new("json"));
    assert_null(access_format_new(""));
    access_format_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_fine_and_what_is_not),
        cmocka_unit_test(parts_are_in_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
