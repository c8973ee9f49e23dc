/*
 * test_split.c - scripts are cut at the right semicolons, and lines are counted.
 */
#include "sql/split.h"
#include "tests/unit/testing.h"
#include <string.h>

static const struct {
    const char *script, *statements[4];
    int lines[4];
} scripts[] = {
    { "", { NULL }, { 0 } },
    { " ;;\n-- only; a comment\n/* and; /* a nested; */ one */\n", { NULL }, { 0 } },
    { "SELECT 1", { "SELECT 1" }, { 1 } },
    { "-- head\n\nSELECT 1;\nSELECT 2;\n", { "SELECT 1", "SELECT 2" }, { 3, 4 } },
    { "SELECT 'a;''b';SELECT \"x;y\"", { "SELECT 'a;''b'", "SELECT \"x;y\"" }, { 1, 1 } },
    { "SELECT E'it\\'s;', ';'; SELECT 2",
      { "SELECT E'it\\'s;', ';'", "SELECT 2" },
      { 1, 1 } },
    { "SELECT name'a\\';SELECT 2", { "SELECT name'a\\'", "SELECT 2" }, { 1, 1 } },
    { "DO $$\nBEGIN; END\n$$;\nSELECT 2",
      { "DO $$\nBEGIN; END\n$$", "SELECT 2" },
      { 1, 4 } },
    { "DO $a$ $$;$$ $b$;$b$ $a$; SELECT $1",
      { "DO $a$ $$;$$ $b$;$b$ $a$", "SELECT $1" },
      { 1, 1 } },
    { "SELECT a$b$c; SELECT 2", { "SELECT a$b$c", "SELECT 2" }, { 1, 1 } },
    { "SELECT 1 -- not; here\n + 2; X",
      { "SELECT 1 -- not; here\n + 2", "X" },
      { 1, 2 } },
    { "SELECT 'open;", { "SELECT 'open;" }, { 1 } },
};

static void test_statements(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
        struct split split = { scripts[i].script, 1 };
        struct statement statement;

        for (int n = 0; scripts[i].statements[n]; n++) {
            assert_int_equal(split_next(&split, &statement), 1);
            assert_int_equal(statement.length, strlen(scripts[i].statements[n]));
            assert_memory_equal(statement.text, scripts[i].statements[n],
                                statement.length);
            assert_int_equal(statement.line, scripts[i].lines[n]);
        }
        assert_int_equal(split_next(&split, &statement), 0);
    }
}

static void test_positions(void **state)
{
    const char *text = "a\xc3\xa9\nb\ncd";

    (void)state;
    assert_int_equal(split_line_of(text, strlen(text), 1), 1);
    assert_int_equal(split_line_of(text, strlen(text), 3), 1); /* the line's end */
    assert_int_equal(split_line_of(text, strlen(text), 4), 2);
    assert_int_equal(split_line_of(text, strlen(text), 6), 3);
    assert_int_equal(split_line_of(text, strlen(text), 100), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_statements),
        cmocka_unit_test(test_positions),
    };

    return cmocka_run_group_tests_name("split", tests, NULL, NULL);
}
