/*
 * test_token.c - tokens round trip, foreign tokens are read, tampered ones are not.
 */
#include "common/arena.h"
#include "common/clock.h"
#include "common/token.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SECRET "test-secret"
#define UUID_A "e40d870a-40a3-4e7e-b989-b88ca5dff94f"
#define UUID_B "b6655c55-0a70-4d6a-a364-f25f54375dff"
#define UUID_C "081ea73b-4c97-4ae0-b9c9-a20ef1c84084"
#define HEADER "{\"alg\":\"HS256\",\"typ\":\"JWT\"}"

/* An encoder of the test's own, so that writer and reader are not judged by themselves.
 */
static size_t encode64(const void *data, size_t length, char *out)
{
    static const char set[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const unsigned char *in = data;
    size_t at = 0;

    for (size_t i = 0; i < length; i += 3) {
        unsigned v = (unsigned)in[i] << 16;
        if (i + 1 < length)
            v |= (unsigned)in[i + 1] << 8;
        if (i + 2 < length)
            v |= in[i + 2];
        out[at++] = set[v >> 18];
        out[at++] = set[v >> 12 & 63];
        if (i + 1 < length)
            out[at++] = set[v >> 6 & 63];
        if (i + 2 < length)
            out[at++] = set[v & 63];
    }
    out[at] = '\0';
    return at;
}

static size_t forge(const char *header, const char *payload, const char *secret,
                    char out[8192])
{
    uint8_t mac[32];
    size_t at = encode64(header, strlen(header), out);

    out[at++] = '.';
    at += encode64(payload, strlen(payload), out + at);
    hmac_sha256(secret, strlen(secret), out, at, mac);
    out[at++] = '.';
    return at + encode64(mac, sizeof(mac), out + at);
}

static void test_round_trip(void **state)
{
    struct arena *arena = arena_new(0);
    struct token made, read;

    (void)state;
    token_make(&made, TOKEN_REFRESH, 42, UUID_C, 3600);
    assert_int_equal(made.expires_at - made.issued_at, 3600);
    assert_string_not_equal(made.jti, made.csrf);

    char *text = token_write(arena, &made, SECRET);
    assert_int_equal(token_read(text, strlen(text), SECRET, &read), TOKEN_OK);
    assert_int_equal(read.type, TOKEN_REFRESH);
    assert_int_equal(read.user_id, 42);
    assert_string_equal(read.jti, made.jti);
    assert_string_equal(read.csrf, made.csrf);
    assert_string_equal(read.family_id, UUID_C);
    assert_int_equal(read.issued_at, made.issued_at);
    assert_int_equal(read.expires_at, made.expires_at);
    arena_free(arena);
}

static void test_no_family(void **state)
{
    struct arena *arena = arena_new(0);
    struct token made, read;

    (void)state;
    token_make(&made, TOKEN_ACCESS, INT32_MAX, NULL, 3600);
    char *text = token_write(arena, &made, SECRET);
    assert_int_equal(token_read(text, strlen(text), SECRET, &read), TOKEN_OK);
    assert_string_equal(read.family_id, "");
    assert_int_equal(read.user_id, INT32_MAX);
    arena_free(arena);
}

static void test_expired_is_filled(void **state)
{
    struct arena *arena = arena_new(0);
    struct token made, read = { 0 };

    (void)state;
    token_make(&made, TOKEN_ACCESS, 7, UUID_C, -1);
    char *text = token_write(arena, &made, SECRET);
    assert_int_equal(token_read(text, strlen(text), SECRET, &read), TOKEN_EXPIRED);
    assert_int_equal(read.user_id, 7);
    assert_string_equal(read.jti, made.jti);
    arena_free(arena);
}

/* Every single byte of a token counts. */
static void test_each_byte_matters(void **state)
{
    struct arena *arena = arena_new(0);
    struct token made, read = { .user_id = 99 };

    (void)state;
    token_make(&made, TOKEN_ACCESS, 1, UUID_C, 3600);
    char *text = token_write(arena, &made, SECRET);
    size_t length = strlen(text);

    for (size_t i = 0; i < length; i++) {
        char old = text[i];
        text[i] = old == 'A' ? 'B' : 'A';
        assert_int_equal(token_read(text, length, SECRET, &read), TOKEN_BAD);
        text[i] = old;
        assert_int_equal(token_read(text, i, SECRET, &read), TOKEN_BAD);
    }
    assert_int_equal(read.user_id, 99);
    assert_int_equal(token_read(text, length, "other-secret", &read), TOKEN_BAD);
    assert_int_equal(token_read(text, length, SECRET, &read), TOKEN_OK);
    arena_free(arena);
}

#define BASE "\"jti\":\"" UUID_A "\",\"csrf\":\"" UUID_B "\",\"iat\":1000,\"nbf\":1000"
#define GOOD "{\"sub\":\"5\",\"type\":\"access\",\"exp\":9999999999," BASE "}"

static const struct {
    const char *header, *payload;
    enum token_state expected;
} signed_tokens[] = {
    { HEADER, GOOD, TOKEN_OK },
    /* PyJWT writes the claims in another order and with other extras. */
    { HEADER,
      "{\"fresh\":false,\"sub\":\"5\",\"type\":\"access\"," BASE
      ",\"exp\":9999999999,\"family_id\":\"" UUID_C "\",\"aud\":null}",
      TOKEN_OK },
    { HEADER, "{ \"sub\" : \"5\" , \"type\":\"access\",\n\"exp\":9999999999," BASE " }",
      TOKEN_OK },
    { HEADER, "{\"sub\":\"5\",\"type\":\"refresh\",\"exp\":2000," BASE "}",
      TOKEN_EXPIRED },
    /* Another header, even for the same algorithm. */
    { "{\"alg\":\"none\",\"typ\":\"JWT\"}", GOOD, TOKEN_BAD },
    { "{\"alg\":\"HS512\",\"typ\":\"JWT\"}", GOOD, TOKEN_BAD },
    { "{\"typ\":\"JWT\",\"alg\":\"HS256\"}", GOOD, TOKEN_BAD },
    { "{\"alg\":\"HS256\",\"typ\":\"JWT\",\"kid\":\"x\"}", GOOD, TOKEN_BAD },
    /* Bad claims. */
    { HEADER, "{\"sub\":5,\"type\":\"access\",\"exp\":9999999999," BASE "}", TOKEN_BAD },
    { HEADER, "{\"sub\":\"\",\"type\":\"access\",\"exp\":9999999999," BASE "}",
      TOKEN_BAD },
    { HEADER, "{\"sub\":\"0\",\"type\":\"access\",\"exp\":9999999999," BASE "}",
      TOKEN_BAD },
    { HEADER, "{\"sub\":\"-5\",\"type\":\"access\",\"exp\":9999999999," BASE "}",
      TOKEN_BAD },
    { HEADER, "{\"sub\":\"2147483648\",\"type\":\"access\",\"exp\":9999999999," BASE "}",
      TOKEN_BAD },
    { HEADER, "{\"sub\":\"5\",\"type\":\"admin\",\"exp\":9999999999," BASE "}",
      TOKEN_BAD },
    { HEADER, "{\"sub\":\"5\",\"type\":\"access\",\"exp\":\"9999999999\"," BASE "}",
      TOKEN_BAD },
    { HEADER, "{\"sub\":\"5\",\"type\":\"access\",\"exp\":1e9," BASE "}", TOKEN_BAD },
    { HEADER, "{\"sub\":\"5\",\"type\":\"access\"," BASE "}", TOKEN_BAD },
    { HEADER, "{\"type\":\"access\",\"exp\":9999999999," BASE "}", TOKEN_BAD },
    { HEADER,
      "{\"sub\":\"5\",\"sub\":\"6\",\"type\":\"access\",\"exp\":9999999999," BASE "}",
      TOKEN_BAD },
    { HEADER,
      "{\"sub\":\"5\",\"type\":\"access\",\"exp\":9999999999,\"family_id\":\"x\"," BASE
      "}",
      TOKEN_BAD },
    { HEADER,
      "{\"sub\":\"5\",\"type\":\"access\",\"iat\":1,\"exp\":9999999999,\"csrf\":\"" UUID_B
      "\",\"jti\":\"e40d870a-40a3-4e7e-b989-b88ca5dff9'f\"}",
      TOKEN_BAD },
    { HEADER,
      "{\"sub\":\"5\",\"type\":\"access\",\"iat\":1,\"nbf\":9999999998,"
      "\"exp\":9999999999,\"csrf\":\"" UUID_B "\",\"jti\":\"" UUID_A "\"}",
      TOKEN_BAD },
    /* No flat object. */
    { HEADER, "", TOKEN_BAD },
    { HEADER, "{}", TOKEN_BAD },
    { HEADER, "[]", TOKEN_BAD },
    { HEADER, "{\"sub\":", TOKEN_BAD },
    { HEADER, "{\"sub\":\"5", TOKEN_BAD },
    { HEADER, GOOD "x", TOKEN_BAD },
    { HEADER, "{\"x\":{\"y\":1}}", TOKEN_BAD },
};

static void test_signed_tokens(void **state)
{
    char text[8192];

    (void)state;
    for (size_t i = 0; i < sizeof(signed_tokens) / sizeof(signed_tokens[0]); i++) {
        struct token read;
        size_t length =
            forge(signed_tokens[i].header, signed_tokens[i].payload, SECRET, text);
        enum token_state got = token_read(text, length, SECRET, &read);

        if (got != signed_tokens[i].expected)
            fail_msg("row %zu, %s: %d", i, signed_tokens[i].payload, got);
    }
}

static const char *const garbage[] = { "", ".", "..", "...", "a.b.c", "null", "eyJ" };

static void test_garbage(void **state)
{
    struct token read;

    (void)state;
    for (size_t i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++)
        assert_int_equal(token_read(garbage[i], strlen(garbage[i]), SECRET, &read),
                         TOKEN_BAD);

    /* A good start and a great deal behind it is refused by its length. */
    char *large = malloc(100001);
    assert_non_null(large);
    memset(large, 'A', 100000);
    memcpy(large, "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.", 37);
    large[100000 - 44] = '.';
    large[100000] = '\0';
    assert_int_equal(token_read(large, 100000, SECRET, &read), TOKEN_BAD);
    free(large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_no_family),
        cmocka_unit_test(test_expired_is_filled),
        cmocka_unit_test(test_each_byte_matters),
        cmocka_unit_test(test_signed_tokens),
        cmocka_unit_test(test_garbage),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
