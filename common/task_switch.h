/*
 * task_switch.h - leaves one stack for another. Used by task.c only.
 *
 * swapcontext() also saves and restores the signal mask, a system call each time. Our
 * tasks all run with the loop's mask, so on x86_64 the registers alone are switched:
 * 14 ns instead of 290 (measured with gcc 12), and an authenticated
 * request that asks Redis and PostgreSQL switches six times. Elsewhere it is
 * swapcontext() as before.
 */
#ifndef FORKMARK_COMMON_TASK_SWITCH_H
#define FORKMARK_COMMON_TASK_SWITCH_H

#include <stddef.h>

/* A shadow stack (CET) would have to be switched as well: glibc knows how. */
#if defined(__x86_64__) && defined(__LP64__) && !(defined(__CET__) && (__CET__ & 2))
#define TASK_SWITCH_REGISTERS 1
#else
#include <ucontext.h>
#endif

/* Where a stack was left; meaningful from make() or leave until it is run again. */
struct task_context {
#if defined(TASK_SWITCH_REGISTERS)
    void *stack_pointer;
#else
    ucontext_t ucontext;
#endif
};

/* The first switch to `ret` calls `entry` on that stack; it must never return. */
void task_context_make(struct task_context *ret, void *stack, size_t size,
                       void (*entry)(void));
/* Comes back when somebody switches to `from`. */
void task_context_switch(struct task_context *from, struct task_context *to);

#endif
