/*
 * redis_tls.h - TLS on a connected socket, for redis_stream.c and redis_login.c alone.
 */
#ifndef FORKMARK_COMMON_REDIS_TLS_H
#define FORKMARK_COMMON_REDIS_TLS_H

#include "common/redis_url.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct redis_tls;

/* Borrows the descriptor. NULL with the reason in `error`. */
struct redis_tls *redis_tls_new(int fd, const struct redis_address *address, char *error,
                                size_t error_size);
void redis_tls_free(struct redis_tls *tls); /* NULL is fine */
/* Yields. 0, or a negative errno with the reason, and what helps, in `error`; -EACCES: it
 * will fail again until somebody changes something. */
int redis_tls_handshake(struct redis_tls *tls, uint64_t until_ms, char *error,
                        size_t error_size);
/* Behind a -EACCES: the reason. */
const char *redis_tls_refused(const struct redis_tls *tls);
extern const char redis_tls_plain[]; /* what is said of a server without TLS */
/* As redis_stream_read() and redis_stream_write(). */
ssize_t redis_tls_read(struct redis_tls *tls, void *data, size_t size);
ssize_t redis_tls_write(struct redis_tls *tls, const void *data, size_t size);
bool redis_tls_lacks_certificate(const struct redis_tls *tls);
extern const char redis_tls_no_certificate[]; /* what is said then */
bool redis_tls_has_more(const struct redis_tls *tls);
bool redis_tls_wants_write(const struct redis_tls *tls);

#endif
