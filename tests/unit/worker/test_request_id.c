/*
 * test_request_id.c - the form of a version 4 UUID, and no name twice.
 */
#include "../testing.h"
#include "worker/request_id.h"
#include <stdlib.h>
#include <string.h>

#define COUNT 20000

static char ids[COUNT][UUID_SIZE];

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void form_and_difference(void **state)
{
    (void)state;
    for (int i = 0; i < COUNT; i++) {
        request_id_new(ids[i]);
        assert_int_equal(strlen(ids[i]), 36);
        assert_int_equal(strspn(ids[i], "0123456789abcdef-"), 36);
        assert_true(ids[i][8] == '-' && ids[i][13] == '-' && ids[i][18] == '-' &&
                    ids[i][23] == '-');
        assert_int_equal(ids[i][14], '4');
        assert_non_null(strchr("89ab", ids[i][19]));
    }
    qsort(ids, COUNT, sizeof(ids[0]), by_text);
    for (int i = 1; i < COUNT; i++)
        assert_string_not_equal(ids[i - 1], ids[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(form_and_difference) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
