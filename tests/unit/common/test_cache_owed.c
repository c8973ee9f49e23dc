/*
 * test_cache_owed.c - each user once, with the latest position; put in, taken out,
 * walked through.
 */
#include "common/cache_owed.h"
#include "tests/unit/testing.h"
#include <stdlib.h>

#define USERS 5000

static void each_user_once(void **state)
{
    struct cache_owed owed = { 0 };
    struct cache_owed_entry entry;
    size_t at = 0;
    uint64_t positions[3] = { 0 };

    (void)state;
    cache_owed_add(&owed, 1, 20);
    cache_owed_add(&owed, 2, 5);
    cache_owed_add(&owed, 1, 10);
    cache_owed_add(&owed, 2, UINT64_MAX); /* it wrote, nobody knows where */
    cache_owed_add(&owed, 2, 30);
    assert_int_equal(owed.count, 2);
    while (cache_owed_next(&owed, &at, &entry))
        positions[entry.user_id] = entry.position;
    assert_true(positions[1] == 20 && positions[2] == UINT64_MAX);
    /* Who comes back begins anew. */
    cache_owed_remove(&owed, 1);
    cache_owed_add(&owed, 1, 3);
    at = 0;
    while (cache_owed_next(&owed, &at, &entry))
        positions[entry.user_id] = entry.position;
    assert_true(positions[1] == 3);
    cache_owed_done(&owed);
}

static void what_is_put_in_is_there(void **state)
{
    struct cache_owed owed = { 0 };
    struct cache_owed_entry entry;
    size_t at = 0, seen = 0;
    int64_t sum = 0;

    (void)state;
    assert_false(cache_owed_has(&owed, 1));
    cache_owed_remove(&owed, 1);
    for (int32_t user = 1; user <= USERS; user++)
        cache_owed_add(&owed, user * 64, 0); /* neighbours at home, too */
    assert_int_equal(owed.count, USERS);
    for (; cache_owed_next(&owed, &at, &entry); seen++)
        sum += entry.user_id / 64;
    assert_int_equal(seen, USERS);
    assert_int_equal(sum, (int64_t)USERS * (USERS + 1) / 2);
    for (int32_t user = 1; user <= USERS; user += 2)
        cache_owed_remove(&owed, user * 64);
    for (int32_t user = 1; user <= USERS; user++) {
        assert_int_equal(cache_owed_has(&owed, user * 64), user % 2 == 0);
        assert_false(cache_owed_has(&owed, user * 64 + 1));
    }
    assert_int_equal(owed.count, USERS / 2);
    cache_owed_done(&owed);
    assert_false(cache_owed_has(&owed, 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_user_once),
        cmocka_unit_test(what_is_put_in_is_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
