/*
 * decode.h - %XX in paths and queries.
 */
#ifndef FORKMARK_WORKER_DECODE_H
#define FORKMARK_WORKER_DECODE_H

#include <stddef.h>

struct arena;

/*
 * Decoded into the arena; `ret_length` may be NULL. A % that no two hex digits
 * follow stands for itself. NUL (%00) is dropped: no text of ours can hold one.
 * Bytes that are no UTF-8 become U+FFFD, as in Fuze.
 */
char *decode_path(struct arena *arena, const char *text, size_t length,
                  size_t *ret_length);
/* The same, and + is a space. */
char *decode_form(struct arena *arena, const char *text, size_t length,
                  size_t *ret_length);

#endif
