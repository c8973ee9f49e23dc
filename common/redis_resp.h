/*
 * redis_resp.h - commands as Redis reads them, straight into a buffer.
 *
 * hiredis does the same by way of a block of its own for each command; on the
 * path of every request that copy is worth avoiding.
 */
#ifndef FORKMARK_COMMON_REDIS_RESP_H
#define FORKMARK_COMMON_REDIS_RESP_H

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

#endif
