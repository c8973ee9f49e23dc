/*
 * page.h - HTML text as a tree that is safe to walk, and the ways to walk it.
 *
 * libxml2 builds the tree; hostile pages are cut off where they would cost too
 * much (nesting, number of nodes, attributes of one tag), and what was read until
 * there stays. Nothing here recurses: a tree is walked with page_next().
 */
#ifndef FORKMARK_JOBS_EXTRACT_PAGE_H
#define FORKMARK_JOBS_EXTRACT_PAGE_H

#include <libxml/HTMLparser.h>
#include <libxml/tree.h>
#include <stdbool.h>
#include <stddef.h>

struct buf;

struct page {
    htmlDocPtr doc;
    xmlNode *root; /* NULL: nothing in it */
    bool is_cut;   /* past a limit; the tree holds what came before */
};

/* `text` is valid UTF-8 without NUL bytes. page_done() in any case. */
void page_parse(struct page *page, const char *text, size_t length);
void page_done(struct page *page);

/* The node after `node` in the order of the text, inside `top`; NULL: the end. */
xmlNode *page_next(xmlNode *node, const xmlNode *top);
/* The same, passing over what is inside `node`. */
xmlNode *page_skip(xmlNode *node, const xmlNode *top);

bool page_is(const xmlNode *node, const char *element);
/* The first such element inside `top` (or `top` itself); NULL: none. */
xmlNode *page_find(xmlNode *top, const char *element);
/* Up to `most` such elements are counted. */
int page_count(xmlNode *top, const char *element, int most);

/* An attribute's text, borrowed from the tree; NULL: absent. */
const char *page_attribute(const xmlNode *node, const char *name);

/* All text inside `top` in one line, white space collapsed, at most `max` bytes. */
void page_text(xmlNode *top, struct buf *out, size_t max);
/* Adds text with each run of white space as one blank, none at the start. */
void page_add_collapsed(struct buf *out, const char *text, size_t length);

#endif
