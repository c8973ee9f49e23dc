/*
 * task_stack.c - see task_stack.h.
 *
 * Pages of a stack cost memory only once touched, and a released stack keeps
 * its pages for the next task. A few hundred are kept; a burst beyond that
 * gives its stacks back to the system.
 */
#include "common/task_stack.h"
#include "common/log.h"
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#if defined(FORKMARK_DEBUG) && __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#else
#define VALGRIND_MAKE_MEM_DEFINED(memory, size) ((void)(memory), (void)(size))
#endif

#define KEEP_STACKS 256
#define PATTERN     0xa5

/* The list's links lie at the top end of the free stacks themselves. */
struct free_stack {
    struct free_stack *next;
};
static struct free_stack *free_stacks;
static size_t free_count;

#if defined(FORKMARK_DEBUG)
#define NO_SANITIZE __attribute__((no_sanitize_address, noinline))
#endif

static size_t guard_size(void)
{
    static size_t size;

    if (size == 0)
        size = (size_t)sysconf(_SC_PAGESIZE);
    return size;
}

static struct free_stack *link_of(void *stack)
{
    return (struct free_stack *)((char *)stack + TASK_STACK_SIZE -
                                 sizeof(struct free_stack));
}

static void *stack_of(struct free_stack *link)
{
    return (char *)link - TASK_STACK_SIZE + sizeof(struct free_stack);
}

static void *map_stack(void)
{
    char *base = mmap(NULL, guard_size() + TASK_STACK_SIZE, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);

    if (base == MAP_FAILED || mprotect(base, guard_size(), PROT_NONE) != 0)
        fatal("no memory for a task's stack of %zu KiB", TASK_STACK_SIZE / 1024);
#if defined(FORKMARK_DEBUG)
    memset(base + guard_size(), PATTERN, TASK_STACK_SIZE);
#endif
    return base + guard_size();
}

static void unmap_stack(void *stack)
{
    munmap((char *)stack - guard_size(), guard_size() + TASK_STACK_SIZE);
}

void *task_stack_acquire(void)
{
    if (!free_stacks)
        return map_stack();

    struct free_stack *link = free_stacks;
    free_stacks = link->next;
    free_count--;
    return stack_of(link);
}

void task_stack_release(void *stack)
{
    if (free_count >= KEEP_STACKS) {
        unmap_stack(stack);
        return;
    }
    struct free_stack *link = link_of(stack);
    link->next = free_stacks;
    free_stacks = link;
    free_count++;
}

void task_stack_drop_all(void)
{
    while (free_stacks) {
        struct free_stack *link = free_stacks;

        free_stacks = link->next;
        unmap_stack(stack_of(link));
    }
    free_count = 0;
}

#if defined(FORKMARK_DEBUG)
/* Reads memory the sanitizer may have marked: the frames are long gone. */
NO_SANITIZE size_t task_stack_used(const void *stack)
{
    const volatile uint8_t *bytes = stack;
    size_t untouched = 0;

    VALGRIND_MAKE_MEM_DEFINED(stack, TASK_STACK_SIZE); /* nor does valgrind like it */
    while (untouched < TASK_STACK_SIZE && bytes[untouched] == PATTERN)
        untouched++;
    return TASK_STACK_SIZE - untouched;
}
#else
size_t task_stack_used(const void *stack)
{
    (void)stack;
    return 0;
}
#endif
