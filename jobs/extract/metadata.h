/*
 * metadata.h - what a page says about itself: <meta>, JSON-LD, <link>, <title>.
 */
#ifndef FORKMARK_JOBS_EXTRACT_METADATA_H
#define FORKMARK_JOBS_EXTRACT_METADATA_H

#include "common/buf.h"
#include <libxml/tree.h>

enum metadata_field {
    META_TITLE,
    META_AUTHOR,
    META_DESCRIPTION,
    META_CANONICAL,
    META_IMAGE,
    META_LANGUAGE,
    META_PUBLISHED,
    META_FIELDS,
};

struct metadata {
    /* The best candidate of each field; data NULL: none. */
    struct {
        struct buf text;
        int rank; /* smaller is better */
    } fields[META_FIELDS];
    /* The raw data, as the inside of a JSON object or array. */
    struct buf open_graph, twitter_card, schema_org;
};

/* `url`: the page's, for relative links. metadata_done() afterwards. */
void metadata_read(struct metadata *metadata, xmlNode *root, const char *url);
void metadata_done(struct metadata *metadata);

/* The field's text, "" when none. */
const char *metadata_text(const struct metadata *metadata, enum metadata_field field);

/* An absolute http(s) address of `link` as it stands on page `url`; malloc'd, or NULL. */
char *metadata_link(const char *link, const char *url);

#endif
