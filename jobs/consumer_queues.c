/*
 * consumer_queues.c - in which order a consumer goes through its queues, and what it
 * leaves in them.
 *
 * The order is the pool's strategy, as RQ's (protocol 6.6). A queue whose unknown jobs
 * are left to others is not popped: its ids are read, each job is judged by the first
 * bytes of its data, and those that we can run are claimed by id. What is foreign is
 * remembered, so that a look through thousands of such jobs moves their ids alone; and
 * a queue whose length and ends are as they were is not looked through again, so that
 * waiting beside foreign jobs costs next to nothing.
 */
#include "common/arena.h"
#include "common/clock.h"
#include "common/ids.h"
#include "common/log.h"
#include "jobs/consumer_parts.h"
#include "jobs/rq/waiting.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_AGAIN_MS 5000 /* also at a queue that seems unchanged */
#define FRESH_MS      1000 /* so long what was found may be claimed */
#define ASKED_MS      50   /* so long an empty queue counts as empty */
#define REACH_SHARE   10
#define FORGET_MS     60000 /* an id may come back as another job */
#define LIST_FIRST    128
#define LIST_AT_ONCE  1000
#define PEEK_AT_ONCE  32
#define ENOUGH        64
#define CLAIM_OF      8  /* so many are named in one claim: others may be faster */
#define PEEKS_A_LOOK  32 /* the cycle's arena holds all of them */
#define LISTS_A_LOOK  8
#define LARGE_DATA    ((size_t)64 << 10)
#define CHECK_MEMORY  ((size_t)256 << 20)
#define FOREIGN_MOST  ((size_t)1 << 20)
#define FOREIGN_LEAST ((size_t)1 << 10)
#define MOST_A_QUEUE  (ENOUGH + PEEK_AT_ONCE)

/* ---- a set of ids: their seeded hashes, open addressing, 0 is a free place ---- */

static uint64_t hash_id(const struct foreign_ids *set, const char *id, size_t length)
{
    uint64_t hash = set->seed;

    for (size_t i = 0; i < length; i++) {
        hash ^= (uint8_t)id[i];
        hash *= 0x100000001b3ULL;
        hash ^= hash >> 29;
    }
    return hash ? hash : 1;
}

static uint64_t *place_of(const struct foreign_ids *set, uint64_t hash)
{
    size_t at = hash & (set->room - 1);

    while (set->hashes[at] && set->hashes[at] != hash)
        at = (at + 1) & (set->room - 1);
    return &set->hashes[at];
}

static void make_room(struct foreign_ids *set, size_t room)
{
    struct foreign_ids old = *set;

    set->room = room;
    set->count = 0;
    set->hashes = calloc(room, sizeof(*set->hashes));
    if (!set->hashes)
        fatal("out of memory");
    for (size_t i = 0; i < old.room; i++) {
        if (old.hashes[i]) {
            *place_of(set, old.hashes[i]) = old.hashes[i];
            set->count++;
        }
    }
    free(old.hashes);
}

static void forget_foreign(struct foreign_ids *set)
{
    free(set->hashes);
    set->hashes = NULL;
    set->room = 0;
    set->since_ms = clock_ms();
    id_random(&set->seed, sizeof(set->seed));
    make_room(set, FOREIGN_LEAST);
}

static bool is_foreign(const struct foreign_ids *set, const struct waiting_job *job)
{
    return *place_of(set, hash_id(set, job->id, job->id_length)) != 0;
}

static void note_foreign(struct foreign_ids *set, const struct waiting_job *job)
{
    if (set->count >= FOREIGN_MOST)
        forget_foreign(set);
    if (2 * set->count >= set->room)
        make_room(set, 2 * set->room);
    *place_of(set, hash_id(set, job->id, job->id_length)) =
        hash_id(set, job->id, job->id_length);
    set->count++;
}

/* ---- one job: ours, or somebody else's ---- */

/* Whether a function of ours would run: the whole payload must be data, too. */
static bool is_runnable(struct consumer *c, const void *data, size_t length)
{
    const char *error;
    struct call call;

    return payload_read(c->check_arena, data, length, &call, &error) &&
           job_function_find(c->context->options, call.name);
}

/*
 * 1 ours, 0 foreign, or an error. What has no data or was canceled is ours to drop.
 * A payload that breaks the bounds of memory ends this task: its mark outlives it, and
 * the next look takes the job for foreign.
 */
