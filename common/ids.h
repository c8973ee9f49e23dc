/*
 * ids.h - random names and digests, all from OpenSSL.
 */
#ifndef FORKMARK_COMMON_IDS_H
#define FORKMARK_COMMON_IDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UUID_SIZE       37 /* 36 characters and NUL */
#define SHA256_HEX_SIZE 65

/* Random UUID, version 4 (RFC 9562). */
void id_uuid(char ret[UUID_SIZE]);
/* `digits` random lower-case hex digits and a NUL. */
void id_hex(char *ret, size_t digits);
void id_random(void *ret, size_t size);

void sha256(const void *data, size_t length, uint8_t ret[32]);
void sha256_hex(const void *data, size_t length, char ret[SHA256_HEX_SIZE]);
void hmac_sha256(const void *key, size_t key_length, const void *data, size_t length,
                 uint8_t ret[32]);
/* In constant time for equal lengths. */
bool secret_equals(const char *a, size_t a_length, const char *b, size_t b_length);

#endif
