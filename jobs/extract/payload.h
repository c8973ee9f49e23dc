/*
 * payload.h - the JSON object of a page's raw data, for bookmark_metadata.
 */
#ifndef FORKMARK_JOBS_EXTRACT_PAYLOAD_H
#define FORKMARK_JOBS_EXTRACT_PAYLOAD_H

#include "jobs/extract/metadata.h"
#include <libxml/tree.h>

struct buf;

/* The object of a page nothing is known of. */
#define PAYLOAD_EMPTY                                                         \
    "{\"open_graph\":{},\"twitter_card\":{},\"schema_org\":[],\"images\":[]," \
    "\"code_blocks\":[],\"tables\":[]}"

/* Adds {"open_graph":{},"twitter_card":{},"schema_org":[],"images":[],...} in one line.
 */
void payload_of_page(const struct metadata *metadata, xmlNode *root, const char *url,
                     struct buf *out);

#endif
