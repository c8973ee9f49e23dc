/*
 * token.c - writing and reading HS256 tokens.
 *
 * Reading is on the way of every request, so it does no allocation and no general
 * JSON: the header is one constant text, and what stands behind a good signature is a
 * flat object that this server (or Fuze, with the same secret) wrote.
 */
#include "common/token.h"
#include "common/arena.h"
#include "common/clock.h"

#include <stdio.h>
#include <string.h>

/* {"alg":"HS256","typ":"JWT"}, encoded, and its dot. */
#define HEADER        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."
#define HEADER_LENGTH (sizeof(HEADER) - 1)

/* Ours take about 300 bytes; more is nobody's token. */
#define PAYLOAD_MAX      1024
#define SIGNATURE_LENGTH 43 /* 32 bytes, encoded */

/* Servers' clocks differ a little: a token made this instant by a neighbour is good. */
#define CLOCK_SKEW_S 5

static const char base64url[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* The value of each base64url character plus one; 0: not one. */
static const uint8_t base64url_value[256] = {
    ['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,
    ['H'] = 8,  ['I'] = 9,  ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14,
    ['O'] = 15, ['P'] = 16, ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21,
    ['V'] = 22, ['W'] = 23, ['X'] = 24, ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28,
    ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32, ['g'] = 33, ['h'] = 34, ['i'] = 35,
    ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40, ['o'] = 41, ['p'] = 42,
    ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48, ['w'] = 49,
    ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
    ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['-'] = 63,
    ['_'] = 64,
};

/* Without padding (RFC 7515, 2). Returns the characters written. */
static size_t encode(const uint8_t *data, size_t length, char *ret)
{
    uint32_t bits = 0;
    int have = 0;
    size_t at = 0;

    for (size_t i = 0; i < length; i++) {
        bits = bits << 8 | data[i];
        have += 8;
        for (; have >= 6; have -= 6)
            ret[at++] = base64url[bits >> (have - 6) & 63];
    }
    if (have > 0)
        ret[at++] = base64url[bits << (6 - have) & 63];
    return at;
}

/* One text per value only: no padding, and left-over bits must be zero. */
static bool decode(const char *text, size_t length, uint8_t *ret, size_t *ret_length)
{
    uint32_t bits = 0;
    int have = 0;
    size_t at = 0;

    for (size_t i = 0; i < length; i++) {
        uint8_t value = base64url_value[(unsigned char)text[i]];

        if (value == 0)
            return false;
        bits = bits << 6 | (uint32_t)(value - 1);
        have += 6;
        if (have >= 8) {
            have -= 8;
            ret[at++] = (uint8_t)(bits >> have);
        }
    }
    if (have >= 6 || (bits & ((1u << have) - 1)) != 0)
        return false;
    *ret_length = at;
    return true;
}

static void sign(const char *text, size_t length, const char *secret,
                 char ret[SIGNATURE_LENGTH])
{
    uint8_t mac[32];

    hmac_sha256(secret, strlen(secret), text, length, mac);
    encode(mac, sizeof(mac), ret);
}

/*
 * Claims. A signed payload is a flat object of texts without escapes, whole numbers and
 * words; anything else is no token of ours.
 */
struct claim {
    const char *key, *value;
    size_t key_length, value_length;
    bool is_text;
};

static void skip_space(const char **at, const char *end)
{
    while (*at < end && (**at == ' ' || **at == '\n' || **at == '\t' || **at == '\r'))
        (*at)++;
}

static bool skip_char(const char **at, const char *end, char c)
{
    skip_space(at, end);
    if (*at == end || **at != c)
        return false;
    (*at)++;
    return true;
}

static bool read_quoted(const char **at, const char *end, const char **ret,
                        size_t *length)
{
    if (!skip_char(at, end, '"'))
        return false;
    *ret = *at;
    while (*at < end && **at != '"') {
        if (**at == '\\' || (unsigned char)**at < 0x20)
            return false;
        (*at)++;
    }
    *length = (size_t)(*at - *ret);
    return skip_char(at, end, '"');
}

static bool is_word_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '-';
}

static bool read_claim(const char **at, const char *end, struct claim *ret)
{
    if (!read_quoted(at, end, &ret->key, &ret->key_length) || !skip_char(at, end, ':'))
        return false;
    skip_space(at, end);
    ret->is_text = *at < end && **at == '"';
    if (ret->is_text)
        return read_quoted(at, end, &ret->value, &ret->value_length);

    ret->value = *at;
    while (*at < end && is_word_char(**at))
        (*at)++;
    ret->value_length = (size_t)(*at - ret->value);
    return ret->value_length > 0;
}

static bool read_digits(const struct claim *claim, int64_t max, int64_t *ret)
{
    int64_t value = 0;

    if (claim->value_length == 0 || claim->value_length > 18)
        return false;
    for (size_t i = 0; i < claim->value_length; i++) {
        char c = claim->value[i];

        if (c < '0' || c > '9')
            return false;
        value = value * 10 + (c - '0');
    }
    if (value > max)
        return false;
    *ret = value;
    return true;
}

/* These end up in keys and statements: nothing but what a UUID is made of. */
static bool read_uuid(const struct claim *claim, char ret[UUID_SIZE])
{
    if (!claim->is_text || claim->value_length != UUID_SIZE - 1)
        return false;
    for (size_t i = 0; i < UUID_SIZE - 1; i++) {
        char c = claim->value[i];
        bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;

        if (is_dash ? c != '-'
                    : !((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') ||
                        (c >= 'A' && c <= 'F')))
            return false;
    }
    memcpy(ret, claim->value, UUID_SIZE - 1);
    ret[UUID_SIZE - 1] = '\0';
    return true;
}

/* One function per claim; those not in the table (`fresh`) are passed over. */
struct reading {
    struct token token;
    int64_t not_before;
};

static bool take_sub(const struct claim *claim, struct reading *r)
{
    int64_t id;

    if (!claim->is_text || !read_digits(claim, INT32_MAX, &id) || id == 0)
        return false;
    r->token.user_id = (int32_t)id;
    return true;
}

static bool take_type(const struct claim *claim, struct reading *r)
{
    bool is_access = claim->value_length == 6 && memcmp(claim->value, "access", 6) == 0;
    bool is_refresh = claim->value_length == 7 && memcmp(claim->value, "refresh", 7) == 0;

    r->token.type = is_refresh ? TOKEN_REFRESH : TOKEN_ACCESS;
    return claim->is_text && (is_access || is_refresh);
}

static bool take_jti(const struct claim *claim, struct reading *r)
{
    return read_uuid(claim, r->token.jti);
}

static bool take_csrf(const struct claim *claim, struct reading *r)
{
    return read_uuid(claim, r->token.csrf);
}

static bool take_family(const struct claim *claim, struct reading *r)
{
    return read_uuid(claim, r->token.family_id);
}

static bool take_iat(const struct claim *claim, struct reading *r)
{
    return !claim->is_text && read_digits(claim, INT64_MAX, &r->token.issued_at);
}

static bool take_nbf(const struct claim *claim, struct reading *r)
{
    return !claim->is_text && read_digits(claim, INT64_MAX, &r->not_before);
}

static bool take_exp(const struct claim *claim, struct reading *r)
{
    return !claim->is_text && read_digits(claim, INT64_MAX, &r->token.expires_at);
}

static const struct claim_rule {
    const char *key;
    bool (*take)(const struct claim *claim, struct reading *r);
    bool is_optional;
} claim_rules[] = {
    { "sub", take_sub, false },
    { "type", take_type, false },
    { "jti", take_jti, false },
    { "csrf", take_csrf, false },
    { "iat", take_iat, false },
    { "nbf", take_nbf, true },
    { "exp", take_exp, false },
    { "family_id", take_family, true }, /* older servers' tokens have none */
};
#define CLAIM_RULES (sizeof(claim_rules) / sizeof(claim_rules[0]))

static bool take_claim(const struct claim *claim, struct reading *r, unsigned *seen)
{
    for (size_t i = 0; i < CLAIM_RULES; i++) {
        const struct claim_rule *rule = &claim_rules[i];

        if (strlen(rule->key) != claim->key_length ||
            memcmp(rule->key, claim->key, claim->key_length) != 0)
            continue;
        if (*seen & 1u << i)
            return false;
        *seen |= 1u << i;
        return rule->take(claim, r);
    }
    return true;
}

static bool read_claims(const char *at, size_t length, struct reading *r)
{
    const char *end = at + length;
    unsigned seen = 0;

    if (!skip_char(&at, end, '{'))
        return false;
    do {
        struct claim claim;

        if (!read_claim(&at, end, &claim) || !take_claim(&claim, r, &seen))
            return false;
    } while (skip_char(&at, end, ','));
    if (!skip_char(&at, end, '}'))
        return false;
    skip_space(&at, end);

    for (size_t i = 0; i < CLAIM_RULES; i++) {
        if (!claim_rules[i].is_optional && !(seen & 1u << i))
            return false;
    }
    return at == end;
}

void token_make(struct token *ret, enum token_type type, int32_t user_id,
                const char *family_id, int64_t lifetime_s)
{
    *ret = (struct token){ .type = type, .user_id = user_id, .issued_at = clock_unix() };
    ret->expires_at = ret->issued_at + lifetime_s;
    id_uuid(ret->jti);
    id_uuid(ret->csrf);
    if (family_id)
        snprintf(ret->family_id, sizeof(ret->family_id), "%s", family_id);
}

char *token_write(struct arena *arena, const struct token *token, const char *secret)
{
    const char *type = token->type == TOKEN_REFRESH ? "refresh" : "access";
    bool has_family = token->family_id[0] != '\0';
    char payload[PAYLOAD_MAX];

    int length = snprintf(
        payload, sizeof(payload),
        "{\"fresh\":false,\"iat\":%lld,\"jti\":\"%s\",\"type\":\"%s\",\"sub\":\"%d\","
        "\"nbf\":%lld,\"csrf\":\"%s\",\"exp\":%lld%s%s%s}",
        (long long)token->issued_at, token->jti, type, token->user_id,
        (long long)token->issued_at, token->csrf, (long long)token->expires_at,
        has_family ? ",\"family_id\":\"" : "", token->family_id, has_family ? "\"" : "");

    size_t room = HEADER_LENGTH + ((size_t)length * 4 + 2) / 3 + 1 + SIGNATURE_LENGTH + 1;
    char *text = arena_alloc(arena, room);
    memcpy(text, HEADER, HEADER_LENGTH);
    size_t at = HEADER_LENGTH;
    at += encode((const uint8_t *)payload, (size_t)length, text + at);
    text[at] = '.';
    sign(text, at, secret, text + at + 1);
    text[at + 1 + SIGNATURE_LENGTH] = '\0';
    return text;
}

enum token_state token_read(const char *text, size_t length, const char *secret,
                            struct token *ret)
{
    struct reading reading = { 0 };
    char signature[SIGNATURE_LENGTH];
    uint8_t payload[PAYLOAD_MAX];
    size_t payload_length;

    if (length <= HEADER_LENGTH + SIGNATURE_LENGTH + 1 ||
        memcmp(text, HEADER, HEADER_LENGTH) != 0)
        return TOKEN_BAD;
    size_t signed_length = length - SIGNATURE_LENGTH - 1;
    if (text[signed_length] != '.' ||
        (signed_length - HEADER_LENGTH) / 4 * 3 + 3 > PAYLOAD_MAX)
        return TOKEN_BAD;

    sign(text, signed_length, secret, signature);
    if (!secret_equals(signature, SIGNATURE_LENGTH, text + signed_length + 1,
                       SIGNATURE_LENGTH))
        return TOKEN_BAD;
    if (!decode(text + HEADER_LENGTH, signed_length - HEADER_LENGTH, payload,
                &payload_length) ||
        !read_claims((const char *)payload, payload_length, &reading))
        return TOKEN_BAD;

    int64_t now = clock_unix();
    if (reading.not_before > now + CLOCK_SKEW_S)
        return TOKEN_BAD;
    *ret = reading.token;
    return ret->expires_at <= now ? TOKEN_EXPIRED : TOKEN_OK;
}
