/*
 * base64.h - the standard alphabet with padding, as the results stream wants it.
 */
#ifndef FORKMARK_JOBS_RQ_BASE64_H
#define FORKMARK_JOBS_RQ_BASE64_H

#include <stdbool.h>
#include <stddef.h>

struct buf;

void base64_write(struct buf *out, const void *data, size_t length);
/* False when it is no base64. */
bool base64_read(struct buf *out, const char *text, size_t length);

#endif
