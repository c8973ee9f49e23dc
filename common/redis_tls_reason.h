/*
 * redis_tls_reason.h - why a hand shake failed, and what helps, for redis_tls.c alone.
 */
#ifndef FORKMARK_COMMON_REDIS_TLS_REASON_H
#define FORKMARK_COMMON_REDIS_TLS_REASON_H

#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stddef.h>

/* Of a certificate that was refused with this X509_V_ERR_...; `name` is what it should
 * have been for. */
void redis_tls_refusal(int verdict, X509 *certificate, const char *name, char *ret,
                       size_t size);
/* Of a hand shake that ended otherwise, from OpenSSL's queue of errors. */
void redis_tls_failure(char *ret, size_t size);

#endif
