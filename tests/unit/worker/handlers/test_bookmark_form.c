/*
 * test_bookmark_form.c - what is taken from a save's body, and what is refused.
 */
#include "tests/unit/testing.h"

#include "common/arena.h"
#include "common/buf.h"
#include "worker/handlers/bookmark_form.h"

#include <stdlib.h>
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

static void free_tree(void *tree)
{
    cJSON_Delete(tree);
}

static const cJSON *parse(const char *text)
{
    cJSON *tree = cJSON_Parse(text);

    assert_non_null(tree);
    arena_defer(arena, free_tree, tree);
    return tree;
}

static const char *repeat(char c, size_t count)
{
    char *text = arena_alloc(arena, count + 1);

    memset(text, c, count);
    return text;
}

#define U "\"url\":\"http://example.org/a\""

/* NULL stands for absent. */
static const struct {
    const char *body;
    const char *title, *notes, *category, *tags;
    bool has_tags;
} good[] = {
    { "{" U "}", NULL, NULL, "other", NULL, false },
    { "{" U ",\"title\":null,\"description\":null,\"category\":null,\"tags\":null}", NULL,
      NULL, "other", NULL, false },
    { "{" U ",\"title\":\"\",\"description\":\" \",\"category\":\"\",\"tags\":\"\"}",
      NULL, NULL, "other", NULL, true },
    { "{" U ",\"title\":\" T \",\"description\":\"n\",\"category\":\"work\","
      "\"tags\":\"c, redis,,\"}",
      "T", "n", "work", "c,redis", true },
    { "{" U ",\"tags\":[\"a\",7,null,[\"x\"],\" b \",\"c,d\"]}", NULL, NULL, "other",
      "a,b,c,d", true },
    { "{" U ",\"tags\":[]}", NULL, NULL, "other", NULL, true },
    { "{" U ",\"tags\":7,\"project_id\":3,\"unknown\":{}}", NULL, NULL, "other", NULL,
      true },
    { "{" U ",\"title\":\"DROP TABLE users; <script>\"}", "DROP TABLE users; <script>",
      NULL, "other", NULL, false },
};

static void expect(const char *got, const char *wanted)
{
    if (!wanted)
        assert_null(got);
    else
        assert_string_equal(got, wanted);
}

static void test_good(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct bookmark_form form;

        assert_true(bookmark_form_read(arena, parse(good[i].body), &form));
        assert_string_equal(form.url, "http://example.org/a");
        expect(form.title, good[i].title);
        expect(form.notes, good[i].notes);
        expect(form.category, good[i].category);
        expect(form.tags, good[i].tags);
        assert_int_equal(form.has_tags, good[i].has_tags);
        assert_null(form.problem);
    }
}

#define MISSING "{\"error\":\"Missing required fields\",\"missing_fields\":[\"url\"]}"
#define EMPTY   "{\"message\":\"URL is required\"}"
#define BAD     "{\"message\":\"Only http and https URLs can be saved\"}"

static const struct {
    const char *body, *problem;
} bad[] = {
    { "{}", MISSING },
    { "{\"url\":null}", MISSING },
    { "{\"url\":\"\"}", EMPTY },
    { "{\"url\":\"  \\n\"}", EMPTY },
    { "{\"url\":7}", BAD },
    { "{\"url\":[\"http://a.b/\"]}", BAD },
    { "{\"url\":\"not a url\"}", BAD },
    { "{\"url\":\"javascript:alert(1)\"}", BAD },
    { "{\"url\":\"ftp://a.b/\"}", BAD },
    { "{" U ",\"title\":7}", "{\"error\":\"Field title must be a text\"}" },
    { "{" U ",\"category\":[]}", "{\"error\":\"Field category must be a text\"}" },
};

static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct bookmark_form form;

        assert_false(bookmark_form_read(arena, parse(bad[i].body), &form));
        assert_string_equal(form.problem, bad[i].problem);
    }
}

static const struct {
    const char *field;
    size_t length;
    bool fits;
} lengths[] = {
    { "title", 10000, true },        { "title", 10001, false },
    { "category", 10000, true },     { "category", 10001, false },
    { "tags", 10000, true },         { "tags", 10001, false },
    { "description", 100000, true }, { "description", 100001, false },
};

static void test_lengths(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        const char *body = arena_printf(arena, "{" U ",\"%s\":\"%s\"}", lengths[i].field,
                                        repeat('x', lengths[i].length));
        struct bookmark_form form;

        bool fits = bookmark_form_read(arena, parse(body), &form);
        assert_int_equal(fits, lengths[i].fits);
        if (!fits)
            assert_string_equal(
                form.problem,
                arena_printf(arena, "{\"error\":\"Field %s exceeds maximum length\"}",
                             lengths[i].field));
        else if (strcmp(lengths[i].field, "category") == 0)
            assert_int_equal(strlen(form.category), 100);
    }
}

/* A URL may have 2048 bytes, of whatever characters. */
static void test_url_length(void **state)
{
    struct bookmark_form form;

    (void)state;
    const char *start = "{\"url\":\"http://a.b/";
    assert_true(bookmark_form_read(
        arena, parse(arena_printf(arena, "%s%s\"}", start, repeat('x', 2048 - 11))),
        &form));
    assert_int_equal(strlen(form.url), 2048);
    assert_false(bookmark_form_read(
        arena, parse(arena_printf(arena, "%s%s\"}", start, repeat('x', 2048 - 10))),
        &form));
    assert_string_equal(form.problem, BAD);
}

static void test_titles(void **state)
{
    (void)state;
    assert_string_equal(bookmark_title(arena, "short"), "short");
    assert_int_equal(strlen(bookmark_title(arena, repeat('x', 200))), 200);

    /* No space to cut at: 197 and the dots. */
    const char *cut = bookmark_title(arena, repeat('x', 201));
    assert_int_equal(strlen(cut), 200);
    assert_string_equal(cut + 197, "...");

    /* A space behind 150: there. One before: not there. */
    const char *late = arena_printf(arena, "%s %s", repeat('x', 160), repeat('y', 60));
    assert_string_equal(bookmark_title(arena, late),
                        arena_printf(arena, "%s...", repeat('x', 160)));
    const char *early = arena_printf(arena, "%s %s", repeat('x', 150), repeat('y', 60));
    assert_int_equal(strlen(bookmark_title(arena, early)), 200);

    /* Characters count, and none is torn. */
    char *wide = arena_alloc(arena, 2 * 201 + 1);
    for (size_t i = 0; i < 201; i++)
        memcpy(wide + 2 * i, "\xc3\xa4", 2);
    cut = bookmark_title(arena, wide);
    assert_int_equal(strlen(cut), 2 * 197 + 3);
}

static const struct {
    const char *stored, *json;
} tags[] = {
    { "", "[]" },
    { "a", "[\"a\"]" },
    { "a,b c", "[\"a\",\"b c\"]" },
    { "a, b,,", "[\"a\",\"b\"]" }, /* as Fuze stored them */
    { "q\"", "[\"q\\\"\"]" },
};

static void test_tags(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++) {
        struct buf out = BUF_IN(arena);
        struct json_writer w = { .out = &out };

        bookmark_tags_put(&w, NULL, tags[i].stored);
        assert_string_equal(buf_text(&out), tags[i].json);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_good, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lengths, setup, teardown),
        cmocka_unit_test_setup_teardown(test_url_length, setup, teardown),
        cmocka_unit_test_setup_teardown(test_titles, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tags, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
