/*
 * utf8.h - what RQ's readers insist on: text that is UTF-8.
 */
#ifndef FORKMARK_JOBS_RQ_UTF8_H
#define FORKMARK_JOBS_RQ_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;

/* Strict: no surrogates, no overlong forms, nothing past U+10FFFF. */
bool utf8_is_valid(const void *text, size_t length);
/* One character, at most U+10FFFF. */
void utf8_add(struct buf *out, uint32_t character);

#endif
