/*
 * published.h - dates as pages write them, in one form that PostgreSQL reads.
 */
#ifndef FORKMARK_JOBS_EXTRACT_PUBLISHED_H
#define FORKMARK_JOBS_EXTRACT_PUBLISHED_H

#include <stdbool.h>

#define PUBLISHED_SIZE 40

/*
 * ISO 8601 ("2026-11-23", "2026-11-23T14:36:50.7+01:00", blanks for the T) as
 * "2026-11-23T14:36:50+01:00". False, and `ret` untouched, for anything else.
 */
bool published_read(const char *text, char ret[PUBLISHED_SIZE]);

#endif
