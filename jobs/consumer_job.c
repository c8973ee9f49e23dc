/*
 * consumer_job.c - one job: decoded, checked, run in a task of its own, ended in
 * Redis' books together with the claim of the next.
 *
 * The job's task has the job's timeout as its deadline and may be cancelled at any
 * wait; the cycle's task waits for its end and does the bookkeeping, which must
 * not be cut off.
 */
#include "common/arena.h"
#include "common/clock.h"
#include "common/ids.h"
#include "common/log.h"
#include "jobs/consumer_parts.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define JOB_MEMORY_CAP    ((size_t)256 << 20)
#define NAME_SHOWN        512
#define RETRY_FIRST_MS    50
#define RETRY_LAST_MS     1000
#define SETTLE_MARGIN_MS  5000 /* for what a job has started to end after SIGKILL */
#define LEAVE_PATIENCE_MS 5000 /* how long a leaving consumer tries to reach Redis */

/* ---- in the job's task ---- */

/* Whatever cannot be read is absent. */
static const struct value *read_meta(struct arena *arena, const struct buf *meta)
{
    const char *ignored;

    return meta->length > 0 ? value_read(arena, meta->data, meta->length, &ignored)
                            : NULL;
}

/* The request that caused the job. */
static const char *request_id_of(const struct value *meta)
{
    const struct value *id = value_find(meta, "request_id");

    return id && id->kind == VALUE_TEXT && id->bytes.length > 0 ? id->bytes.data : NULL;
}

/* A name from a payload may hold anything; logs and errors get it printable and short. */
static const char *printable(struct arena *arena, const char *text)
{
    char *copy = arena_strndup(arena, text, strnlen(text, NAME_SHOWN));

    for (char *c = copy; *c; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    }
    return copy;
}

static void show_doing(struct consumer *c, const char *what)
{
    uint64_t deadline = 0;

    /* Past it by jobs.kill_grace, the master ends the process. */
    if (c->job->timeout_s > 0)
        deadline = c->run_started_ms + (uint64_t)c->job->timeout_s * 1000;
    board_begin(c->context->slot, c->job->id, what, deadline);
}

static enum job_outcome call_function(struct consumer *c)
{
    struct job_run *run = &c->run;
    const char *error;

    if (!payload_read(run->arena, c->job->data.data, c->job->data.length, &run->call,
                      &error)) {
        run->error = error;
        return JOB_FAILED;
    }
    const char *name = printable(run->arena, run->call.name);
    show_doing(c, name);
    run->function = job_function_find(c->context->options, run->call.name);
    if (!run->function) {
        run->error =
            arena_printf(run->arena, "ValueError: Invalid attribute name: %s", name);
        return JOB_FAILED;
    }
    run->meta = read_meta(run->arena, &c->job->meta);
    run->request_id = request_id_of(run->meta);
    if (!job_args_check(run, run->function))
        return JOB_FAILED;
    return run->function->run(run);
}

static void job_task(void *arg)
{
    struct consumer *c = arg;

    task_set_id(c->job->id);
    c->outcome = call_function(c);
}

static void job_task_ended(void *arg, enum task_outcome ended)
{
    struct consumer *c = arg;

    c->job_task = NULL;
    c->job_ended = ended;
    consumer_poke(c);
}

/* ---- around it ---- */

void consumer_cut_job(struct consumer *c, enum job_cut cut)
{
    if (cut == CUT_BACK)
        c->run.is_hurried = true;
    if (!c->job_task || c->cut != CUT_NOT)
        return;
    c->cut = cut;
    task_cancel(c->job_task);
}

/* What the job has started ends before somebody else may run it again. */
static void settle(struct consumer *c)
{
    struct job_run *run = &c->run;

    if (!run->settle)
        return;
    board_begin(c->context->slot, c->job->id, run->function->name,
                clock_ms() + run->settle_ms + SETTLE_MARGIN_MS);
    c->is_settling = true;
    run->settle(run);
    c->is_settling = false;
}

