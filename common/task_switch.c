/*
 * task_switch.c - see task_switch.h.
 */
#include "common/task_switch.h"
#include <stdint.h>

#if defined(TASK_SWITCH_REGISTERS)

/*
 * What the System V ABI (x86-64, 3.2.1 and 3.2.3) wants kept across a call: six
 * registers and the two control words of floating point. All others are dead at a
 * call's return, so they need no saving. The rest of a task lies on its stack.
 */
void task_switch_registers(void **ret_left, void *to);
__asm__(".text\n"
        ".p2align 4\n"
        ".globl task_switch_registers\n"
        ".hidden task_switch_registers\n"
        ".type task_switch_registers, @function\n"
        "task_switch_registers:\n"
        "    pushq %rbp\n"
        "    pushq %rbx\n"
        "    pushq %r12\n"
        "    pushq %r13\n"
        "    pushq %r14\n"
        "    pushq %r15\n"
        "    subq $8, %rsp\n"
        "    stmxcsr (%rsp)\n"
        "    fnstcw 4(%rsp)\n"
        "    movq %rsp, (%rdi)\n"
        "    movq %rsi, %rsp\n"
        "    ldmxcsr (%rsp)\n"
        "    fldcw 4(%rsp)\n"
        "    addq $8, %rsp\n"
        "    popq %r15\n"
        "    popq %r14\n"
        "    popq %r13\n"
        "    popq %r12\n"
        "    popq %rbx\n"
        "    popq %rbp\n"
        "    ret\n"
        ".size task_switch_registers, . - task_switch_registers\n");

/* What a stack that was left has on top, the lowest address first. */
struct left_frame {
    uint32_t mxcsr;
    uint16_t x87_control, unused;
    uint64_t registers[6];
    void (*resume_at)(void);
    uint64_t no_caller; /* entry's return address: where a backtrace ends */
};

void task_context_make(struct task_context *ret, void *stack, size_t size,
                       void (*entry)(void))
{
    /* A function begins 8 bytes below a multiple of 16: the call pushed its return. */
    char *top = (char *)stack + size;
    top -= (uintptr_t)top & 15;
    struct left_frame *frame = (struct left_frame *)(void *)(top - sizeof(*frame));

    *frame = (struct left_frame){ .resume_at = entry };
    __asm__ volatile("stmxcsr %0\n\tfnstcw %1"
                     : "=m"(frame->mxcsr), "=m"(frame->x87_control));
    ret->stack_pointer = frame;
}

void task_context_switch(struct task_context *from, struct task_context *to)
{
    task_switch_registers(&from->stack_pointer, to->stack_pointer);
}

#else

void task_context_make(struct task_context *ret, void *stack, size_t size,
                       void (*entry)(void))
{
    getcontext(&ret->ucontext);
    ret->ucontext.uc_stack.ss_sp = stack;
    ret->ucontext.uc_stack.ss_size = size;
    ret->ucontext.uc_link = NULL;
    makecontext(&ret->ucontext, entry, 0);
}

void task_context_switch(struct task_context *from, struct task_context *to)
{
    swapcontext(&from->ucontext, &to->ucontext);
}

#endif
