/*
 * bigint.h - integers beyond 64 bits: kept as bytes, shown and read as decimal digits.
 */
#ifndef FORKMARK_JOBS_RQ_BIGINT_H
#define FORKMARK_JOBS_RQ_BIGINT_H

#include <stddef.h>

struct arena;
struct buf;
struct value;

/* Refused beyond: a reader's time must stay linear in its input. */
#define BIGINT_MAX_BYTES  4096
#define BIGINT_MAX_DIGITS 4300

/* Two's complement, little-endian, at most BIGINT_MAX_BYTES, as decimal digits. */
void bigint_write(struct buf *out, const void *bytes, size_t length);
/* Decimal digits with an optional sign. NULL when they are none, or too many. */
struct value *bigint_read(struct arena *arena, const char *digits, size_t length);

#endif