static void run_function(struct consumer *c, struct arena *arena)
{
    struct claimed_job *job = c->job;

    c->cut = CUT_NOT;
    c->run = (struct job_run){
        .services = &c->services,
        .arena = arena,
        .id = job->id,
        .retries_left = job->retries_left,
        .is_last_attempt = job->retries_left <= 0,
    };
    c->run_started_ms = clock_ms();
    show_doing(c, "?");
    c->job_task = task_spawn(&(struct task_spec){
        .name = "job",
        .run = job_task,
        .arg = c,
        .arena = arena,
        .timeout_ms = job->timeout_s > 0 ? (uint64_t)job->timeout_s * 1000 : 0,
        .on_end = job_task_ended,
    });
    /* What came between the claim in Redis and its answer. */
    if (c->is_leaving)
        consumer_show_leaving(c);
    if (consumer_was_stopped(c))
        consumer_cut_job(c, CUT_STOPPED);
    else if (c->is_quick)
        consumer_cut_job(c, CUT_BACK);
    while (c->job_task)
        consumer_nap(c, 0);
    settle(c);
    board_end(c->context->slot);
}

static void end_returned(struct consumer *c, struct job_end *end)
{
    static const enum job_end_kind kinds[] = {
        [JOB_SUCCESS] = JOB_END_SUCCESS,
        [JOB_FAILED] = JOB_END_FAILED,
        [JOB_FAILED_FINAL] = JOB_END_FINAL,
        [JOB_LATER] = JOB_END_LATER,
    };

    end->kind = kinds[c->outcome];
    end->result = c->run.result;
    end->format = c->run.call.format;
    end->error = c->run.error ? c->run.error : "Error: the function gave no reason";
    end->delay_s = c->run.delay_s > 0 ? c->run.delay_s : 1;
}

static void end_cut(struct consumer *c, struct job_end *end)
{
    switch (c->cut) {
    case CUT_STOPPED:
        end->kind = JOB_END_STOPPED;
        end->error = "Job stopped by user, work-horse terminated.";
        break;
    case CUT_BACK:
        end->kind = JOB_END_BACK;
        break;
    default:
        end->kind = JOB_END_FAILED;
        end->error =
            "Work-horse terminated unexpectedly; waitpid returned 9 (signal 9); ";
        break;
    }
}

/* What became of the task, in RQ's words. */
static void judge(struct consumer *c, struct arena *arena, struct job_end *end)
{
    end->worked_s = (double)(clock_ms() - c->run_started_ms) / 1000;
    switch (c->job_ended) {
    case TASK_DONE:
        end_returned(c, end);
        break;
    case TASK_CANCELLED:
        end_cut(c, end);
        break;
    case TASK_DEADLINE:
        end->kind = JOB_END_FAILED;
        end->error = arena_printf(arena,
                                  "rq.timeouts.JobTimeoutException: Task exceeded "
                                  "maximum timeout value (%lld seconds)",
                                  (long long)c->job->timeout_s);
        break;
    case TASK_ARENA_FULL:
        end->kind = JOB_END_FAILED;
        end->error = arena_printf(arena, "MemoryError: the job needs more than %zu MiB",
                                  JOB_MEMORY_CAP >> 20);
        break;
    }
    if (c->run.note && end->error)
        end->error = arena_printf(arena, "%s\n%s", c->run.note, end->error);
}

/* The last line of an error is what people read first. */
static const char *last_line(const char *text)
{
    const char *newline = strrchr(text, '\n');

    return newline && newline[1] ? newline + 1 : text;
}

/* `told_again`: an answer was lost before, so that it may be our own end that was found.
 */
static void log_end(struct consumer *c, const struct job_end *end, bool is_lost,
                    bool told_again)
{
    static const char *const words[] = {
        [JOB_END_SUCCESS] = "finished",      [JOB_END_FAILED] = "failed",
        [JOB_END_FINAL] = "failed for good", [JOB_END_STOPPED] = "stopped",
        [JOB_END_LATER] = "put off",         [JOB_END_BACK] = "put back",
    };
    bool has_failed = end->kind == JOB_END_FAILED || end->kind == JOB_END_FINAL;
    const char *name = c->run.call.name ? printable(task_arena(), c->run.call.name) : "?";

    if (is_lost && told_again)
        log_warn("%s %s after %.3f s, told again as Redis' answer was lost: it is in the "
                 "books, or somebody else has decided about the job",
                 name, words[end->kind], end->worked_s);
    else if (is_lost)
        log_warn("%s %s after %.3f s, but somebody else has decided about the job: "
                 "dropped",
                 name, words[end->kind], end->worked_s);
    else if (has_failed)
        log_warn("%s failed after %.3f s%s: %s", name, end->worked_s,
                 end->kind == JOB_END_FAILED && !c->run.is_last_attempt
                     ? ", will be retried"
                     : "",
                 last_line(end->error));
    else
        log_info("%s %s after %.3f s", name, words[end->kind], end->worked_s);
}

