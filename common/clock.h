/*
 * clock.h - the two clocks, and the two ways times are written.
 *
 * Waits and ages use the monotonic clock; what is stored or shown uses UTC.
 */
#ifndef FORKMARK_COMMON_CLOCK_H
#define FORKMARK_COMMON_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

uint64_t clock_ms(void);     /* monotonic, milliseconds */
uint64_t clock_us(void);     /* monotonic, microseconds */
int64_t clock_unix(void);    /* UTC, seconds since 1970 */
int64_t clock_unix_us(void); /* UTC, microseconds since 1970 */

/* "2026-11-23T14:36:50.761872", no zone suffix: the API's form (contract 1.13). */
#define CLOCK_TEXT_SIZE 32
const char *clock_iso(int64_t unix_us, char text[CLOCK_TEXT_SIZE]);
/* The same from PostgreSQL's text of a timestamp, "2026-11-23 14:36:50.761872", without
 * the way through the calendar. False: it is of another form (infinity, a zone, BC). */
bool clock_iso_copy(const char *text, size_t length, char ret[CLOCK_TEXT_SIZE]);
/* "2026-11-23T14:36:50.761872Z": RQ's TS form, always six digits. */
const char *clock_iso_z(int64_t unix_us, char text[CLOCK_TEXT_SIZE]);
/* Reads either form, 0 to 6 fraction digits, `T` or a space. 0 or -EINVAL. */
int clock_parse(const char *text, size_t length, int64_t *ret_unix_us);

#endif
