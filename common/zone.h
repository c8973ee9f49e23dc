/*
 * zone.h - time zones by name, from the system's tz database.
 *
 * libc knows one zone a process (TZ); whoever serves several reads the compiled files
 * himself: $TZDIR, or else /usr/share/zoneinfo. "UTC" needs no file.
 *
 * A zone is read-only once it is open. Times are seconds since 1970, UTC. Nothing
 * yields.
 */
#ifndef FORKMARK_COMMON_ZONE_H
#define FORKMARK_COMMON_ZONE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct zone;

/* By its name, such as "Europe/Berlin". NULL, and *ret_error (static text). */
struct zone *zone_open(const char *name, const char **ret_error);
/* From a file's content (RFC 8536, any version). NULL when it is none. */
struct zone *zone_read(const void *data, size_t length);
void zone_free(struct zone *zone); /* NULL is fine */

/* Seconds east of UTC at that time. */
int32_t zone_offset(const struct zone *zone, int64_t at);
/* What that is called there: "CET". Lives as long as the zone. */
const char *zone_abbreviation(const struct zone *zone, int64_t at);
/* The first moment after `at` from which on the offset is another; INT64_MAX: none. */
int64_t zone_next_change(const struct zone *zone, int64_t at);

#endif