static void count_end(struct consumer *c, const struct job_end *end, bool is_lost)
{
    static const enum board_job_end ends[] = {
        [JOB_END_SUCCESS] = BOARD_JOB_FINISHED, [JOB_END_FAILED] = BOARD_JOB_RETRIED,
        [JOB_END_FINAL] = BOARD_JOB_FAILED,     [JOB_END_STOPPED] = BOARD_JOB_STOPPED,
        [JOB_END_LATER] = BOARD_JOB_POSTPONED,  [JOB_END_BACK] = BOARD_JOB_RETURNED,
    };
    struct board_counters *count = &c->context->slot->count;
    enum board_job_end as = ends[end->kind];

    if (as == BOARD_JOB_RETRIED && c->run.is_last_attempt)
        as = BOARD_JOB_FAILED;
    atomic_fetch_add(&count->job_ends[is_lost ? BOARD_JOB_LOST : as], 1);
    atomic_fetch_add(&count->job_us, (uint64_t)(end->worked_s * 1e6));
    if (end->kind == JOB_END_SUCCESS)
        atomic_fetch_add(&count->jobs_done, 1);
    else if (end->kind != JOB_END_BACK && end->kind != JOB_END_LATER)
        atomic_fetch_add(&count->jobs_failed, 1);
}

static bool may_try_again(struct consumer *c, uint64_t since_ms)
{
    if (!c->is_leaving)
        return true;
    return !c->is_quick && clock_ms() - since_ms < LEAVE_PATIENCE_MS;
}

static bool has_done_its_share(const struct consumer *c)
{
    int64_t most = c->context->pool->max_jobs;

    return most > 0 && c->jobs_run >= most;
}

static bool may_have_next(struct consumer *c)
{
    return !c->is_leaving && !has_done_its_share(c) && consumer_may_claim(c);
}

/* Told to Redis until Redis has it: the scripts do nothing twice. */
static void end_in_books(struct consumer *c, const struct job_end *end)
{
    uint64_t since_ms = clock_ms();
    uint64_t delay_ms = RETRY_FIRST_MS;
    struct claimed_job *next = NULL;
    bool is_lost = false, asks;
    int claim = CLAIM_EMPTY;
    int rc;

    /* Whatever a lost answer held, the next claim of that execution gives again. */
    while (asks = may_have_next(c),
           (rc = job_finish(&c->worker, c->job, end, asks ? c->next_execution : NULL,
                            &is_lost, &claim, &next)) < 0) {
        if (delay_ms == RETRY_FIRST_MS)
            log_warn("Redis cannot be told that this job ended (%s); trying on",
                     strerror(-rc));
        if (!may_try_again(c, since_ms)) {
            log_error("gone without telling Redis how this job ended; it is redelivered");
            break;
        }
        task_sleep(delay_ms);
        delay_ms = delay_ms * 2 < RETRY_LAST_MS ? delay_ms * 2 : RETRY_LAST_MS;
    }
    if (rc == 0)
        log_end(c, end, is_lost, delay_ms > RETRY_FIRST_MS);
    if (rc == 0 && asks)
        consumer_claimed(c, next);
    count_end(c, end, is_lost);
    claimed_job_free(c->job);
    c->job = next;
    c->state = "idle"; /* as the script wrote it */
    if (claim == CLAIM_UNREGISTERED)
        c->is_registered = false;
    if (next)
        id_hex(c->next_execution, sizeof(c->next_execution) - 1);
}

static void free_arena(void *arg)
{
    arena_free(arg);
}

void consumer_run_job(struct consumer *c)
{
    struct job_end end = { .kind = JOB_END_BACK };
    struct arena *arena = arena_new(JOB_MEMORY_CAP);

    /* Freed with the cycle's task, when the outcome is written. */
    arena_defer(task_arena(), free_arena, arena);
    task_set_id(c->job->id);
    c->run = (struct job_run){ .id = c->job->id };
    c->poll_ms = 0;
    c->idle_since_ms = 0;
    /* Claimed in the moment we were told to go: it never started. */
    if (!c->is_leaving) {
        run_function(c, arena);
        c->jobs_run++;
        judge(c, task_arena(), &end);
    }
    end_in_books(c, &end);
    task_set_id(NULL);
    if (has_done_its_share(c) && !c->is_leaving) {
        log_info("has run %lld jobs (max_jobs): another one takes its place",
                 (long long)c->jobs_run);
        consumer_leave(c);
    }
}
