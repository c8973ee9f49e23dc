/*
 * charset.h - a page's bytes as UTF-8, whatever it was written in.
 *
 * In order: a byte order mark, the Content-Type header, for HTML a <meta> in the
 * first kilobytes, UTF-8 if the bytes are valid UTF-8, else windows-1252.
 */
#ifndef FORKMARK_JOBS_EXTRACT_CHARSET_H
#define FORKMARK_JOBS_EXTRACT_CHARSET_H

#include <stdbool.h>
#include <stddef.h>

#define CHARSET_NAME_SIZE 48

/* "charset=" of a Content-Type, lower-cased; "" when there is none. */
void charset_of_header(const char *content_type, char ret[CHARSET_NAME_SIZE]);
/* The charset a <meta> near the page's start declares; "" when there is none. */
void charset_of_meta(const char *body, size_t length, char ret[CHARSET_NAME_SIZE]);

/*
 * Valid UTF-8 without NUL bytes, NUL-ended, from malloc. Bytes that mean nothing
 * in the page's charset become U+FFFD.
 */
char *charset_to_utf8(const char *body, size_t length, const char *content_type,
                      bool is_html, size_t *ret_length);

#endif