static int judge(struct consumer *c, const struct waiting_job *job)
{
    uint64_t hash = hash_id(&c->foreign, job->id, job->id_length);
    const char *data = job->data;
    size_t length = job->data_length;
    int rc = 0;

    if (length == 0 || strcmp(job->status, "canceled") == 0)
        return 1;
    if (length > PAYLOAD_MAX_INFLATED || c->suspect == hash)
        return 0;
    size_t prefix = length < WAITING_PREFIX ? length : WAITING_PREFIX;
    const char *name = payload_peek_name(c->check_arena, data, prefix);
    if (name && !job_function_find(c->context->options, name))
        return 0;
    c->suspect = hash;
    if (length > WAITING_PREFIX)
        rc = waiting_data(c->worker.redis, job, &data, &length);
    if (rc == 0)
        rc = length == 0 || is_runnable(c, data, length);
    c->suspect = 0;
    return rc;
}

static char *entry_of(const struct queue_view *view, const struct waiting_job *job)
{
    size_t room = strlen(view->name) + job->id_length + 3;
    char *entry = malloc(room);

    if (!entry)
        fatal("out of memory");
    snprintf(entry, room, ",%s,%s", view->name, job->id);
    return entry;
}

/* ---- a look through one queue ---- */

static void drop_found(struct queue_view *view, size_t count)
{
    if (count == 0)
        return;
    for (size_t i = 0; i < count; i++)
        free(view->found[i]);
    view->found_count -= count;
    memmove(view->found, view->found + count, view->found_count * sizeof(*view->found));
    /* They left the queue, or may still be there: the list is not as it was seen. */
    view->must_look = true;
    view->at -= view->at < count ? view->at : count;
}

/* How much of this look's budget it cost, or an error. */
static int judge_all(struct consumer *c, struct queue_view *view,
                     struct waiting_job *const *jobs, size_t count)
{
    struct waiting_job batch[PEEK_AT_ONCE];
    int cost = 1;

    for (size_t i = 0; i < count; i++)
        batch[i] = *jobs[i];
    int rc = count > 0 ? waiting_peek(c->worker.redis, batch, count) : 0;
    for (size_t i = 0; i < count && rc >= 0; i++) {
        /* Somebody runs it: an id that stands here twice. Nothing to remember. */
        if (strcmp(batch[i].status, "started") == 0)
            continue;
        rc = judge(c, &batch[i]);
        if (rc == 0)
            note_foreign(&c->foreign, &batch[i]);
        else if (rc == 1)
            view->found[view->found_count++] = entry_of(view, &batch[i]);
        cost += batch[i].data_length > LARGE_DATA ? 4 : 0;
    }
    return rc < 0 ? rc : cost;
}

/* Ids from the list that are not known to be foreign, judged in batches. How many ids
 * were passed, or an error. */
static int pass_ids(struct consumer *c, struct queue_view *view, struct waiting_job *ids,
                    size_t count, int *budget)
{
    struct waiting_job *unknown[PEEK_AT_ONCE];
    size_t unknown_count = 0, at = 0;

    while (at < count && view->found_count<ENOUGH && * budget> 0) {
        for (unknown_count = 0; at < count && unknown_count < PEEK_AT_ONCE; at++) {
            if (!is_foreign(&c->foreign, &ids[at]) &&
                strlen(ids[at].id) == ids[at].id_length)
                unknown[unknown_count++] = &ids[at];
        }
        int rc = judge_all(c, view, unknown, unknown_count);
        if (rc < 0)
            return rc;
        *budget -= rc;
    }
    return (int)at;
}

static void free_check_arena(void *arg)
{
    arena_free(arg);
}

static void check_arena_full(void *arg)
{
    (void)arg;
    task_exit(TASK_ARENA_FULL);
}

/* For payloads that are decoded to be judged; bounded as a job's own memory is. */
static void open_check_arena(struct consumer *c)
{
    c->check_arena = arena_new(CHECK_MEMORY);
    arena_on_full(c->check_arena, check_arena_full, NULL);
    arena_defer(task_arena(), free_check_arena, c->check_arena);
}

static void note_found(struct queue_view *view)
{
    view->found_ms = clock_ms();
    if (view->found_count > 0 && view->reach_ms == 0)
        view->reach_ms = view->found_ms - view->looked_ms + 1;
}

