/*
 * test_forms.c - names, emails, passwords, and texts cut and folded.
 */
#include "tests/unit/testing.h"

#include "common/arena.h"
#include "worker/handlers/forms.h"

#include <string.h>

static struct arena *arena;

static int setup(void **state)
{
    (void)state;
    arena = arena_new(0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

#define TEN   "abcdefghij"
#define FIFTY TEN TEN TEN TEN TEN

static const struct {
    const char *text;
    bool expected;
} usernames[] = {
    { "ann", true },      { "Ann_B-9", true }, { "___", true },    { FIFTY, true },
    { FIFTY "k", false }, { "an", false },     { "", false },      { "ann b", false },
    { "ann.b", false },   { "änn", false },    { "ann\n", false },
};

static void test_usernames(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(usernames) / sizeof(usernames[0]); i++) {
        if (form_is_username(usernames[i].text) != usernames[i].expected)
            fail_msg("%s", usernames[i].text);
    }
}

static const struct {
    const char *text;
    bool expected;
} emails[] = {
    { "ann@example.com", true },
    { "a.b%c+d-e_f@x-y.z.co", true },
    { "ANN@EXAMPLE.COM", true },
    { "a@.com", false }, /* the class before the last dot needs one character */
    { "a@b..com", true },
    { "ann@example", false },
    { "ann@example.c", false },
    { "ann@example.c0m", false },
    { "ann@example.com.", false },
    { "@example.com", false },
    { "ann@", false },
    { "ann", false },
    { "", false },
    { "ann@b@example.com", false },
    { "ann b@example.com", false },
    { "ann@exam ple.com", false },
    { FIFTY FIFTY "@" TEN "12345.com", true }, /* 120 characters */
    { FIFTY FIFTY "@" TEN "123456.com", false },
};

static void test_emails(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(emails) / sizeof(emails[0]); i++) {
        if (form_is_email(emails[i].text) != emails[i].expected)
            fail_msg("%s", emails[i].text);
    }
}

static const struct {
    const char *text, *expected;
} passwords[] = {
    { "Passw0rd", NULL },
    { "aaaaaaa1", NULL },
    { "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"
      "a1",
      NULL }, /* 8 characters */
    { "Passw0r", "Password must be at least 8 characters long" },
    { "\xc3\xa4\xc3\xa4\xc3\xa4"
      "a1",
      "Password must be at least 8 characters long" }, /* 8 bytes, 5 characters */
    { "12345678", "Password must contain at least one letter" },
    { "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"
      "12",
      "Password must contain at least one letter" },
    { "password", "Password must contain at least one number" },
};

static void test_passwords(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(passwords) / sizeof(passwords[0]); i++) {
        const char *problem = form_password_problem(arena, passwords[i].text, 8);

        if (!passwords[i].expected)
            assert_null(problem);
        else
            assert_string_equal(problem, passwords[i].expected);
    }
}

static void test_fields(void **state)
{
    cJSON *form = cJSON_Parse("{\"text\":\"x\",\"empty\":\"\",\"null\":null,\"number\":0,"
                              "\"list\":[],\"bool\":false}");
    const char *text = "before";

    (void)state;
    assert_int_equal(form_field(form, "missing", &text), FORM_ABSENT);
    assert_int_equal(form_field(form, "empty", &text), FORM_ABSENT);
    assert_int_equal(form_field(form, "null", &text), FORM_ABSENT);
    assert_int_equal(form_field(form, "number", &text), FORM_OTHER);
    assert_int_equal(form_field(form, "list", &text), FORM_OTHER);
    assert_int_equal(form_field(form, "bool", &text), FORM_OTHER);
    assert_string_equal(text, "before");
    assert_int_equal(form_field(form, "text", &text), FORM_TEXT);
    assert_string_equal(text, "x");
    cJSON_Delete(form);
}

static void test_texts(void **state)
{
    (void)state;
    assert_string_equal(form_cut(arena, "abc", 3), "abc");
    assert_string_equal(form_cut(arena, "abcd", 3), "abc");
    assert_string_equal(form_cut(arena, "\xc3\xa4\xc3\xb6\xc3\xbc", 2),
                        "\xc3\xa4\xc3\xb6");
    assert_string_equal(form_cut(arena, "abc", 0), "");
    assert_string_equal(form_trim(arena, " \t\r\n a b \n"), "a b");
    assert_string_equal(form_trim(arena, " \n "), "");
    assert_string_equal(form_trim(arena, ""), "");
    assert_string_equal(form_lower(arena, "ANN-Z\xc3\x84"), "ann-z\xc3\x84");
    assert_string_equal(form_like(arena, "50%_\\x"), "%50\\%\\_\\\\x%");
    assert_string_equal(form_like(arena, ""), "%%");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_usernames),
        cmocka_unit_test(test_emails),
        cmocka_unit_test_setup_teardown(test_passwords, setup, teardown),
        cmocka_unit_test(test_fields),
        cmocka_unit_test_setup_teardown(test_texts, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
