/*
 * test_arena.c - memory in bulk, caps, and deferred calls.
 */
#include "common/arena.h"
#include "tests/unit/testing.h"
#include <stdlib.h>
#include <string.h>

static char order[16];

static void note(void *arg)
{
    strncat(order, arg, sizeof(order) - strlen(order) - 1);
}

static void memory_is_zeroed_and_aligned(void **state)
{
    struct arena *arena = arena_new(0);

    (void)state;
    for (size_t size = 1; size < 300000; size *= 3) {
        char *memory = arena_alloc(arena, size);

        assert_int_equal((uintptr_t)memory % _Alignof(max_align_t), 0);
        for (size_t i = 0; i < size; i++)
            assert_int_equal(memory[i], 0);
        memset(memory, 0xff, size);
    }
    arena_free(arena);
}

static void texts_are_copied(void **state)
{
    struct arena *arena = arena_new(0);

    (void)state;
    assert_string_equal(arena_strdup(arena, ""), "");
    assert_string_equal(arena_strndup(arena, "abcdef", 3), "abc");
    assert_string_equal(arena_printf(arena, "%d-%s", 7, "x"), "7-x");
    assert_memory_equal(arena_memdup(arena, "a\0b", 3), "a\0b", 3);
    arena_free(arena);
}

static void growing_keeps_content(void **state)
{
    struct arena *arena = arena_new(0);
    char *block = arena_alloc(arena, 10);

    (void)state;
    strcpy(block, "content");
    char *in_place = arena_grow(arena, block, 10, 100);
    assert_ptr_equal(in_place, block); /* nothing stands behind it */
    arena_alloc(arena, 1);
    char *moved = arena_grow(arena, in_place, 100, 200000);
    assert_ptr_not_equal(moved, block);
    assert_string_equal(moved, "content");
    assert_int_equal(moved[199999], 0);
    assert_string_equal(arena_grow(arena, NULL, 0, 5), "");
    arena_free(arena);
}

/* Behind the block stand others, in a chunk that came later. */
static void a_large_block_is_moved_not_copied(void **state)
{
    struct arena *arena = arena_new(4000000);
    size_t size = 100000;
    char *block = arena_extend(arena, NULL, 0, size);
    (void)state;

    memset(block, 'x', size);
    char *behind = arena_strdup(arena, "behind it");
    for (; size < 2000000; size += 50000) {
        block = arena_extend(arena, block, size, size + 50000);
        memset(block + size, 'x', 50000);
    }
    assert_true(arena_used(arena) < size + 1000);
    for (size_t i = 0; i < size; i++)
        assert_int_equal(block[i], 'x');
    assert_string_equal(behind, "behind it");
    assert_string_equal(arena_strdup(arena, "after it"), "after it");
    arena_free(arena);
}

static void deferred_calls_run_newest_first(void **state)
{
    struct arena *arena = arena_new(0);

    (void)state;
    order[0] = '\0';
    arena_defer(arena, note, "a");
    struct arena_deferred *taken_back = arena_defer(arena, note, "b");
    arena_defer(arena, note, "c");
    arena_undefer(taken_back);
    arena_free(arena);
    assert_string_equal(order, "ca");
    arena_free(NULL);
}

static jmp_buf full;

static void is_full(void *arg)
{
    assert_string_equal(arg, "arg");
    longjmp(full, 1);
}

static void the_cap_holds(void **state)
{
    struct arena *volatile arena = arena_new(1000);
    volatile int allocated = 0;

    (void)state;
    arena_on_full(arena, is_full, "arg");
    if (setjmp(full) == 0) {
        for (;;) {
            arena_alloc(arena, 100);
            allocated++;
        }
    }
    assert_in_range(allocated, 8, 10);
    assert_true(arena_used(arena) <= 1000 + 16);
    volatile int refused = 0;
    if (setjmp(full) == 0)
        arena_array(arena, SIZE_MAX / 2, 16); /* the product would overflow */
    else
        refused = 1;
    assert_int_equal(refused, 1);
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_zeroed_and_aligned),
        cmocka_unit_test(texts_are_copied),
        cmocka_unit_test(growing_keeps_content),
        cmocka_unit_test(a_large_block_is_moved_not_copied),
        cmocka_unit_test(deferred_calls_run_newest_first),
        cmocka_unit_test(the_cap_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
