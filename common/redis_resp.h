/*
 * redis_resp.h - commands as Redis reads them, straight into a buffer.
 *
 * hiredis does the same by way of a block of its own for each command; on the
 * path of every request that copy is worth avoiding.
 */
#ifndef FORKMARK_COMMON_REDIS_RESP_H
#define FORKMARK_COMMON_REDIS_RESP_H

#include <stdarg.h>
#include <stddef.h>

struct buf;

/* A command's head, to be followed by `argc` calls of redis_resp_arg(). */
void redis_resp_head(struct buf *out, size_t argc);
void redis_resp_arg(struct buf *out, const char *data, size_t length);
void redis_resp_int(struct buf *out, long long number); /* as an argument */
/* A whole command; lengths NULL: strlen. */
void redis_resp_argv(struct buf *out, size_t argc, const char *const *argv,
                     const size_t *lengths);
/* The same of texts written out in the call. */
#define redis_resp_texts(out, ...)                                                 \
    redis_resp_argv((out),                                                         \
                    sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *), \
                    (const char *const[]){ __VA_ARGS__ }, NULL)
/* A whole command by hiredis' format (%s, %b with a size_t, %lld ...). */
void redis_resp_format(struct buf *out, const char *format, va_list args);
/* The key (redis_slot.h) of the command that begins at `offset`; NULL: it has none. */
const char *redis_resp_key(const struct buf *text, size_t offset, size_t *ret_length);

#endif
