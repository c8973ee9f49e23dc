/*
 * role.c - see role.h.
 *
 * One process plays one role, so what is watched is kept here, once.
 */
#include "common/role.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/task.h"
#include <assert.h>
#include <execinfo.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

/* An idle loop wakes for nothing else; the master calls nobody silent within a second. */
#define BEAT_MS 500

static struct {
    const struct role_context *context;
    void (*drain)(void *arg);
    void (*quick)(void *arg);
    void *arg;
    uint64_t idle_base_us, started_us; /* for the busy time */
    uv_timer_t beat;
    uv_prepare_t prepare;
    uv_check_t check;
} watch;

/* A number in the eventfd makes it readable; the master then reads the scoreboard. */
void role_tell(const struct role_context *context)
{
    uint64_t one = 1;

    if (context->notify_fd < 0)
        return;
    if (write(context->notify_fd, &one, sizeof(one)) < 0)
        log_debug("the master could not be told: it looks again by itself");
}

void role_ready(const struct role_context *context)
{
    board_beat(context->slot);
    board_set_state(context->slot, BOARD_READY);
    role_tell(context);
}

void role_refuse(const struct role_context *context, const char *format, ...)
{
    char reason[sizeof(context->slot->last_words)];
    va_list args;

    va_start(args, format);
    vsnprintf(reason, sizeof(reason), format, args);
    va_end(args);
    log_error("%s", reason);
    board_last_words(context->slot, reason);
    _exit(1);
}

void role_worn(const struct role_context *context)
{
    if (atomic_exchange(&context->slot->is_worn, 1) == 0)
        role_tell(context);
}

/* Reports ------------------------------------------------------------------- */

/* A stack of its own: the one in use may be what overflowed. */
static char report_stack[64 * 1024];

static void (*describe_now)(struct board_doing *at_last);

void role_on_report(void (*describe)(struct board_doing *at_last))
{
    describe_now = describe;
}

/*
 * The stack goes into shared memory, for the master to print: it was forked from the
 * same image, so that the addresses mean the same there, and nothing here allocates.
 */
static void on_report(int signum)
{
    struct board_slot *slot = watch.context->slot;
    int count = backtrace(slot->frames, BOARD_FRAMES);

    if (describe_now)
        describe_now(&slot->at_last);
    atomic_store(&slot->frame_count, count);
    if (signum == SIGUSR2) /* asked by the master: nothing else is left to say */
        kill(getpid(), SIGKILL);
    raise(signum); /* SA_RESETHAND: now for good */
}

static const int report_signals[] = {
    SIGUSR2, SIGABRT,
#ifndef FORKMARK_DEBUG /* the sanitizers have reports of their own */
    SIGSEGV, SIGBUS,  SIGILL, SIGFPE,
#endif
};

static void watch_reports(void)
{
    struct sigaction action = { .sa_handler = on_report,
                                .sa_flags = (int)(SA_ONSTACK | SA_RESETHAND) };
    void *warm[1];

    /* The first call loads a library, which no signal handler could do. */
    backtrace(warm, 1);
    sigaltstack(&(stack_t){ .ss_sp = report_stack, .ss_size = sizeof(report_stack) },
                NULL);
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof(report_signals) / sizeof(report_signals[0]); i++)
        sigaction(report_signals[i], &action, NULL);
}

/* That the loop turns is the beat. Busy is what of all time it did not spend waiting; a
 * consumer's busy time is that of its jobs, see board_end(). */
static void on_beat(uv_timer_t *timer)
{
    uint64_t idle_us = uv_metrics_idle_time(timer->loop) / 1000 - watch.idle_base_us;
    uint64_t all_us = clock_us() - watch.started_us;

    if (all_us > idle_us && watch.context->slot->role != BOARD_CONSUMER)
        atomic_store_explicit(&watch.context->slot->count.busy_us, all_us - idle_us,
                              memory_order_relaxed);
}

/* Before and after each wait for events. One that waits may have an old beat. */
static void on_prepare(uv_prepare_t *prepare)
{
    (void)prepare;
    board_waits(watch.context->slot);
}

static void on_check(uv_check_t *check)
{
    (void)check;
    board_beat(watch.context->slot);
}

static void on_reopen(uv_signal_t *handle, int signum)
{
    (void)handle;
    (void)signum;
    log_reopen();
}

static void on_drain(uv_signal_t *handle, int signum)
{
    (void)handle;
    (void)signum;
    board_set_state(watch.context->slot, BOARD_DRAINING);
    watch.drain(watch.arg);
}

static void on_quick(uv_signal_t *handle, int signum)
{
    (void)handle;
    (void)signum;
    watch.quick(watch.arg);
}

/* The master's words to its children. */
static struct {
    int signum;
    uv_signal_cb act;
    uv_signal_t handle;
} signals[] = {
    { .signum = SIGUSR1, .act = on_reopen },
    { .signum = SIGTERM, .act = on_drain },
    { .signum = SIGINT, .act = on_quick },
    { .signum = SIGQUIT, .act = on_quick },
};

/* None of these handles keeps a loop running that has nothing else left to do. */
void role_watch(const struct role_context *context, void (*drain)(void *arg),
                void (*quick)(void *arg), void *arg)
{
    assert(drain && quick);
    watch.context = context;
    watch.drain = drain;
    watch.quick = quick;
    watch.arg = arg;

    watch.started_us = clock_us();
    watch.idle_base_us = uv_metrics_idle_time(task_loop()) / 1000;

    board_beat(context->slot);
    watch_reports();
    uv_timer_init(task_loop(), &watch.beat);
    uv_timer_start(&watch.beat, on_beat, BEAT_MS, BEAT_MS);
    uv_unref((uv_handle_t *)&watch.beat);
    uv_prepare_init(task_loop(), &watch.prepare);
    uv_prepare_start(&watch.prepare, on_prepare);
    uv_unref((uv_handle_t *)&watch.prepare);
    uv_check_init(task_loop(), &watch.check);
    uv_check_start(&watch.check, on_check);
    uv_unref((uv_handle_t *)&watch.check);
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        uv_signal_init(task_loop(), &signals[i].handle);
        uv_signal_start(&signals[i].handle, signals[i].act, signals[i].signum);
        uv_unref((uv_handle_t *)&signals[i].handle);
    }
    /* Until now the signal that says so was ignored. */
    if (context->log_link > 0)
        log_take_from(context->log_link);
}
