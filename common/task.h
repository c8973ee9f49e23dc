/*
 * task.h - tasks: straight-line code on one thread, our greenlets.
 *
 * A process that serves has one loop (libuv) and many tasks on it. A task has
 * a stack of its own (256 KiB, guard page, recycled) and an arena. Calls marked
 * "Yields" look blocking; while they wait, other tasks run. There is no
 * preemption: between two yields a task has the process to itself.
 *
 * Deadlines and cancelling. Every wait ends at the earlier of its own timeout
 * and the task's deadline. A wait's own timeout is an ordinary return value
 * (-ETIMEDOUT). When the task's deadline passes, or task_cancel() is called,
 * the wait never returns: the stack is abandoned, the wait's `on_cancel` hook
 * unhooks it, the task's `on_end` is told why, and the owner frees the arena,
 * whose deferred calls clean up. So: everything that must be undone after a
 * yield is an arena_defer() made before it.
 *
 * Only the thread that runs the loop may call these, except inside the
 * function given to task_work().
 */
#ifndef FORKMARK_COMMON_TASK_H
#define FORKMARK_COMMON_TASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct arena;
struct task;

enum task_outcome {
    TASK_DONE,       /* its function returned, or task_exit(0) */
    TASK_DEADLINE,   /* its deadline passed in a wait */
    TASK_CANCELLED,  /* task_cancel() */
    TASK_ARENA_FULL, /* its arena's cap was reached */
};

/* One loop a process. Call once, after the fork. Never fails (aborts). */
void task_runtime_init(void);
/* Closes what task_runtime_init() opened; no task may be left. For tests. */
void task_runtime_done(void);
/* The loop: for handles of libraries that must live on it. */
uv_loop_t *task_loop(void);
/* Runs the loop until task_stop_loop() or, without one, until nothing is left to do. */
void task_run_loop(void);
void task_stop_loop(void);

struct task_spec {
    const char *name;       /* static text; shown in logs and the scoreboard */
    void (*run)(void *arg); /* runs on the task's stack */
    void *arg;
    struct arena *arena; /* borrowed until on_end was called; NULL: the task gets
                            one of its own, freed after on_end */
    uint64_t timeout_ms; /* the whole task's deadline from now; 0: none */
    /* Called on the loop's stack when the task has ended and no work of it is
     * left in a thread; NULL is fine. */
    void (*on_end)(void *arg, enum task_outcome outcome);
};

/* Starts before this returns to the loop, not before this returns. */
struct task *task_spawn(const struct task_spec *spec);

/* The running task; NULL on the loop's own stack. */
struct task *task_self(void);
/* The running task's arena. Must be inside a task. */
struct arena *task_arena(void);
/* Milliseconds until the task's deadline; UINT64_MAX without one. */
uint64_t task_time_left(void);
/* Moves the running task's deadline: from now; 0: none. */
void task_set_timeout(uint64_t timeout_ms);
/* The id on the running task's log lines (request or job); borrowed until it ends. */
void task_set_id(const char *id);
/* What the task waits on, for reports ("pg:bookmark_list"); static text or arena. */
const char *task_waiting_on(const struct task *task);
const char *task_name(const struct task *task);
void *task_arg(const struct task *task);
size_t task_count(void);

/* Ends the running task here; its function does not return. */
_Noreturn void task_exit(enum task_outcome outcome);

/* Ends another task at its wait. Safe for one that was just woken. */
void task_cancel(struct task *task);

/* Yields. 0, always after `ms` (unless the task ends). */
void task_sleep(uint64_t ms);
/* Yields. Lets everything else that is ready run once. */
void task_pause(void);

/*
 * Waiting, for those who write new waits (pools, clients, hubs).
 *
 * task_park() yields until somebody calls task_wake(task, result), and returns
 * `result`; or until `timeout_ms` (0: none), and returns -ETIMEDOUT after
 * calling on_cancel. When the task is ended in the wait, on_cancel is called
 * as well: it must unhook whatever would wake the task later. on_cancel runs on
 * the loop's stack and must not yield. A task that is ended after task_wake() but
 * before it ran gets no on_cancel, and its wait does not return: what was handed
 * over with the wake (a connection, say) must be given back by an arena_defer()
 * made before the park.
 */
struct task_park {
    const char *waiting_on;
    uint64_t timeout_ms;
    void (*on_cancel)(void *arg);
    void *arg;
};
int task_park(const struct task_park *park);
/* The task runs again from the loop, not from inside this call. Once per park. */
void task_wake(struct task *task, int result);

/*
 * Runs work(arg) in libuv's thread pool. Yields. 0, or -ETIMEDOUT when
 * `timeout_ms` (0: none) passed first: then the work goes on, and the task's
 * end (and so its arena's) waits for it. In the thread nothing of this header
 * and no arena may be used; plain malloc only.
 */
int task_work(const char *name, void (*work)(void *arg), void *arg, uint64_t timeout_ms);

/* A readable or writable descriptor. Yields. 0, or -ETIMEDOUT. events: UV_READABLE ... */
int task_poll_fd(int fd, int events, uint64_t timeout_ms);

/* Most bytes of stack any task has used; counted in debug builds, else 0. */
size_t task_stack_high_water(void);

#endif
