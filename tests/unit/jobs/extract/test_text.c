/* From HTML to Markdown-like text, and trees that were made to hurt. */
#include "jobs/extract/text.h"

#include "common/buf.h"
#include "common/clock.h"
#include "jobs/extract/page.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct {
    const char *html, *text;
} pages[] = {
    { "<p>One.</p><p>Two   of\n them.</p>", "One.\n\nTwo of them." },
    { "<h1>A</h1><h3>B <i>c</i></h3>text", "# A\n\n### B c\n\ntext" },
    { "<ul><li>a<li>b <b>c</b></ul>", "- a\n- b c" },
    { "<ol><li><p>a</p><p>more</p></li><li>b<ul><li>c</ul></li></ol>",
      "- a\n  more\n- b\n  - c" },
    { "<blockquote><p>q1</p><blockquote>q2</blockquote></blockquote>z",
      "> q1\n\n> > q2\n\nz" },
    { "<pre>\nint a;\n  int b;\n</pre>", "```\nint a;\n  int b;\n```" },
    { "<pre><code><span>x</span> = <b>1</b></code></pre>", "```\nx = 1\n```" },
    { "<blockquote><pre>a\nb</pre></blockquote>", "> ```\n> a\n> b\n> ```" },
    { "<pre>  \n </pre>after", "after" },
    { "<table><tr><th>a<th>b<tr><td>1</td><td><p>2</p><p>3</p></td></tr></table>",
      "| a | b |\n| 1 | 2 3 |" },
    { "<table><tr><td>out</td><td><table><tr><td>in</table></td></tr></table>",
      "out\n\n| in |" },
    { "<table><tr><td></td><td> </td></tr></table>x", "x" },
    { "a<br>b<br/>c", "a\nb\nc" },
    { "<p>a<br></p><p>b</p>", "a\n\nb" },
    { "<h1>a<br>b</h1>", "# a b" },
    { "<span>a</span><span>b</span> <a href=x>c</a>", "ab c" },
    { "<nav>n</nav><header>h</header><main>m</main><footer>f</footer><aside>a</aside>",
      "m" },
    { "<script>s</script><style>s</style><noscript>n</noscript><form>f</form>"
      "<iframe>i</iframe>t",
      "t" },
    { "<head><title>no</title></head><body>yes", "yes" },
    { "<div>a<div>b</div>c</div>", "a\n\nb\n\nc" },
    { "&lt;b&gt; &amp; &eacute; &#8364; &bogus;", "<b> & é € &bogus;" },
    { "<p>unclosed <b>bold<p>next", "unclosed bold\n\nnext" },
    { "<article><section><p>once</p></section></article>", "once" },
    { "<!-- no -->a<!-- no -->b", "ab" },
    { "", "" },
    { "just text", "just text" },
    { "a < b", "a < b" },
};

static void text_of(const char *html, size_t length, struct buf *text,
                    struct buf *headings)
{
    struct page page;

    page_parse(&page, html, length);
    text_of_page(page.root, text, headings);
    page_done(&page);
}

static void writes_what_a_reader_reads(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
        struct buf text = BUF_HEAP, headings = BUF_HEAP;

        text_of(pages[i].html, strlen(pages[i].html), &text, &headings);
        if (strcmp(buf_text(&text), pages[i].text) != 0)
            fail_msg("`%s` gave `%s` instead of `%s`", pages[i].html, buf_text(&text),
                     pages[i].text);
        buf_done(&text);
        buf_done(&headings);
    }
}

static void lists_headings(void **state)
{
    const char *html =
        "<h1>One</h1><p>a</p><h2>Two &amp; more</h2><nav><h3>no</h3></nav>";
    struct buf text = BUF_HEAP, headings = BUF_HEAP;

    (void)state;
    text_of(html, strlen(html), &text, &headings);
    assert_string_equal(buf_text(&headings), "One\nTwo & more\n");
    buf_done(&text);
    buf_done(&headings);
}

