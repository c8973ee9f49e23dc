/* A page's bytes to everything a bookmark keeps, and its score. */
#include "jobs/extract/extract.h"

#include "common/buf.h"
#include "common/ids.h"
#include "jobs/extract/quality.h"
#include <cjson/cJSON.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define URL "http://example.org/a/page.html"

static struct extract *extract_text(const char *html, const char *content_type)
{
    return extract_page(html, strlen(html), content_type, URL);
}

/* <article>, <h1>, a title, and as many words as asked for. */
static struct extract *article(int words, const char *more)
{
    struct buf html = BUF_HEAP;

    buf_adds(&html,
             "<html><head><title>A title</title></head><body><article><h1>Head</h1><p>");
    for (int i = 1; i < words; i++)
        buf_adds(&html, "word ");
    buf_addf(&html, "</p></article>%s", more);
    struct extract *extract = extract_text(html.data, "text/html");
    buf_done(&html);
    return extract;
}

static void gives_the_contracts_scores(void **state)
{
    static const struct {
        int words, score, minutes;
        const char *more;
    } scores[] = {
        { 600, 100, 3, "" },
        { 10, 64, 1, "" },
        { 301, 100, 1, "" },
        { 300, 92, 1, "" },
        { 151, 92, 1, "" },
        { 150, 80, 1, "" },
        { 51, 80, 1, "" },
        { 50, 64, 1, "" },
        { 20, 10, 1, "<p>Checking your browser before accessing example.org" },
        { 20, 10, 1, "<noscript>Please enable JavaScript to view this</noscript>" },
        { 20, 10, 1, "<div class=cf-browser-verification>" },
        { 600, 100, 3, "<noscript>Please enable JavaScript to view comments</noscript>" },
        { 600, 100, 3, "<p>nginx says 403 Forbidden" },
        { 20, 25, 1, "<script id=__NEXT_DATA__>{}</script>" },
        { 20, 25, 1, "<div id=root> </div>" },
        { 20, 25, 1, "<div id=app><div></div></div>" },
        { 20, 64, 1, "<div id=root>more words</div>" },
        { 600, 100, 3, "<div id=root></div>" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(scores) / sizeof(scores[0]); i++) {
        struct extract *extract = article(scores[i].words, scores[i].more);

        if (extract->quality_score != scores[i].score)
            fail_msg("%d words and `%s`: %d", scores[i].words, scores[i].more,
                     extract->quality_score);
        assert_int_equal(extract->reading_time, scores[i].minutes);
        extract_free(extract);
    }
}

static void scores_by_structure(void **state)
{
    static const struct {
        const char *html;
        int score;
    } scores[] = {
        { "<title>T</title><p>a", 4 + 30 + 9 },
        { "<title>T</title><h1>b</h1>", 4 + 30 + 21 },
        { "<title>T</title><p>a<p>b<p>c", 4 + 30 + 21 },
        { "<title>T</title><h1>x</h1><p>a<p>b<p>c", 4 + 30 + 30 },
        { "<title>T</title><main>x</main>", 4 + 30 + 30 },
        { "<p>a", 4 + 9 + 9 },
        { "<title>Untitled</title><p>a", 4 + 9 + 9 },
        { "<title>Access Denied</title><p>a", 10 },
        { "", 4 + 9 + 9 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(scores) / sizeof(scores[0]); i++) {
        struct extract *extract = extract_text(scores[i].html, "text/html");

        if (extract->quality_score != scores[i].score)
            fail_msg("`%s`: %d", scores[i].html, extract->quality_score);
        extract_free(extract);
    }
}

#define LD(json) "<script type=\"application/ld+json\">" json "</script>"

static void picks_the_best_title(void **state)
{
    static const struct {
        const char *html, *title;
    } titles[] = {
        { "<title>t</title>" LD(
              "{\"headline\":\"best\",\"name\":\"n\"}") "<meta property=og:title "
                                                        "content=og>",
          "best" },
        { LD("{\"@type\":\"Article\",\"name\":\"named\"}") "<title>t</title>", "named" },
        { LD("{\"@type\":\"Organization\",\"name\":\"firm\"}") "<title>t</title>", "t" },
        { LD("{\"@graph\":[{\"@type\":\"WebSite\",\"name\":\"site\"},"
             "{\"@type\":[\"Article\"],\"headline\":\"graph\"}]}"),
          "graph" },
        { LD("[{\"headline\":\"list\"}]"), "list" },
        { LD("{\"headline\":") "<title>t</title>", "t" },
        { LD("{\"headline\":17}") "<title>t</title>", "t" },
        { "<meta name=twitter:title content=tw><meta property=og:title content=og>",
          "og" },
        { "<title>t</title><meta name=twitter:title content='tw  title'>", "tw title" },
        { "<title>Site</title><article><h1>Its <i>own</i> head</h1></article>",
          "Its own head" },
        { "<title>Site</title><h1>Some head</h1>", "Site" },
        { "<h1>Some head</h1>", "Some head" },
        { "<title>Just a moment...</title><h1>Some head</h1>", "Some head" },
        { "<meta property=og:title content='403 Forbidden'><title>t</title>", "t" },
        { "<title> \n </title>", "" },
        { "<title>403 forbidden</title>", "" },
        { "<title>a &amp; b</title>", "a & b" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(titles) / sizeof(titles[0]); i++) {
        struct extract *extract = extract_text(titles[i].html, "text/html");

        if (strcmp(extract->title, titles[i].title) != 0)
            fail_msg("`%s`: `%s`", titles[i].html, extract->title);
        extract_free(extract);
    }
}

static void fits_titles_into_their_column(void **state)
{
    struct buf html = BUF_HEAP;

    (void)state;
    buf_adds(&html, "<title>");
    for (int i = 0; i < 300; i++)
        buf_adds(&html, "é");
    struct extract *extract = extract_text(html.data, "text/html");
    assert_int_equal(strlen(extract->title), 400); /* 200 characters */
    extract_free(extract);
    buf_done(&html);
}

static const char whole_page[] =
    "<!doctype html><html lang=\"en-US\"><head><meta charset=utf-8>"
    "<title>Title</title>"
    "<link rel=canonical href=\"/canonical\">"
    "<meta name=description content=\"A page about pages\">"
    "<meta property=og:image content=\"../pic.png\">"
    "<meta property=og:title content=\"Open \\ &quot;graph&quot;\">"
    "<meta property=article:published_time content=\"2026-11-23T14:36:50Z\">"
    "<meta name=twitter:card content=summary>" LD(
        "{\"@type\":\"Article\",\"author\":[{\"@type\":\"Person\",\"name\":\"Ada\"}],"
        "\"nul\":\"a\\u0000b\"}") "</head><body><article><h1>Head</h1><img "
                                  "src=a.png><img src=\"data:x\">"
                                  "<pre>int "
                                  "a;\n</pre><table><tr><th>k<td>v</table><p>Word "
                                  "word.</p>"
                                  "</article></body></html>";

static void reads_a_whole_page(void **state)
{
    (void)state;
    struct extract *extract = extract_text(whole_page, "text/html; charset=utf-8");

    assert_string_equal(extract->title, "Open \\ \"graph\"");
    assert_string_equal(extract->author, "Ada");
    assert_string_equal(extract->description, "A page about pages");
    assert_string_equal(extract->canonical_url, "http://example.org/canonical");
    assert_string_equal(extract->image, "http://example.org/pic.png");
    assert_string_equal(extract->language, "en-US");
    assert_string_equal(extract->published_at, "2026-11-23T14:36:50+00:00");
    assert_string_equal(extract->text,
                        "# Head\n\n```\nint a;\n```\n\n| k | v |\n\nWord word.");
    assert_string_equal(extract->headings[0], "Head");
    assert_null(extract->headings[1]);
    extract_free(extract);
}

static void gives_the_raw_data(void **state)
{
    (void)state;
    struct extract *extract = extract_text(whole_page, "text/html");
    assert_string_equal(
        extract->metadata,
        "{\"open_graph\":{\"og:image\":\"../pic.png\","
        "\"og:title\":\"Open \\\\ \\\"graph\\\"\","
        "\"article:published_time\":\"2026-11-23T14:36:50Z\"},"
        "\"twitter_card\":{\"twitter:card\":\"summary\"},"
        "\"schema_org\":[{\"@type\":\"Article\",\"author\":[{\"@type\":\"Person\","
        "\"name\":\"Ada\"}],\"nul\":\"a\"}],"
        "\"images\":[\"http://example.org/a/a.png\"],"
        "\"code_blocks\":[\"int a;\\n\"],\"tables\":[[[\"k\",\"v\"]]]}");
    extract_free(extract);
}

static void hashes_the_trimmed_text(void **state)
{
    char hash[65];

    (void)state;
    struct extract *a = extract_text("  some text\n", "text/plain");
    struct extract *b = extract_text("some text", "text/plain; charset=utf-8");
    sha256_hex("some text", 9, hash);
    assert_string_equal(a->content_hash, hash);
    assert_string_equal(b->content_hash, hash);
    extract_free(a);
    extract_free(b);
}

static void goes_by_the_content_type(void **state)
{
    static const struct {
        const char *type, *body, *text;
        int score;
    } contents[] = {
        { "text/plain", "<b>as it is</b>", "<b>as it is</b>", 22 },
        { "TEXT/HTML", "<b>a tag</b>", "a tag", 22 },
        { "application/xhtml+xml;charset=utf-8", "<p>x</p>", "x", 22 },
        { "application/pdf", "%PDF-1.7 text", "", 0 },
        { "image/png", "\x89PNG", "", 0 },
        { "application/json", "{}", "", 0 },
        { "text/css", "a{}", "", 0 },
        { "", " <!doctype html><p>guessed", "guessed", 22 },
        { "", "plain words", "plain words", 22 },
        { "", "\x89PNG\xFF", "", 0 },
        { "text/html-sandboxed", "<p>x", "", 0 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(contents) / sizeof(contents[0]); i++) {
        struct extract *extract = extract_text(contents[i].body, contents[i].type);

        if (strcmp(extract->text, contents[i].text) != 0 ||
            extract->quality_score != contents[i].score)
            fail_msg("`%s`: `%s`, %d", contents[i].type, extract->text,
                     extract->quality_score);
        cJSON *metadata = cJSON_Parse(extract->metadata);
        assert_non_null(metadata);
        cJSON_Delete(metadata);
        extract_free(extract);
    }
}

static void keeps_raw_data_valid(void **state)
{
    struct buf html = BUF_HEAP;

    (void)state;
    for (int i = 0; i < 5000; i++)
        buf_addf(&html,
                 "<meta property=\"og:%d\" content=\"%d \x01 \xC3\"><pre>\xE2\x82</pre>"
                 "<img src='a b %d?\"'><table><tr><td>",
                 i, i, i);
    struct extract *extract = extract_text(html.data, "text/html; charset=utf-8");
    cJSON *metadata = cJSON_Parse(extract->metadata);
    assert_non_null(metadata);
    assert_true(strlen(extract->metadata) < (size_t)512 * 1024);
    cJSON_Delete(metadata);
    extract_free(extract);
    buf_done(&html);
}

static void knows_usable_titles(void **state)
{
    (void)state;
    assert_true(quality_is_usable_title("A title"));
    assert_true(quality_is_usable_title("404 Not Found: what it means"));
    assert_false(quality_is_usable_title("404 Not Found"));
    assert_false(quality_is_usable_title("SECURITY CHECK"));
    assert_false(quality_is_usable_title(""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_the_contracts_scores),
        cmocka_unit_test(scores_by_structure),
        cmocka_unit_test(picks_the_best_title),
        cmocka_unit_test(fits_titles_into_their_column),
        cmocka_unit_test(reads_a_whole_page),
        cmocka_unit_test(gives_the_raw_data),
        cmocka_unit_test(hashes_the_trimmed_text),
        cmocka_unit_test(goes_by_the_content_type),
        cmocka_unit_test(keeps_raw_data_valid),
        cmocka_unit_test(knows_usable_titles),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
