/*
 * text.c - one walk over the tree, collecting blocks.
 *
 * Text gathers in `line` until a block begins or ends; then the line goes out with
 * the marks of where it stood: heading, quote, list item, table row, code. The
 * walk is a loop with an enter and a leave step, since trees may be deep.
 */
#include "jobs/extract/text.h"

#include "common/buf.h"
#include "jobs/extract/page.h"
#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define MAX_INDENT 8                 /* of lists and quotes inside each other */
#define MAX_OUT    ((size_t)8 << 20) /* marks can make short lines long */

enum element_kind {
    ELEMENT_INLINE, /* what the table does not name */
    ELEMENT_BLOCK,
    ELEMENT_BREAK,
    ELEMENT_CELL,
    ELEMENT_CODE,
    ELEMENT_DROP, /* with everything inside */
    ELEMENT_HEADING,
    ELEMENT_ITEM,
    ELEMENT_LIST,
    ELEMENT_QUOTE,
    ELEMENT_ROW,
    ELEMENT_TABLE,
};

/* Alphabetical: searched by halves. */
static const struct element {
    const char *name;
    enum element_kind kind;
} elements[] = {
    { "address", ELEMENT_BLOCK },  { "article", ELEMENT_BLOCK },
    { "aside", ELEMENT_DROP },     { "blockquote", ELEMENT_QUOTE },
    { "body", ELEMENT_BLOCK },     { "br", ELEMENT_BREAK },
    { "caption", ELEMENT_BLOCK },  { "center", ELEMENT_BLOCK },
    { "dd", ELEMENT_BLOCK },       { "details", ELEMENT_BLOCK },
    { "dialog", ELEMENT_BLOCK },   { "div", ELEMENT_BLOCK },
    { "dl", ELEMENT_BLOCK },       { "dt", ELEMENT_BLOCK },
    { "fieldset", ELEMENT_BLOCK }, { "figcaption", ELEMENT_BLOCK },
    { "figure", ELEMENT_BLOCK },   { "footer", ELEMENT_DROP },
    { "form", ELEMENT_DROP },      { "h1", ELEMENT_HEADING },
    { "h2", ELEMENT_HEADING },     { "h3", ELEMENT_HEADING },
    { "h4", ELEMENT_HEADING },     { "h5", ELEMENT_HEADING },
    { "h6", ELEMENT_HEADING },     { "head", ELEMENT_DROP },
    { "header", ELEMENT_DROP },    { "hr", ELEMENT_BLOCK },
    { "html", ELEMENT_BLOCK },     { "iframe", ELEMENT_DROP },
    { "li", ELEMENT_ITEM },        { "main", ELEMENT_BLOCK },
    { "nav", ELEMENT_DROP },       { "noscript", ELEMENT_DROP },
    { "ol", ELEMENT_LIST },        { "p", ELEMENT_BLOCK },
    { "pre", ELEMENT_CODE },       { "script", ELEMENT_DROP },
    { "section", ELEMENT_BLOCK },  { "select", ELEMENT_DROP },
    { "style", ELEMENT_DROP },     { "summary", ELEMENT_BLOCK },
    { "svg", ELEMENT_DROP },       { "table", ELEMENT_TABLE },
    { "tbody", ELEMENT_BLOCK },    { "td", ELEMENT_CELL },
    { "template", ELEMENT_DROP },  { "textarea", ELEMENT_DROP },
    { "tfoot", ELEMENT_BLOCK },    { "th", ELEMENT_CELL },
    { "thead", ELEMENT_BLOCK },    { "title", ELEMENT_DROP },
    { "tr", ELEMENT_ROW },         { "ul", ELEMENT_LIST },
};

/* What the block before was: items and rows follow each other without a gap. */
enum block { BLOCK_NONE, BLOCK_PLAIN, BLOCK_ITEM, BLOCK_ROW };

struct writer {
    struct buf *out;
    struct buf *headings;
    struct buf line;
    enum block last;
    int heading;       /* level of the heading we are in; 0: none */
    int lists, quotes; /* how many we are inside */
    bool starts_item;  /* the next block is an item's first */
    const xmlNode *code;
    const xmlNode *row; /* blocks inside a row are only blanks */
};

