/*
 * families.h - is a session (token family) still good? The truth, in PostgreSQL.
 *
 * Asked when Redis does not know. While Redis is away the answer is remembered for
 * 5 s in this process (contract 1.6).
 */
#ifndef FORKMARK_WORKER_FAMILIES_H
#define FORKMARK_WORKER_FAMILIES_H

#include "common/pg.h"
#include <stdbool.h>
#include <stdint.h>

/*
 * 1: good; 0: revoked, expired or unknown; or a negative errno of pg_run(). With
 * `may_remember` an answer of the last 5 s will do. Yields.
 */
int family_check(struct pg *pg, const struct pg_reader *reader, int32_t user_id,
                 const char *family_id, bool may_remember);
/* This process knows that it ended. Does not yield. */
void family_forget(const char *family_id);

#endif
