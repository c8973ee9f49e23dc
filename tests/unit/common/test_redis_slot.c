/*
 * test_redis_slot.c - hash slots against known values, tags, and whose key counts.
 */
#include "common/redis_slot.h"
#include "tests/unit/testing.h"
#include <string.h>

/* From the cluster specification, and from a server's CLUSTER KEYSLOT. */
static const struct {
    const char *key;
    uint16_t slot;
} known[] = {
    { "123456789", 0x31c3 },
    { "", 0 },
    { "foo", 12182 },
    { "bar", 5061 },
    { "hello", 866 },
    { "{user1000}.following", 3443 },
    { "{user1000}.followers", 3443 },
    { "foo{}{bar}", 8363 },
    { "foo{{bar}}zap", 4015 },
    { "foo{bar}{zap}", 5061 },
    { "foo{bar", 15278 }, /* no tag without its end */
    { "}foo{bar}", 5061 },
};

static void slots_are_as_redis_has_them(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        uint16_t slot = redis_slot_of(known[i].key, strlen(known[i].key));

        if (slot != known[i].slot)
            fail_msg("%s: %u, not %u", known[i].key, slot, known[i].slot);
    }
    assert_int_equal(redis_slot_of("a\0b", 3) == redis_slot_of("a", 1), 0);
}

static void keys_of_one_user_share_a_slot(void **state)
{
    (void)state;
    uint16_t slot = redis_slot_of("u7", 2);

    assert_int_equal(redis_slot_of("fm:{u7}:gen", 11), slot);
    assert_int_equal(redis_slot_of("other:{u7}:limit:get:/api/{id}", 30), slot);
}

static void the_first_key_counts(void **state)
{
    static const struct {
        const char *argv[6];
        size_t argc;
        const char *key;
    } commands[] = {
        { { "GET", "k" }, 2, "k" },
        { { "set", "k", "v" }, 3, "k" },
        { { "PING" }, 1, NULL },
        { { "ping", "text" }, 2, NULL },
        { { "PUBLISH", "channel", "text" }, 3, NULL },
        { { "CLUSTER", "SLOTS" }, 2, NULL },
        { { "EVALSHA", "sha", "2", "k", "l" }, 5, "k" },
        { { "EVAL", "text", "0", "v" }, 4, NULL },
        { { "EVAL", "text", "0" }, 3, NULL },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        size_t length = 0;
        const char *key = redis_key_of(commands[i].argc, commands[i].argv, NULL, &length);

        if (!commands[i].key) {
            assert_null(key);
            continue;
        }
        assert_string_equal(key, commands[i].key);
        assert_int_equal(length, strlen(commands[i].key));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_are_as_redis_has_them),
        cmocka_unit_test(keys_of_one_user_share_a_slot),
        cmocka_unit_test(the_first_key_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
