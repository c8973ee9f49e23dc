/*
 * test_cache_owed.c - each user once, with the latest position; a full list lets the
 * first go.
 */
#include "common/cache_owed.h"
#include "tests/unit/testing.h"

static struct cache_owed owed;

static int empty(void **state)
{
    (void)state;
    owed.count = 0;
    return 0;
}

static void each_user_once(void **state)
{
    struct cache_owed_entry entry;

    (void)state;
    assert_true(cache_owed_add(&owed, 1, 20));
    assert_true(cache_owed_add(&owed, 2, 5));
    assert_true(cache_owed_add(&owed, 1, 10));
    assert_true(cache_owed_add(&owed, 2, UINT64_MAX)); /* it wrote, nobody knows where */
    assert_true(cache_owed_add(&owed, 2, 30));
    assert_true(cache_owed_take(&owed, &entry));
    assert_int_equal(entry.user_id, 2);
    assert_true(entry.position == UINT64_MAX);
    assert_true(cache_owed_take(&owed, &entry));
    assert_int_equal(entry.user_id, 1);
    assert_true(entry.position == 20);
    assert_false(cache_owed_take(&owed, &entry));
}

static void a_full_list_lets_the_first_go(void **state)
{
    struct cache_owed_entry entry;

    (void)state;
    for (int i = 0; i < CACHE_OWED_MAX; i++)
        assert_true(cache_owed_add(&owed, i, 1));
    assert_false(cache_owed_add(&owed, CACHE_OWED_MAX, 1));
    assert_int_equal(owed.count, CACHE_OWED_MAX);
    while (cache_owed_take(&owed, &entry))
        assert_int_not_equal(entry.user_id, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(each_user_once, empty),
        cmocka_unit_test_setup(a_full_list_lets_the_first_go, empty),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
