/* test_notify.c - the quorum; what is sent: tests/integration/test_notify.py. */
#include "master/notify.h"
#include "tests/unit/testing.h"

static void more_than_half_are_a_quorum(void **state)
{
    static const struct {
        int healthy, wanted;
        bool is;
    } cases[] = {
        { 0, 0, true },  { 1, 0, true }, { 0, 1, false }, { 1, 1, true },
        { 1, 2, false }, { 2, 2, true }, { 1, 3, false }, { 2, 3, true },
        { 2, 4, false }, { 3, 4, true }, { 4, 8, false }, { 5, 8, true },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(notify_is_quorum(cases[i].healthy, cases[i].wanted),
                         cases[i].is);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(more_than_half_are_a_quorum),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
