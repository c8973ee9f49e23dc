/*
 * task_stack.h - stacks for tasks: mapped, guarded, recycled. Used by task.c only.
 */
#ifndef FORKMARK_COMMON_TASK_STACK_H
#define FORKMARK_COMMON_TASK_STACK_H

#include <stddef.h>

#if defined(__SANITIZE_ADDRESS__)
#define TASK_STACK_SIZE \
    ((size_t)1024 * 1024) /* instrumented frames are several times larger */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TASK_STACK_SIZE ((size_t)1024 * 1024)
#endif
#endif
#ifndef TASK_STACK_SIZE
#define TASK_STACK_SIZE ((size_t)256 * 1024)
#endif

/* The lowest usable byte; below it lies the guard page. Aborts without memory. */
void *task_stack_acquire(void);
void task_stack_release(void *stack);
void task_stack_drop_all(void);

/* Debug builds: bytes ever used of this stack. Else 0. */
size_t task_stack_used(const void *stack);

#endif