/* Goes on where the last look ended, for as long as one look may take. */
static int look_on(struct consumer *c, struct queue_view *view)
{
    struct waiting_job *ids = arena_array(task_arena(), LIST_AT_ONCE, sizeof(*ids));
    size_t max = LIST_FIRST;
    int budget = PEEKS_A_LOOK;

    open_check_arena(c);
    view->has_more = true;
    for (int lists = 0; lists < LISTS_A_LOOK && budget > 0; lists++) {
        int count = waiting_ids(c->worker.redis, view->name, view->at, LIST_AT_ONCE, ids);
        int passed = count > 0 ? pass_ids(c, view, ids, (size_t)count, &budget) : count;

        if (passed < 0)
            return passed;
        view->at += (size_t)passed;
        if (passed == count && (size_t)count < max) {
            view->at = 0;
            view->has_more = false;
            break;
        }
        if (view->found_count >= ENOUGH)
            break;
        max = LIST_AT_ONCE;
    }
    note_found(view);
    return 0;
}

static bool is_as_seen(const struct consumer *c, struct queue_view *view,
                       const struct waiting_ends *ends)
{
    uint64_t first = hash_id(&c->foreign, ends->first, strlen(ends->first));
    uint64_t last = hash_id(&c->foreign, ends->last, strlen(ends->last));
    bool is_same = view->length == ends->length && view->first == first &&
                   view->last == last && !view->must_look &&
                   clock_ms() < view->looked_ms + LOOK_AGAIN_MS;

    view->length = ends->length;
    view->first = first;
    view->last = last;
    return is_same;
}

/*
 * Whether to begin at the list's head again: what came to the front must not wait until
 * a long list is looked through. Not before this pass has brought something, and not so
 * often that the way there becomes all we do.
 */
static bool is_pass_old(const struct queue_view *view)
{
    uint64_t since_ms = clock_ms() - view->looked_ms;

    return view->reach_ms > 0 && since_ms > LOOK_AGAIN_MS &&
           since_ms > REACH_SHARE * view->reach_ms;
}

/* 0 or an error; what can be claimed is in view->found. */
static int look(struct consumer *c, struct queue_view *view)
{
    struct waiting_ends ends;

    if (!view->has_more || is_pass_old(view)) {
        int rc = waiting_ends(c->worker.redis, view->name, &ends);

        if (rc < 0)
            return rc;
        view->asked_ms = clock_ms();
        if (is_as_seen(c, view, &ends) && !view->has_more)
            return 0;
        view->at = 0;
        view->must_look = false;
        view->reach_ms = 0;
        view->looked_ms = clock_ms();
    }
    return look_on(c, view);
}

/* ---- the order ---- */

static void list_entries(struct consumer *c)
{
    struct conf_list *list = &c->claim_from;

    list->count = 0;
    for (size_t i = 0; i < c->queue_count; i++) {
        const struct queue_view *view = c->order[i];

        if (!view->leaves) {
            list->items[list->count++] = view->name;
            continue;
        }
        for (size_t k = 0; k < view->found_count && k < CLAIM_OF; k++)
            list->items[list->count++] = view->found[k];
        /* What is not seen or not named yet comes before the queues behind. */
        if (view->has_more || view->found_count > CLAIM_OF)
            return;
    }
}

static bool has_fresh(const struct queue_view *view)
{
    return view->found_count > 0 && clock_ms() < view->found_ms + FRESH_MS;
}

/* Nothing of ours was there a moment ago. */
static bool is_known_empty(const struct queue_view *view)
{
    return view->found_count == 0 && !view->has_more && !view->must_look &&
           clock_ms() < view->asked_ms + ASKED_MS;
}

bool consumer_may_claim(struct consumer *c)
{
    for (size_t i = 0; i < c->queue_count; i++) {
        const struct queue_view *view = c->order[i];

        if (view->leaves && !has_fresh(view) && !is_known_empty(view))
            return false;
    }
    list_entries(c);
    return true;
}

