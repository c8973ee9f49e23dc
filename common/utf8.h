/*
 * utf8.h - checking, cleaning and writing UTF-8.
 *
 * PostgreSQL and RQ's readers refuse text that is not UTF-8, so whatever comes from
 * outside as bytes is checked or cleaned before it becomes text.
 */
#ifndef FORKMARK_COMMON_UTF8_H
#define FORKMARK_COMMON_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;

/* U+FFFD, for what is no character. */
#define UTF8_REPLACEMENT "\xEF\xBF\xBD"

size_t utf8_long_span(const unsigned char *at, size_t left);

/* Bytes of the character at `at`, of which `left` (1 or more) are there; 0: it is none.
 * Strict: no surrogates, no overlong forms, nothing past U+10FFFF. */
static inline size_t utf8_span(const unsigned char *at, size_t left)
{
    return *at < 0x80 ? 1 : utf8_long_span(at, left);
}

bool utf8_is_valid(const void *text, size_t length);
/* Of valid text: how many characters it has, and where the `characters`th ends, in bytes
 * (the text's end, when there are not so many). */
size_t utf8_count(const char *text);
size_t utf8_offset(const char *text, size_t characters);
/* One character, at most U+10FFFF; its bytes' number. */
#define UTF8_MAX 4
size_t utf8_put(char out[UTF8_MAX], uint32_t character);
void utf8_add(struct buf *out, uint32_t character);
/* All that is valid; NUL is dropped, each byte that is part of no character replaced. */
void utf8_add_clean(struct buf *out, const char *text, size_t length);

#endif