static int compare_element(const void *name, const void *element)
{
    return strcmp(name, ((const struct element *)element)->name);
}

static enum element_kind kind_of(const xmlNode *node)
{
    const struct element *found =
        bsearch(node->name, elements, sizeof(elements) / sizeof(elements[0]),
                sizeof(elements[0]), compare_element);

    return found ? found->kind : ELEMENT_INLINE;
}

/* A run of white space is one blank, none at the start of a line. */
static void add_text(struct writer *w, const char *text)
{
    struct buf *line = &w->line;

    if (w->code) {
        buf_adds(line, text);
        return;
    }
    for (; *text; text++) {
        if (!isspace((unsigned char)*text))
            buf_addc(line, *text);
        else if (line->length > 0 && !strchr(" \n", line->data[line->length - 1]))
            buf_addc(line, ' ');
    }
}

static void trim_end(struct buf *line)
{
    while (line->length > 0 && isspace((unsigned char)line->data[line->length - 1]))
        line->data[--line->length] = '\0';
}

static void add_marks(struct writer *w, bool is_first_line)
{
    int quotes = w->quotes < MAX_INDENT ? w->quotes : MAX_INDENT;
    int lists = w->lists < MAX_INDENT ? w->lists : MAX_INDENT;

    for (int i = 0; i < quotes; i++)
        buf_adds(w->out, "> ");
    for (int i = 1; i < lists; i++)
        buf_adds(w->out, "  ");
    if (lists > 0)
        buf_adds(w->out, w->starts_item && is_first_line ? "- " : "  ");
    for (int i = 0; i < w->heading && is_first_line; i++)
        buf_adds(w->out, i + 1 == w->heading ? "# " : "#");
}

/* The gap between the block before and one of kind `block`. */
static void add_gap(struct writer *w, enum block block)
{
    if (w->last != BLOCK_NONE)
        buf_adds(w->out, w->last == block && block != BLOCK_PLAIN ? "\n" : "\n\n");
    w->last = block;
}

/* Ends the block being collected; nothing happens when it is empty. */
static void flush(struct writer *w, enum block block)
{
    const char *text;

    trim_end(&w->line);
    if (w->line.length == 0)
        return;
    if (block == BLOCK_PLAIN && w->lists > 0)
        block = BLOCK_ITEM;
    add_gap(w, block);
    text = w->line.data;
    for (bool is_first = true; text && w->out->length < MAX_OUT; is_first = false) {
        const char *end = strchr(text, '\n');

        if (!is_first)
            buf_addc(w->out, '\n');
        add_marks(w, is_first);
        buf_add(w->out, text, end ? (size_t)(end - text) : strlen(text));
        text = end ? end + 1 : NULL;
    }
    if (w->heading > 0) {
        buf_add(w->headings, w->line.data, w->line.length);
        buf_addc(w->headings, '\n');
    }
    w->starts_item = false;
    buf_clear(&w->line);
}

/* A block begins or ends here; in a table row that is only a blank. */
static void boundary(struct writer *w)
{
    if (w->row)
        add_text(w, " ");
    else
        flush(w, BLOCK_PLAIN);
}

/* Tables that hold tables are there for the layout; their cells are blocks. */
static bool is_data_row(const xmlNode *row)
{
    xmlNode *table = row->parent;

    while (table && !page_is(table, "table"))
        table = table->parent;
    return table && page_count(table, "table", 2) == 1;
}

static void start_code(struct writer *w, const xmlNode *node)
{
    if (w->code || w->row || w->heading)
        return;
    flush(w, BLOCK_PLAIN);
    w->code = node;
    buf_adds(&w->line, "```\n");
}

static void end_code(struct writer *w)
{
    size_t fence = strlen("```\n");
    size_t start = fence;

    /* HTML drops the line break right after <pre>. */
    while (start < w->line.length && w->line.data[start] == '\n')
        start++;
    memmove(w->line.data + fence, w->line.data + start, w->line.length - start + 1);
    w->line.length -= start - fence;
    trim_end(&w->line);
    w->code = NULL;
    if (w->line.length < fence) {
        buf_clear(&w->line);
        return;
    }
    buf_adds(&w->line, "\n```");
    flush(w, BLOCK_PLAIN);
}

