/*
 * extract.h - from a page's bytes to title, text, metadata and a score.
 *
 * Rules: contract 3.3, steps 4 and 5. libxml2's HTML parser; plain functions
 * that block and recurse, so call extract_page() through task_work(): its result
 * is one malloc'd block, and no arena is touched.
 */
#ifndef FORKMARK_JOBS_EXTRACT_H
#define FORKMARK_JOBS_EXTRACT_H

#include <stddef.h>
#include <stdint.h>

struct extract {
    char *title; /* "" when none is usable */
    char *text;  /* Markdown-like, UTF-8, NUL-free */
    size_t text_length;
    char *description, *author, *language, *canonical_url, *image;
    char *published_at; /* ISO text or "" */
    char *metadata;     /* the JSON object for bookmark_metadata */
    char **headings;    /* NULL-ended */
    char content_hash[65];
    int words, reading_time, quality_score;
};

/* Never NULL; bad HTML gives what could be read. `content_type` as sent, may be "". */
struct extract *extract_page(const char *body, size_t length, const char *content_type,
                             const char *url);
void extract_free(struct extract *extract);

#endif
