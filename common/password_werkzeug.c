/*
 * password_werkzeug.c - scrypt:N:r:p$salt$hex and pbkdf2:sha256:n$salt$hex.
 */
#include "common/password_werkzeug.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define DIGEST_MAX 64
#define MEMORY_MAX (256u * 1024 * 1024)

/* "method:a:b:c$salt$hex", cut into its pieces. */
struct pieces {
    uint64_t numbers[3];
    int number_count;
    const char *salt;
    size_t salt_length;
    uint8_t digest[DIGEST_MAX];
    size_t digest_length;
};

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

static bool read_hex(const char *text, struct pieces *ret)
{
    size_t length = strlen(text);

    if (length == 0 || length % 2 != 0 || length / 2 > DIGEST_MAX)
        return false;
    for (size_t i = 0; i < length; i += 2) {
        int high = hex_value(text[i]), low = hex_value(text[i + 1]);

        if (high < 0 || low < 0)
            return false;
        ret->digest[i / 2] = (uint8_t)(high << 4 | low);
    }
    ret->digest_length = length / 2;
    return true;
}

/* `at` stands behind the method's name, on ':' or '$'. */
static bool read_pieces(const char *at, struct pieces *ret)
{
    while (*at == ':') {
        char *end;

        if (ret->number_count == 3 || at[1] < '0' || at[1] > '9')
            return false;
        errno = 0;
        ret->numbers[ret->number_count++] = strtoull(at + 1, &end, 10);
        if (errno != 0)
            return false;
        at = end;
    }
    if (*at != '$')
        return false;
    ret->salt = at + 1;
    const char *end = strchr(ret->salt, '$');
    if (!end)
        return false;
    ret->salt_length = (size_t)(end - ret->salt);
    return read_hex(end + 1, ret);
}

static bool derive_scrypt(const char *password, const struct pieces *p, uint8_t *ret)
{
    uint64_t n = p->numbers[0], r = p->numbers[1], parallel = p->numbers[2];

    if (p->number_count != 3 || n < 2 || n > 1u << 20 || r < 1 || r > 64 ||
        parallel < 1 || parallel > 16 || 132 * n * r * parallel > MEMORY_MAX)
        return false;
    return EVP_PBE_scrypt(password, strlen(password), (const unsigned char *)p->salt,
                          p->salt_length, n, r, parallel, MEMORY_MAX + 1024 * 1024, ret,
                          p->digest_length) == 1;
}

static bool derive_pbkdf2(const char *password, const struct pieces *p, uint8_t *ret)
{
    if (p->number_count != 1 || p->numbers[0] < 1 || p->numbers[0] > 5000000 ||
        p->digest_length != 32)
        return false;
    return PKCS5_PBKDF2_HMAC(password, (int)strlen(password),
                             (const unsigned char *)p->salt, (int)p->salt_length,
                             (int)p->numbers[0], EVP_sha256(), (int)p->digest_length,
                             ret) == 1;
}

static const struct method {
    const char *name;
    bool (*derive)(const char *password, const struct pieces *p, uint8_t *ret);
} methods[] = {
    { "pbkdf2:sha256", derive_pbkdf2 },
    { "scrypt", derive_scrypt },
};

bool werkzeug_is_hash(const char *hash)
{
    return strncmp(hash, "scrypt:", 7) == 0 || strncmp(hash, "pbkdf2:", 7) == 0;
}

int werkzeug_verify(const char *password, const char *hash)
{
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        size_t length = strlen(methods[i].name);
        struct pieces pieces = { 0 };
        uint8_t digest[DIGEST_MAX];

        if (strncmp(hash, methods[i].name, length) != 0 || hash[length] != ':')
            continue;
        if (!read_pieces(hash + length, &pieces) ||
            !methods[i].derive(password, &pieces, digest))
            return -EINVAL;
        bool is_same = CRYPTO_memcmp(digest, pieces.digest, pieces.digest_length) == 0;
        OPENSSL_cleanse(digest, sizeof(digest));
        return is_same;
    }
    return -EINVAL;
}
