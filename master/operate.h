/*
 * operate.h - what an operator may do to the running server by `forkmark ctl`: scale,
 * drain, kill, change the log's level, and look at what is not in the status.
 *
 * Each is a row in control.c's table. False: refused, and `text` says why; else `text`
 * is for people, and `answer` may have got a member "data".
 */
#ifndef FORKMARK_MASTER_OPERATE_H
#define FORKMARK_MASTER_OPERATE_H

#include <cjson/cJSON.h>
#include <stdbool.h>

struct buf;
struct master;

bool operate_scale(struct master *m, char *const words[], struct buf *text,
                   cJSON *answer);
bool operate_drain(struct master *m, char *const words[], struct buf *text,
                   cJSON *answer);
bool operate_kill(struct master *m, char *const words[], struct buf *text, cJSON *answer);
bool operate_log_level(struct master *m, char *const words[], struct buf *text,
                       cJSON *answer);
bool operate_show_events(struct master *m, char *const words[], struct buf *text,
                         cJSON *answer);
bool operate_show_listeners(struct master *m, char *const words[], struct buf *text,
                            cJSON *answer);
bool operate_show_pools(struct master *m, char *const words[], struct buf *text,
                        cJSON *answer);

#endif
