/*
 * ids.c - see ids.h.
 */
#include "common/ids.h"
#include "common/log.h"
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

static void to_hex(const uint8_t *bytes, size_t count, char *ret)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < count; i++) {
        *ret++ = digits[bytes[i] >> 4];
        *ret++ = digits[bytes[i] & 15];
    }
    *ret = '\0';
}

void id_random(void *ret, size_t size)
{
    if (RAND_bytes(ret, (int)size) != 1)
        fatal("the system has no random numbers to give");
}

void id_uuid(char ret[UUID_SIZE])
{
    uint8_t bytes[16];
    char hex[33];

    id_random(bytes, sizeof(bytes));
    bytes[6] = (uint8_t)((bytes[6] & 0x0f) | 0x40); /* version 4 */
    bytes[8] = (uint8_t)((bytes[8] & 0x3f) | 0x80); /* RFC variant */
    to_hex(bytes, sizeof(bytes), hex);
    snprintf(ret, UUID_SIZE, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12,
             hex + 16, hex + 20);
}

void id_hex(char *ret, size_t digits)
{
    uint8_t bytes[32];
    char hex[2 * sizeof(bytes) + 1];

    while (digits > 0) {
        size_t part = digits < 2 * sizeof(bytes) ? digits : 2 * sizeof(bytes);

        id_random(bytes, sizeof(bytes));
        to_hex(bytes, sizeof(bytes), hex);
        memcpy(ret, hex, part);
        ret += part;
        digits -= part;
    }
    *ret = '\0';
}

void sha256(const void *data, size_t length, uint8_t ret[32])
{
    SHA256(data, length, ret);
}

void sha256_hex(const void *data, size_t length, char ret[SHA256_HEX_SIZE])
{
    uint8_t digest[32];

    sha256(data, length, digest);
    to_hex(digest, sizeof(digest), ret);
}

/*
 * The key that was used last stays ready: a process signs and checks with one key, each
 * request once, and setting a key up costs more than the hash itself.
 */
static _Thread_local struct {
    EVP_MAC_CTX *context;
    unsigned char key[256];
    size_t key_length;
} ready;

static void set_key(const void *key, size_t key_length)
{
    char digest[] = "SHA256";
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };

    if (!ready.context) {
        EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);

        ready.context = mac ? EVP_MAC_CTX_new(mac) : NULL;
        EVP_MAC_free(mac);
    }
    if (!ready.context || !EVP_MAC_init(ready.context, key, key_length, parameters))
        fatal("HMAC-SHA256 is not available");
    ready.key_length = key_length <= sizeof(ready.key) ? key_length : 0;
    memcpy(ready.key, key, ready.key_length);
}

void hmac_sha256(const void *key, size_t key_length, const void *data, size_t length,
                 uint8_t ret[32])
{
    size_t size = 32;

    if (key_length == 0 || key_length != ready.key_length ||
        CRYPTO_memcmp(key, ready.key, key_length) != 0)
        set_key(key, key_length);
    else if (!EVP_MAC_init(ready.context, NULL, 0, NULL))
        fatal("HMAC-SHA256 is not available");
    if (!EVP_MAC_update(ready.context, data, length) ||
        !EVP_MAC_final(ready.context, ret, &size, size))
        fatal("HMAC-SHA256 is not available");
}

bool secret_equals(const char *a, size_t a_length, const char *b, size_t b_length)
{
    return a_length == b_length && CRYPTO_memcmp(a, b, a_length) == 0;
}