static void start_row(struct writer *w, const xmlNode *node)
{
    if (w->row)
        return;
    flush(w, BLOCK_PLAIN);
    if (is_data_row(node)) {
        w->row = node;
        buf_adds(&w->line, "| ");
    }
}

static void end_row(struct writer *w)
{
    w->row = NULL;
    /* A row without a word is no text. */
    if (w->line.data && w->line.length == strspn(w->line.data, "| "))
        buf_clear(&w->line);
    flush(w, BLOCK_ROW);
}

static void end_cell(struct writer *w)
{
    if (!w->row) {
        flush(w, BLOCK_PLAIN);
        return;
    }
    trim_end(&w->line);
    buf_adds(&w->line, " | ");
}

static void enter(struct writer *w, const xmlNode *node, enum element_kind kind)
{
    if (w->code) /* <pre> keeps its text; its elements only colour it */
        return;
    switch (kind) {
    case ELEMENT_INLINE:
    case ELEMENT_DROP:
    case ELEMENT_BREAK:
        break;
    case ELEMENT_BLOCK:
    case ELEMENT_TABLE:
        boundary(w);
        break;
    case ELEMENT_CELL:
        if (!w->row)
            flush(w, BLOCK_PLAIN);
        break;
    case ELEMENT_CODE:
        start_code(w, node);
        break;
    case ELEMENT_HEADING:
        boundary(w);
        w->heading = w->row ? 0 : node->name[1] - '0';
        break;
    case ELEMENT_LIST:
        boundary(w);
        w->lists++;
        break;
    case ELEMENT_ITEM:
        boundary(w);
        w->starts_item = !w->row;
        break;
    case ELEMENT_QUOTE:
        boundary(w);
        w->quotes++;
        break;
    case ELEMENT_ROW:
        start_row(w, node);
        break;
    }
}

static void leave(struct writer *w, const xmlNode *node, enum element_kind kind)
{
    if (w->code && w->code != node) {
        if (kind == ELEMENT_BREAK)
            buf_addc(&w->line, '\n');
        return;
    }
    switch (kind) {
    case ELEMENT_INLINE:
    case ELEMENT_DROP:
        break;
    case ELEMENT_BREAK:
        add_text(w, " ");
        if (!w->row && !w->heading && w->line.length > 0) {
            trim_end(&w->line);
            buf_addc(&w->line, '\n');
        }
        break;
    case ELEMENT_BLOCK:
    case ELEMENT_TABLE:
        boundary(w);
        break;
    case ELEMENT_CELL:
        end_cell(w);
        break;
    case ELEMENT_CODE:
        if (w->code)
            end_code(w);
        break;
    case ELEMENT_HEADING:
        boundary(w);
        w->heading = 0;
        break;
    case ELEMENT_LIST:
        boundary(w);
        w->lists--;
        break;
    case ELEMENT_ITEM:
        boundary(w);
        w->starts_item = false;
        break;
    case ELEMENT_QUOTE:
        boundary(w);
        w->quotes--;
        break;
    case ELEMENT_ROW:
        if (w->row == node)
            end_row(w);
        else
            boundary(w);
        break;
    }
}

/* Enters `node`; true when its children come next. */
static bool visit(struct writer *w, const xmlNode *node)
{
    if ((node->type == XML_TEXT_NODE || node->type == XML_CDATA_SECTION_NODE) &&
        node->content) {
        add_text(w, (const char *)node->content);
        return false;
    }
    if (node->type != XML_ELEMENT_NODE || kind_of(node) == ELEMENT_DROP)
        return false;
    enter(w, node, kind_of(node));
    if (node->children)
        return true;
    leave(w, node, kind_of(node));
    return false;
}

void text_of_page(xmlNode *root, struct buf *out, struct buf *ret_headings)
{
    struct writer w = { .out = out, .headings = ret_headings, .line = BUF_HEAP };
    const xmlNode *node = root;

    while (node && out->length < MAX_OUT) {
        if (visit(&w, node)) {
            node = node->children;
            continue;
        }
        while (node && node != root && !node->next) {
            node = node->parent;
            leave(&w, node, kind_of(node));
        }
        node = node && node != root ? node->next : NULL;
    }
    flush(&w, BLOCK_PLAIN);
    buf_done(&w.line);
}
