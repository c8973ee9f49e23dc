/*
 * test_buf.c - growing bytes, on the heap and in an arena.
 */
#include "common/arena.h"
#include "common/buf.h"
#include "tests/unit/testing.h"
#include <string.h>

static void fill_and_check(struct buf *buf)
{
    assert_string_equal(buf_text(buf), "");
    for (int i = 0; i < 1000; i++)
        buf_addf(buf, "%03d,", i);
    assert_int_equal(buf->length, 4000);
    assert_memory_equal(buf->data + 3996, "999,", 5); /* the NUL too */
    buf_consume(buf, 3992);
    assert_string_equal(buf_text(buf), "998,999,");
    buf_clear(buf);
    assert_string_equal(buf_text(buf), "");
    buf_addc(buf, 'x');
    buf_adds(buf, "yz");
    buf_add(buf, "\0!", 2);
    assert_int_equal(buf->length, 5);
    assert_memory_equal(buf->data, "xyz\0!", 6);
    buf_addf(buf, "%0500d", 1); /* longer than the first guess */
    assert_int_equal(buf->length, 505);
    assert_int_equal(buf->data[504], '1');
}

static void on_the_heap(void **state)
{
    struct buf buf = BUF_HEAP;

    (void)state;
    fill_and_check(&buf);
    buf_done(&buf);
    buf_done(&buf);
}

static void in_an_arena(void **state)
{
    struct arena *arena = arena_new(0);
    struct buf buf = BUF_IN(arena);

    (void)state;
    fill_and_check(&buf);
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(on_the_heap),
        cmocka_unit_test(in_an_arena),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
