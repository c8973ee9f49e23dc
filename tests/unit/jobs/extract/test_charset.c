/* Which charset a page is in, and what its bytes become. */
#include "common/utf8.h"
#include "jobs/extract/charset.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct {
    const char *body;
    size_t length; /* 0: strlen */
    const char *content_type;
    const char *text;
} conversions[] = {
    { "caf\xC3\xA9", 0, "text/html", "café" },
    { "caf\xE9", 0, "text/html", "café" },
    { "caf\xE9", 0, "text/html; charset=ISO-8859-1", "café" },
    { "\x93quoted\x94 \x80", 0, "text/html; charset=latin1", "“quoted” €" },
    { "caf\xE9", 0, "text/html; charset=\"windows-1252\"", "café" },
    { "caf\xE9", 0, "text/html; charset=utf-8", "caf\xEF\xBF\xBD" },
    { "\xCF\xF0\xE8\xE2\xE5\xF2", 0, "text/html;charset=windows-1251", "Привет" },
    { "\xF0\xD2\xC9\xD7\xC5\xD4", 0, "text/html; charset=KOI8-R", "Привет" },
    { "\x93\xFA\x96\x7B", 0, "text/html; charset=Shift_JIS", "日本" },
    { "\xC4\xE3\xBA\xC3", 0, "text/html; charset=gb2312", "你好" },
    { "\xB0\xA1", 0, "text/html; charset=euc-kr", "가" },
    { "\xEF\xBB\xBFmark", 0, "text/html; charset=windows-1251", "mark" },
    { "\xFF\xFE"
      "a\0\xE9\0",
      6, "text/html", "aé" },
    { "\xFE\xFF\0a\0\xE9", 6, "text/html", "aé" },
    { "a\0b", 3, "text/html", "ab" },
    { "\xED\xA0\x80", 0, "text/html; charset=utf-8",
      "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD" },
    { "caf\xC3\xA9", 0, "text/html; charset=no-such-thing", "café" },
    { "caf\xE9", 0, "text/html; charset=no-such-thing", "café" },
    { "\x93\xFA\x96", 0, "text/html; charset=sjis", "日\xEF\xBF\xBD" },
    { "<meta charset=\"koi8-r\">\xD0", 0, "text/html", "<meta charset=\"koi8-r\">п" },
    { "<META http-equiv='Content-Type' content='text/html; charset=koi8-r'>\xD0", 0, "",
      "<META http-equiv='Content-Type' content='text/html; charset=koi8-r'>п" },
    { "<!-- <meta charset=koi8-r> -->\xE9", 0, "text/html",
      "<!-- <meta charset=koi8-r> -->é" },
    { "<meta charset=utf-16>\xC3\xA9", 0, "text/html", "<meta charset=utf-16>é" },
    { "<meta charset=koi8-r>\xE9", 0, "text/html; charset=latin1",
      "<meta charset=koi8-r>é" },
    { "", 0, "text/html", "" },
};

static void converts_to_utf8(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(conversions) / sizeof(conversions[0]); i++) {
        const char *body = conversions[i].body;
        size_t size = conversions[i].length ? conversions[i].length : strlen(body);
        size_t length = 99;
        char *copy = malloc(size + 1);
        memcpy(copy, body, size); /* exactly as long as it is, for the sanitizer */

        char *text =
            charset_to_utf8(copy, size, conversions[i].content_type, true, &length);
        if (strcmp(text, conversions[i].text) != 0)
            fail_msg("row %zu: `%s` instead of `%s`", i, text, conversions[i].text);
        assert_int_equal(length, strlen(text));
        assert_true(utf8_is_valid(text, length));
        free(text);
        free(copy);
    }
}

static void plain_text_has_no_meta(void **state)
{
    size_t length;
    const char *body = "<meta charset=koi8-r>\xE9";

    (void)state;
    char *text = charset_to_utf8(body, strlen(body), "text/plain", false, &length);
    assert_string_equal(text, "<meta charset=koi8-r>é");
    free(text);
}

static const struct {
    const char *header, *charset;
} headers[] = {
    { "", "" },
    { "text/html", "" },
    { "text/html; charset=UTF-8", "utf-8" },
    { "text/html;charset=\"utf-8\"", "utf-8" },
    { "text/html; charset = utf-8 ", "utf-8" },
    { "text/html; boundary=x; charset='koi8-r'", "koi8-r" },
    { "text/html; charset=", "" },
    { "text/charset=no", "" },
    { "text/html; charset=a-name-that-is-much-longer-than-any-charset-ever-registered",
      "a-name-that-is-much-longer-than-any-charset-eve" },
};

static void reads_headers(void **state)
{
    char name[CHARSET_NAME_SIZE];

    (void)state;
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        charset_of_header(headers[i].header, name);
        if (strcmp(name, headers[i].charset) != 0)
            fail_msg("`%s`: `%s`", headers[i].header, name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(converts_to_utf8),
        cmocka_unit_test(plain_text_has_no_meta),
        cmocka_unit_test(reads_headers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
