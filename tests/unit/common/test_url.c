/*
 * test_url.c - what may be saved, and when two addresses are the same page.
 */
#include "common/arena.h"
#include "common/url.h"
#include "tests/unit/testing.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int make_arena(void **state)
{
    *state = arena_new(0);
    return 0;
}

static int free_arena(void **state)
{
    arena_free(*state);
    return 0;
}

/* The parts of one URL in one text: scheme|host|port|path|query|fragment. */
static char *parts_of(struct arena *arena, const char *text)
{
    struct url u;

    if (!url_parse(text, strlen(text), &u))
        return arena_strdup(arena, "none");
    return arena_printf(arena, "%.*s|%.*s|%d|%.*s|%.*s|%.*s", (int)u.scheme_length,
                        u.scheme, (int)u.host_length, u.host, u.port, (int)u.path_length,
                        u.path, (int)u.query_length, u.query, (int)u.fragment_length,
                        u.fragment);
}

static void splits(void **state)
{
    static const struct {
        const char *text, *parts;
    } rows[] = {
        { "http://a.org", "http|a.org|-1|||" },
        { "HTTPS://A.org/B", "HTTPS|A.org|-1|/B||" },
        { "http://a.org:8080/b?c=d#e", "http|a.org|8080|/b|c=d|e" },
        { "http://a.org?c", "http|a.org|-1||c|" },
        { "http://a.org#e?f", "http|a.org|-1|||e?f" },
        { "http://a.org/?", "http|a.org|-1|/||" },
        { "http://u:p@a.org:1/", "http|a.org|1|/||" },
        { "http://u@b@a.org/", "http|a.org|-1|/||" },
        { "http://[::1]:80/x", "http|[::1]|80|/x||" },
        { "http://a.org:/x", "http|a.org|-1|/x||" },
        { "http://a.org/with space/\xc3\xa4", "http|a.org|-1|/with space/\xc3\xa4||" },
        { "http://b\xc3\xbc"
          "cher.example/",
          "http|b\xc3\xbc"
          "cher.example|-1|/||" },
        /* One address must not mean two hosts. */
        { "http://good.org\\@evil.org/", "http|good.org|-1|\\@evil.org/||" },
        { "git+ssh://a.org/b", "git+ssh|a.org|-1|/b||" },
        { "", "none" },
        { "a.org/b", "none" },
        { "http:/a.org", "none" },
        { "http://", "none" },
        { "http:///path", "none" },
        { "http://:80/", "none" },
        { "http://u@/", "none" },
        { "http://a.org:99999/", "none" },
        { "http://a.org:8x/", "none" },
        { "http://a b.org/", "none" },
        { "http://[::1/", "none" },
        { "http://[]/", "none" },
        { "http://[::1]x/", "none" },
        { "http://a]/", "none" },
        { "http://a.org\n/", "none" },
        { "1http://a.org/", "none" },
        { "javascript:alert(1)", "none" },
        { "mailto:a@b.org", "none" },
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_string_equal(parts_of(*state, rows[i].text), rows[i].parts);
}

static void may_be_saved(void **state)
{
    static const struct {
        const char *text;
        bool expected;
    } rows[] = {
        { "http://a.org", true },
        { "HtTpS://a.org/x?y#z", true },
        { "http://localhost:3000/", true },
        { "http://192.0.2.1/", true },
        { "http://a.org/a b", true },
        { "ftp://a.org/", false },
        { "httpx://a.org/", false },
        { "javascript:alert(1)", false },
        { "data:text/html,x", false },
        { "not a url", false },
        { "a.org", false },
        { "http://", false },
        { "", false },
    };
    char longest[URL_MAX + 2];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (url_is_saveable(rows[i].text) != rows[i].expected)
            fail_msg("%s", rows[i].text);
    memset(longest, 'a', sizeof(longest));
    memcpy(longest, "http://a.org/", 13);
    longest[URL_MAX] = '\0';
    assert_true(url_is_saveable(longest));
    longest[URL_MAX] = 'a';
    longest[URL_MAX + 1] = '\0';
    assert_false(url_is_saveable(longest));
}

static void cleans(void **state)
{
    assert_string_equal(url_clean(*state, " \t\r\nhttp://a.org/ b \n", 20),
                        "http://a.org/ b");
    assert_string_equal(url_clean(*state, "\0 ht\0tp://a\0 ", 13), "http://a");
    assert_string_equal(url_clean(*state, "\xc2\xa0\xef\xbb\xbfhttp://a\xe2\x80\x8b", 16),
                        "http://a");
    assert_string_equal(url_clean(*state, "  ", 2), "");
    assert_string_equal(url_clean(*state, "", 0), "");
}

/* Each also normalises to itself when normalised again. */
static void normalises(void **state)
{
    static const struct {
        const char *text, *normal;
    } rows[] = {
        { "http://a.org/", "http://a.org" },
        { "http://a.org", "http://a.org" },
        { "http://a.org/b///", "http://a.org/b" },
        { "HTTP://A.Org/B", "http://a.org/B" },
        { "http://User@A.org:80/", "http://User@a.org:80" },
        { "http://a.org/b#c", "http://a.org/b" },
        { "http://a.org/b/#c", "http://a.org/b" },
        { "http://a.org/?b=1", "http://a.org/?b=1" },
        { "http://a.org/b?utm_source=x", "http://a.org/b" },
        { "http://a.org/b/?utm_source=x", "http://a.org/b" },
        { "http://a.org/b?UTM_Medium=x&c=1&ref=y&d=2&gclid", "http://a.org/b?c=1&d=2" },
        { "http://a.org/b?a=1&utm_campaign=&fbclid=9#f", "http://a.org/b?a=1" },
        { "http://a.org/b?utm_term=1&utm_content=2&source=3&campaign=4",
          "http://a.org/b" },
        { "http://a.org/b?references=1&utm=2&refs",
          "http://a.org/b?references=1&utm=2&refs" },
        { "http://a.org/b?z=1&a=2", "http://a.org/b?z=1&a=2" },
        { "http://a.org/b?", "http://a.org/b" },
        { "http://a.org/b?&&x", "http://a.org/b?x" },
        { "http://a.org/b?x=/", "http://a.org/b?x=" },
        { "http://a.org/b?x&/#top", "http://a.org/b?x" },
        { "http://a.org/b?ref/#top", "http://a.org/b" },
        { "http://a.org/b?x&ref/&ref=y", "http://a.org/b?x" },
        { "http://[2001:DB8::1]/", "http://[2001:db8::1]" },
        { "Not A URL/", "Not A URL" },
        { "http://", "http:" },
        { "//", "" },
        { "", "" },
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char *normal = url_normalise(*state, rows[i].text);

        assert_string_equal(normal, rows[i].normal);
        assert_string_equal(url_normalise(*state, normal), normal);
    }
}

static void page_keys(void **state)
{
    static const struct {
        const char *text, *key;
    } rows[] = {
        { "https://V.org/watch?v=1", "https://v.org/watch" },
        { "https://v.org/watch?v=2#t", "https://v.org/watch" },
        { "https://v.org/watch/", "https://v.org/watch" },
        { "https://v.org/Watch", "https://v.org/Watch" },
        { "http://v.org:81/watch", "http://v.org:81/watch" },
        { "http://v.org?x", "http://v.org" },
        { "http://v.org/", "http://v.org" },
        { "half-typ", "half-typ" },
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_string_equal(url_page_key(*state, rows[i].text), rows[i].key);
}

static void decodes_once(void **state)
{
    static const struct {
        const char *text, *decoded;
    } rows[] = {
        { "http%3A%2F%2Fa.org%2Fx%3Fy%3d1", "http://a.org/x?y=1" },
        { "%2541", "%41" },
        { "a+b", "a+b" },
        { "%00%", "%00%" },
        { "%4", "%4" },
        { "%zz%4z%41", "%zz%4zA" },
        { "%c3%A4", "\xc3\xa4" },
        { "", "" },
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_string_equal(url_decode(*state, rows[i].text, strlen(rows[i].text)),
                            rows[i].decoded);
}

static void encodes(void **state)
{
    static const char text[] = "aZ09-._~ /?%&=+\xc3\xa4";
    char *encoded = url_encode(*state, text);

    assert_string_equal(encoded, "aZ09-._~%20%2F%3F%25%26%3D%2B%C3%A4");
    assert_string_equal(url_decode(*state, encoded, strlen(encoded)), text);
    assert_string_equal(url_encode(*state, ""), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(splits),    cmocka_unit_test(may_be_saved),
        cmocka_unit_test(cleans),    cmocka_unit_test(normalises),
        cmocka_unit_test(page_keys), cmocka_unit_test(decodes_once),
        cmocka_unit_test(encodes),
    };
    return cmocka_run_group_tests(tests, make_arena, free_arena);
}
