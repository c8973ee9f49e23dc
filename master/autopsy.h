/*
 * autopsy.h - why a child hangs, and what a dead one leaves to be read.
 *
 * From /proc (CPU time, state, kernel wait channel) and from the scoreboard, where the
 * child's own signal handler (common/role.c) leaves its stack and what it was at.
 */
#ifndef FORKMARK_MASTER_AUTOPSY_H
#define FORKMARK_MASTER_AUTOPSY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

struct board_slot;
struct buf;

/* One look at a process; two of them say what it did meanwhile. */
struct vital {
    uint64_t at_ms;  /* 0: none taken */
    uint64_t cpu_ms; /* user and system */
    char state;      /* R, S, D, T, t, Z as in proc(5) */
};

/* False: it is gone. */
bool vital_read(pid_t pid, uint64_t now_ms, struct vital *ret);

enum hang {
    HANG_BLOCKED,  /* in a system call */
    HANG_SPINNING, /* uses the processor */
    HANG_STOPPED,  /* by SIGSTOP or a debugger */
    HANG_STARVED,  /* would run, but gets no processor */
};

enum hang hang_kind(const struct vital *before, const struct vital *now);
/* "spinning (1.00 s of processor in the last 1.0 s, state R)" and the like. */
void hang_describe(pid_t pid, const struct vital *before, const struct vital *now,
                   struct buf *out);

/* Asks the child for its stack and for what it is at; it ends itself after that. */
void autopsy_ask(pid_t pid, bool is_stopped);

/* Times the kernel killed for memory in this process' control group, of version 1 or 2;
 * 0: not known. */
uint64_t autopsy_oom_kills(void);

/* "user 1.20 s, system 0.31 s, 34.1 MB at most". */
void autopsy_usage(const struct rusage *usage, struct buf *out);
/* What was left in the slot: one log line for each frame. */
void autopsy_log_stack(struct board_slot *slot, const char *name);

/* Memory of a process in bytes; 0 each: it may not be read, or is gone. */
struct memory {
    uint64_t pss, rss;
};
struct memory memory_read(pid_t pid);
/* PSS where it may be read, else resident; 0: gone. */
uint64_t memory_of(pid_t pid);

#endif
