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

/* status_text.c: the same as a tree for people; its parts for other tables. */
void status_text_tree(const cJSON *status, struct buf *out);
/* A line for each server of PostgreSQL, `before` at its front. */
void status_add_databases(const cJSON *status, const char *before, struct buf *out);
/* A line for each Redis, "redis (queue) 127.0.0.1:6379: up"; a cluster has one for all
 * its nodes: "cache: cluster of 3 primaries and 3 replicas; away: 127.0.0.1:7001 (for 4
 * processes)". */
void status_add_redis(const cJSON *status, const char *before, struct buf *out);

/* A member of the answer; 0 and "" where it is not there. */
double status_number(const cJSON *object, const char *name);
const char *status_word(const cJSON *object, const char *name);

#endif
