/*
 * test_utf8.c - what is a character and what is not; cleaning.
 */
#include "common/buf.h"
#include "common/utf8.h"
#include "tests/unit/testing.h"
#include <string.h>

#define R UTF8_REPLACEMENT

static const struct {
    const char *text;
    size_t length; /* 0: up to its NUL */
    const char *clean;
} table[] = {
    { "", 0, "" },
    { "plain", 0, "plain" },
    { "\xc3\xbc\xe2\x82\xac\xf0\x9f\xa6\x89", 0, "\xc3\xbc\xe2\x82\xac\xf0\x9f\xa6\x89" },
    { "\xf4\x8f\xbf\xbf", 0, "\xf4\x8f\xbf\xbf" }, /* U+10FFFF */
    { "\xff", 0, R },
    { "a\x80z", 0, "a" R "z" },
    { "\xc0\xaf", 0, R R },                   /* an overlong slash */
    { "\xc1\xbf", 0, R R },                   /* overlong */
    { "\xe0\x9f\xbf", 0, R R R },             /* overlong */
    { "\xf0\x8f\xbf\xbf", 0, R R R R },       /* overlong */
    { "\xed\xa0\x80", 0, R R R },             /* a surrogate */
    { "\xf4\x90\x80\x80", 0, R R R R },       /* past U+10FFFF */
    { "\xf8\x88\x80\x80\x80", 0, R R R R R }, /* five bytes */
    { "ab\xc3", 0, "ab" R },                  /* cut off */
    { "ab\xe2\x82", 0, "ab" R R },            /* cut off */
    { "\xe2\x82z", 0, R R "z" },              /* broken off */
    { "\xc3\xbc\xff\xc3\xbc", 0, "\xc3\xbc" R "\xc3\xbc" },
    { "a\0b", 3, "ab" },
};

static void check_and_clean(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        const char *text = table[i].text;
        size_t length = table[i].length ? table[i].length : strlen(text);
        struct buf out = BUF_HEAP;

        utf8_add_clean(&out, text, length);
        assert_string_equal(buf_text(&out), table[i].clean);
        assert_true(utf8_is_valid(buf_text(&out), out.length));
        assert_int_equal(utf8_is_valid(text, length), !strstr(table[i].clean, R));
        buf_done(&out);
    }
}

static void every_character_is_one(void **state)
{
    (void)state;
    for (uint32_t c = 0; c <= 0x10ffff; c++) {
        struct buf out = BUF_HEAP;
        bool is_surrogate = c >= 0xd800 && c <= 0xdfff;

        utf8_add(&out, c);
        assert_int_equal(utf8_span((const unsigned char *)out.data, out.length),
                         is_surrogate ? 0 : out.length);
        buf_done(&out);
    }
}

static void characters_are_counted(void **state)
{
    const char *text = "a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80";
    static const size_t ends[] = { 0, 1, 3, 6, 10, 10 };
    (void)state;

    assert_int_equal(utf8_count(text), 4);
    assert_int_equal(utf8_count(""), 0);
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(utf8_offset(text, i), ends[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check_and_clean),
        cmocka_unit_test(every_character_is_one),
        cmocka_unit_test(characters_are_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
