/*
 * text.h - what a reader would read on a page, as Markdown-like text.
 */
#ifndef FORKMARK_JOBS_EXTRACT_TEXT_H
#define FORKMARK_JOBS_EXTRACT_TEXT_H

#include <libxml/tree.h>
#include <stddef.h>

struct buf;

/*
 * Headings with #, lists with "- ", quotes with "> ", code in fences, table rows
 * with |; each piece once, in the page's order. Navigation, scripts, forms and
 * the like are left out. `ret_headings` gets the headings' plain texts, one a line.
 */
void text_of_page(xmlNode *root, struct buf *out, struct buf *ret_headings);

#endif