int consumer_look(struct consumer *c)
{
    uint64_t began_ms = clock_ms();
    int rc = 0;

    if (!c->has_foreign)
        return 0;
    if (began_ms > c->foreign.since_ms + FORGET_MS)
        forget_foreign(&c->foreign);
    for (size_t i = 0; i < c->queue_count && rc >= 0; i++) {
        struct queue_view *view = c->order[i];

        if (!view->leaves || has_fresh(view))
            continue;
        drop_found(view, view->found_count);
        rc = look(c, view);
        if (view->has_more)
            break;
    }
    c->look_took_ms = clock_ms() - began_ms;
    list_entries(c);
    return rc;
}

static void shuffle(struct consumer *c)
{
    for (size_t i = c->queue_count; i > 1; i--) {
        uint32_t random;

        id_random(&random, sizeof(random));
        size_t other = random % i;
        struct queue_view *view = c->order[i - 1];
        c->order[i - 1] = c->order[other];
        c->order[other] = view;
    }
}

/* The queues up to and including the one just served go to the end. */
static void rotate(struct consumer *c, const char *queue)
{
    for (size_t served = 0; served < c->queue_count; served++) {
        if (strcmp(c->order[served]->name, queue) != 0)
            continue;
        for (size_t n = 0; n <= served; n++) {
            struct queue_view *first = c->order[0];

            memmove(c->order, c->order + 1, (c->queue_count - 1) * sizeof(*c->order));
            c->order[c->queue_count - 1] = first;
        }
        return;
    }
}

/* What the claim went through is gone: taken by us or, meanwhile, by others. */
static void drop_tried(struct consumer *c, const struct claimed_job *job)
{
    for (size_t i = 0; i < c->queue_count; i++) {
        struct queue_view *view = c->order[i];
        size_t prefix = strlen(view->name) + 2;

        for (size_t k = 0; job && k < view->found_count; k++) {
            if (strcmp(view->found[k] + prefix, job->id) == 0) {
                drop_found(view, k + 1);
                return;
            }
        }
        drop_found(view, view->found_count < CLAIM_OF ? view->found_count : CLAIM_OF);
        if (job && !view->leaves && strcmp(view->name, job->queue) == 0)
            return;
    }
}

void consumer_claimed(struct consumer *c, const struct claimed_job *job)
{
    if (c->has_foreign)
        drop_tried(c, job);
    if (job && c->context->pool->strategy == DEQUEUE_RANDOM)
        shuffle(c);
    else if (job && c->context->pool->strategy == DEQUEUE_ROUND_ROBIN)
        rotate(c, job->queue);
    if (job && !c->has_foreign)
        list_entries(c);
}

bool consumer_has_looked(const struct consumer *c)
{
    for (size_t i = 0; i < c->queue_count; i++) {
        if (c->queues[i].has_more || c->queues[i].found_count > 0)
            return false;
    }
    return true;
}

bool consumer_leaves_jobs(const struct consumer *c, size_t queue)
{
    return c->queues[queue].leaves && c->queues[queue].length > 0;
}

void consumer_queues_init(struct consumer *c)
{
    const struct conf_list *names = c->worker.queues;

    c->queue_count = names->count;
    c->queues = calloc(names->count, sizeof(*c->queues));
    c->order = calloc(names->count, sizeof(struct queue_view *));
    c->claim_from.items = calloc(names->count * CLAIM_OF + 1, sizeof(char *));
    if (!c->queues || !c->order || !c->claim_from.items)
        fatal("out of memory");
    for (size_t i = 0; i < names->count; i++) {
        struct queue_view *view = &c->queues[i];

        view->name = names->items[i];
        view->leaves =
            options_queue(c->context->options, view->name)->unknown == UNKNOWN_LEAVE;
        view->must_look = true;
        if (view->leaves) {
            view->found = calloc(MOST_A_QUEUE, sizeof(char *));
            if (!view->found)
                fatal("out of memory");
            c->has_foreign = true;
        }
        c->order[i] = view;
    }
    if (c->has_foreign)
        forget_foreign(&c->foreign);
    if (c->context->pool->strategy == DEQUEUE_RANDOM)
        shuffle(c);
    list_entries(c);
    c->worker.claim_from = &c->claim_from;
}

void consumer_queues_free(struct consumer *c)
{
    for (size_t i = 0; i < c->queue_count; i++) {
        struct queue_view *view = &c->queues[i];

        drop_found(view, view->found_count);
        free(view->found);
    }
    free(c->foreign.hashes);
    free(c->claim_from.items);
    free(c->order);
    free(c->queues);
}
