/*
 * task_fiber.h - tells the address sanitizer about stack switches. Used by task.c only.
 *
 * Without these calls it would take a jump to another stack for a wild write.
 */
#ifndef FORKMARK_COMMON_TASK_FIBER_H
#define FORKMARK_COMMON_TASK_FIBER_H

#include <stddef.h>

#if defined(__SANITIZE_ADDRESS__)
#define FIBER_ANNOTATE 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FIBER_ANNOTATE 1
#endif
#endif

#if defined(FIBER_ANNOTATE)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>

/* `save` NULL: the stack being left will not be returned to. */
static inline void fiber_leave(void **save, const void *to_bottom, size_t to_size)
{
    __sanitizer_start_switch_fiber(save, to_bottom, to_size);
}
static inline void fiber_enter(void *saved, const void **ret_from_bottom,
                               size_t *ret_from_size)
{
    __sanitizer_finish_switch_fiber(saved, ret_from_bottom, ret_from_size);
}
/* A recycled stack still carries the marks of its last task's frames. */
static inline void fiber_clean(const void *bottom, size_t size)
{
    __asan_unpoison_memory_region(bottom, size);
}
#else
static inline void fiber_leave(void **save, const void *to_bottom, size_t to_size)
{
    (void)save, (void)to_bottom, (void)to_size;
}
static inline void fiber_enter(void *saved, const void **ret_from_bottom,
                               size_t *ret_from_size)
{
    (void)saved, (void)ret_from_bottom, (void)ret_from_size;
}
static inline void fiber_clean(const void *bottom, size_t size)
{
    (void)bottom, (void)size;
}
#endif

#endif