/* A page whose <meta> lies about its charset is UTF-8 by the time we parse it. */
static void believes_in_utf8(void **state)
{
    const char *html = "<html><head><meta charset=iso-8859-1></head><body>caf\xC3\xA9";
    struct buf text = BUF_HEAP, headings = BUF_HEAP;

    (void)state;
    text_of(html, strlen(html), &text, &headings);
    assert_string_equal(buf_text(&text), "café");
    buf_done(&text);
    buf_done(&headings);
}

/* Characters may lie across the parser's chunks. */
static void survives_chunk_borders(void **state)
{
    struct buf html = BUF_HEAP, text = BUF_HEAP, headings = BUF_HEAP;

    (void)state;
    buf_adds(&html, "<p>");
    for (int i = 0; i < 20000; i++)
        buf_adds(&html, "€");
    text_of(html.data, html.length, &text, &headings);
    assert_int_equal(text.length, 60000);
    for (size_t i = 0; i < text.length; i += 3)
        assert_memory_equal(text.data + i, "€", 3);
    buf_done(&html);
    buf_done(&text);
    buf_done(&headings);
}

static void repeat(struct buf *out, const char *piece, size_t size)
{
    while (out->length < size)
        buf_adds(out, piece);
}

/* 2 MiB of each: none may take the stack, the memory or the day. */
static void bears_hostile_pages(void **state)
{
    static const struct {
        const char *before, *piece;
    } hostile[] = {
        { "text", "<div>" },
        { "text", "<b><i>" },
        { "text<div>", "<div></b>" },
        { "text", "<p>" },
        { "text", "<blockquote><ul><li>" },
        { "text", "<table><tr><td>" },
        { "text", "&amp;" },
        { "text<pre>", "\n" },
        { "text", "<!--" },
        { "text", "<a b=\"" },
        { "text", "</p>" },
        { "text<select>", "<option>" },
        { "text", "<" },
        { "text", "<![CDATA[" },
        { "text<script>", "</" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++) {
        struct buf html = BUF_HEAP, text = BUF_HEAP, headings = BUF_HEAP;
        uint64_t start = clock_ms();

        buf_adds(&html, hostile[i].before);
        repeat(&html, hostile[i].piece, (size_t)2 << 20);
        text_of(html.data, html.length, &text, &headings);
        assert_true(strncmp(buf_text(&text), "text", 4) == 0);
        assert_true(text.length < (size_t)10 << 20);
        if (clock_ms() - start > 20000)
            fail_msg("`%s` took %d ms", hostile[i].piece, (int)(clock_ms() - start));
        buf_done(&html);
        buf_done(&text);
        buf_done(&headings);
    }
}

static void bears_a_tag_of_a_million_attributes(void **state)
{
    struct buf html = BUF_HEAP, text = BUF_HEAP, headings = BUF_HEAP;
    uint64_t start = clock_ms();

    (void)state;
    buf_adds(&html, "text<p x=\">\" ");
    for (int i = 0; html.length < (size_t)5 << 20; i++)
        buf_addf(&html, "a%d ", i);
    buf_adds(&html, ">more");
    text_of(html.data, html.length, &text, &headings);
    assert_true(strncmp(buf_text(&text), "text", 4) == 0);
    assert_true(clock_ms() - start < 20000);
    buf_done(&html);
    buf_done(&text);
    buf_done(&headings);
}

static void keeps_what_follows_a_long_image(void **state)
{
    struct buf html = BUF_HEAP, text = BUF_HEAP, headings = BUF_HEAP;

    (void)state;
    buf_adds(&html, "before <img src=\"data:image/png;base64,");
    repeat(&html, "iVBORw0KGgo AAAA", 300000);
    buf_adds(&html, "\"> after");
    text_of(html.data, html.length, &text, &headings);
    assert_string_equal(buf_text(&text), "before after");
    buf_done(&html);
    buf_done(&text);
    buf_done(&headings);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_what_a_reader_reads),
        cmocka_unit_test(lists_headings),
        cmocka_unit_test(believes_in_utf8),
        cmocka_unit_test(survives_chunk_borders),
        cmocka_unit_test(bears_hostile_pages),
        cmocka_unit_test(bears_a_tag_of_a_million_attributes),
        cmocka_unit_test(keeps_what_follows_a_long_image),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
