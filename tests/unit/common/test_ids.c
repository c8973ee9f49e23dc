/*
 * test_ids.c - random names and digests against published values.
 */
#include "common/ids.h"
#include "tests/unit/testing.h"
#include <ctype.h>
#include <string.h>

static void uuids_are_version_4(void **state)
{
    char one[UUID_SIZE], other[UUID_SIZE];

    (void)state;
    id_uuid(one);
    id_uuid(other);
    assert_int_equal(strlen(one), 36);
    assert_int_equal(one[14], '4');
    assert_non_null(strchr("89ab", one[19]));
    assert_string_not_equal(one, other);
}

static void hex_has_the_asked_length(void **state)
{
    char hex[131];

    (void)state;
    for (size_t digits = 0; digits <= 130; digits += 13) {
        id_hex(hex, digits);
        assert_int_equal(strlen(hex), digits);
        for (size_t i = 0; i < digits; i++)
            assert_true(isxdigit((unsigned char)hex[i]));
    }
}

/* FIPS 180-2, appendix B.1; RFC 4231, test case 2. */
static void digests_match_published_values(void **state)
{
    char hex[SHA256_HEX_SIZE];
    uint8_t mac[32];

    (void)state;
    sha256_hex("abc", 3, hex);
    assert_string_equal(
        hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, mac);
    assert_int_equal(mac[0], 0x5b);
    assert_int_equal(mac[31], 0x43);
}

/* RFC 4231, cases 2, 1 and 6: the key that stays ready is never taken for another. */
static void keys_take_turns(void **state)
{
    static const char jefe[] = "Jefe";
    char ones[20], longer[131], longest[300];
    uint8_t mac[32], again[32];

    (void)state;
    memset(ones, 0x0b, sizeof(ones));
    memset(longer, 0xaa, sizeof(longer));
    memset(longest, 0xaa, sizeof(longest));
    for (int round = 0; round < 3; round++) {
        hmac_sha256(jefe, 4, "what do ya want for nothing?", 28, mac);
        assert_memory_equal(mac, "\x5b\xdc\xc1\x46\xbf\x60\x75\x4e", 8);
        hmac_sha256(ones, sizeof(ones), "Hi There", 8, mac);
        assert_memory_equal(mac, "\xb0\x34\x4c\x61\xd8\xdb\x38\x53", 8);
        hmac_sha256(ones, sizeof(ones), "Hi There", 8, again);
        assert_memory_equal(mac, again, 32);
        hmac_sha256(longer, sizeof(longer),
                    "Test Using Larger Than Block-Size Key - Hash Key First", 54, mac);
        assert_memory_equal(mac, "\x60\xe4\x31\x59\x1e\xe0\xb6\x7f", 8);
        /* Longer than what is kept, and none at all. */
        hmac_sha256(longest, sizeof(longest), "x", 1, mac);
        hmac_sha256(longest, sizeof(longest), "x", 1, again);
        assert_memory_equal(mac, again, 32);
        hmac_sha256("", 0, "", 0, mac);
        assert_memory_equal(mac, "\xb6\x13\x67\x9a\x08\x14\xd9\xec", 8);
    }
}

static void secrets_compare(void **state)
{
    (void)state;
    assert_true(secret_equals("abc", 3, "abc", 3));
    assert_false(secret_equals("abc", 3, "abd", 3));
    assert_false(secret_equals("abc", 3, "abcd", 4));
    assert_true(secret_equals("", 0, "", 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uuids_are_version_4),
        cmocka_unit_test(hex_has_the_asked_length),
        cmocka_unit_test(digests_match_published_values),
        cmocka_unit_test(keys_take_turns),
        cmocka_unit_test(secrets_compare),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
