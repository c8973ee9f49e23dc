/*
 * payload.c - raw data of a page, and the first of its images, code and tables.
 *
 * Everything has a bound: a page decides how much of it there is, we decide how
 * much of it is kept.
 */
#include "jobs/extract/payload.h"

#include "common/buf.h"
#include "common/json.h"
#include "jobs/extract/page.h"
#include <stdbool.h>
#include <stdlib.h>

#define MAX_IMAGES    20
#define MAX_CODE      20
#define MAX_CODE_SIZE 4000
#define MAX_TABLES    10
#define MAX_ROWS      50
#define MAX_CELLS     20
#define MAX_CELL_SIZE 300

/* Calls `add` for the first `most` elements of that name; it says what counts. */
static void for_each(xmlNode *root, const char *element, int most,
                     bool (*add)(struct json_writer *w, xmlNode *node, const char *url),
                     struct json_writer *w, const char *url)
{
    for (xmlNode *node = root; node && most > 0; node = page_next(node, root)) {
        if (page_is(node, element))
            most -= add(w, node, url);
    }
}

static bool add_image(struct json_writer *w, xmlNode *node, const char *url)
{
    const char *source = page_attribute(node, "src");
    char *link = source ? metadata_link(source, url) : NULL;

    if (!link)
        return false;
    json_put_text(w, NULL, link);
    free(link);
    return true;
}

/* Code keeps its lines, so page_text() will not do. */
static bool add_code(struct json_writer *w, xmlNode *top, const char *url)
{
    struct buf text = BUF_HEAP;

    (void)url;
    for (xmlNode *node = top; node; node = page_next(node, top)) {
        if (node->type == XML_TEXT_NODE && node->content && text.length < MAX_CODE_SIZE)
            buf_adds(&text, (const char *)node->content);
    }
    bool has_text = text.length > 0;
    if (has_text) /* a character cut in half becomes U+FFFD */
        json_put_textn(w, NULL, text.data,
                       text.length < MAX_CODE_SIZE ? text.length : MAX_CODE_SIZE);
    buf_done(&text);
    return has_text;
}

static bool add_cell(struct json_writer *w, xmlNode *node, const char *url)
{
    struct buf text = BUF_HEAP;

    (void)url;
    page_text(node, &text, MAX_CELL_SIZE);
    json_put_text(w, NULL, buf_text(&text));
    buf_done(&text);
    return true;
}

static bool add_row(struct json_writer *w, xmlNode *node, const char *url)
{
    json_begin_array(w, NULL);
    for_each(node, "th", MAX_CELLS, add_cell, w, url);
    for_each(node, "td", MAX_CELLS, add_cell, w, url);
    json_end_array(w);
    return true;
}

/* Tables that hold tables are there for the layout. */
static bool add_table(struct json_writer *w, xmlNode *node, const char *url)
{
    if (page_count(node, "table", 2) > 1)
        return false;
    json_begin_array(w, NULL);
    for_each(node, "tr", MAX_ROWS, add_row, w, url);
    json_end_array(w);
    return true;
}

void payload_of_page(const struct metadata *metadata, xmlNode *root, const char *url,
                     struct buf *out)
{
    struct json_writer w = { .out = out };

    buf_addf(out, "{\"open_graph\":{%s},\"twitter_card\":{%s},\"schema_org\":[%s]",
             buf_text(&metadata->open_graph), buf_text(&metadata->twitter_card),
             buf_text(&metadata->schema_org));
    w.comma = true;
    json_begin_array(&w, "images");
    for_each(root, "img", MAX_IMAGES, add_image, &w, url);
    json_end_array(&w);
    json_begin_array(&w, "code_blocks");
    for_each(root, "pre", MAX_CODE, add_code, &w, url);
    json_end_array(&w);
    json_begin_array(&w, "tables");
    for_each(root, "table", MAX_TABLES, add_table, &w, url);
    json_end_array(&w);
    json_end_object(&w);
}
