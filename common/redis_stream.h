/*
 * redis_stream.h - the bytes to and from a Redis: TCP, Unix socket, or TLS.
 *
 * Opening waits inside a task; reading and writing never wait. TLS speaks
 * through OpenSSL, verifies the server's certificate and name, and names the
 * host (SNI), unless the address allows an unverified one.
 */
#ifndef FORKMARK_COMMON_REDIS_STREAM_H
#define FORKMARK_COMMON_REDIS_STREAM_H

#include "common/redis_url.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct redis_stream;

/*
 * Connects (and shakes hands for TLS) until clock_ms() is `until_ms`; a name is
 * resolved in the thread pool, which may take longer. Yields. 0 and the stream,
 * which the task's arena closes unless redis_stream_keep() is called; or a
 * negative errno with the reason in `error`; -EACCES: it will fail again until somebody
 * changes something (a certificate, an option).
 */
int redis_stream_open(const struct redis_address *address, uint64_t until_ms,
                      struct redis_stream **ret, char *error, size_t error_size);
/* Whether a server that hung up on plain words speaks TLS at that address. Yields, for at
 * most a moment. */
bool redis_stream_speaks_tls(const struct redis_address *address);
/* The caller owns it from here on. */
void redis_stream_keep(struct redis_stream *stream);
void redis_stream_close(struct redis_stream *stream); /* NULL is fine */

int redis_stream_fd(const struct redis_stream *stream);
/* Bytes moved (> 0), -EAGAIN, -ECONNRESET at the end, -EACCES when TLS was broken off for
 * a reason (redis_stream_reason), or another negative errno. */
ssize_t redis_stream_read(struct redis_stream *stream, void *data, size_t size);
ssize_t redis_stream_write(struct redis_stream *stream, const void *data, size_t size);
const char *redis_stream_reason(const struct redis_stream *stream, int rc);
/* The server has asked for a certificate of ours, and got none. */
bool redis_stream_lacks_certificate(const struct redis_stream *stream);
/* Bytes that were taken from the socket and not read yet: no event will tell. */
bool redis_stream_has_more(const struct redis_stream *stream);
/* TLS may have to write before it can read on (a key update). */
bool redis_stream_wants_write(const struct redis_stream *stream);

#endif
