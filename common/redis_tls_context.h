/*
 * redis_tls_context.h - what connections of a kind share, for redis_tls.c alone.
 */
#ifndef FORKMARK_COMMON_REDIS_TLS_CONTEXT_H
#define FORKMARK_COMMON_REDIS_TLS_CONTEXT_H

#include "common/redis_url.h"
#include <openssl/ssl.h>
#include <stddef.h>

/*
 * The context for this address's files, kept for the life of the process; a file that
 * was replaced since is read again. NULL with the reason, and the option, in `error`.
 */
SSL_CTX *redis_tls_context(const struct redis_address *address, char *error,
                           size_t error_size);

#endif
