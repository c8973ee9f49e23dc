/*
 * quality.h - how good a page is for its reader, 0 to 100 (contract 3.3, step 5).
 */
#ifndef FORKMARK_JOBS_EXTRACT_QUALITY_H
#define FORKMARK_JOBS_EXTRACT_QUALITY_H

#include <libxml/tree.h>
#include <stdbool.h>
#include <stddef.h>

/* What the score is made from. */
struct quality {
    const char *title; /* "" when none */
    const char *text;
    int words;
    xmlNode *root;    /* the page's tree; NULL for plain text */
    const char *page; /* its source, UTF-8 */
    size_t page_length;
};

int quality_score(const struct quality *quality);
/* Whether a title says something about the page, and not about an error. */
bool quality_is_usable_title(const char *title);
/* Runs of characters between white space that hold a letter or a digit. */
int quality_count_words(const char *text);

#endif
