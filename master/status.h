/*
 * status.h - the process tree and what each process does now.
 */
#ifndef FORKMARK_MASTER_STATUS_H
#define FORKMARK_MASTER_STATUS_H

#include <cjson/cJSON.h>

struct buf;
struct master;

/* Pools with their children, services, listeners. The caller deletes it. */
cJSON *status_json(struct master *m);
/* The same as a tree for people. */
void status_text_tree(const cJSON *status, struct buf *out);

#endif
