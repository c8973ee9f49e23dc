/*
 * autoscale.c - see autoscale.h.
 */
#include "master/autoscale.h"
#include "common/buf.h"
#include "common/log.h"
#include "master/events.h"
#include "master/master.h"
#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* What those who stay may have at most, of the share that calls for one more. */
#define SPARE_NUMERATOR   2
#define SPARE_DENOMINATOR 3
/* What the scheduler counted longer ago is not what is. */
#define COUNT_FRESH_MS 5000

/* ---- the decision ---- */

void autoscale_count(struct autoscale *load, int64_t waiting, int64_t age_ms)
{
    if (!load->has_counted || waiting < load->waiting_least)
        load->waiting_least = waiting;
    if (!load->has_counted || age_ms < load->age_least_ms)
        load->age_least_ms = age_ms;
    load->has_counted = true;
}

/* The calm goes on. */
static void next_window(struct autoscale *load, uint64_t now_ms)
{
    load->since_ms = now_ms;
    load->wall_us = load->busy_us = 0;
    load->has_counted = false;
    load->waiting_least = load->age_least_ms = 0;
}

void autoscale_restart(struct autoscale *load)
{
    *load = (struct autoscale){ .since_ms = 0 };
}

/* In per cent of one process. */
static double busy_share(const struct autoscale *load)
{
    return load->wall_us ? 100.0 * (double)load->busy_us / (double)load->wall_us : 0;
}

static bool needs_more(const struct autoscale *load, const struct autoscale_rule *rule,
                       int count, struct buf *why)
{
    double seconds = (double)rule->window_ms / 1000;

    if (!rule->has_queue) {
        buf_addf(why, "the loops were busy for %.0f %% of %.0f s, more than %d %%",
                 busy_share(load), seconds, rule->busy);
        return busy_share(load) > rule->busy;
    }
    if (load->waiting_least == 0)
        return false;
    if (count == 0) {
        buf_addf(why, "%" PRId64 " jobs wait for nobody", load->waiting_least);
        return true;
    }
    if (load->waiting_least >= rule->waiting * count) {
        buf_addf(why, "%" PRId64 " jobs waited at least, %" PRId64 " or more for each",
                 load->waiting_least, rule->waiting);
        return true;
    }
    buf_addf(why, "a job waited for %.1f s, longer than %.0f s",
             (double)load->age_least_ms / 1000, (double)rule->age_ms / 1000);
    return load->age_least_ms >= (int64_t)rule->age_ms;
}

/* Whether one fewer could have done it, with something to spare. */
static bool needs_fewer(const struct autoscale *load, const struct autoscale_rule *rule,
                        int count, struct buf *why)
{
    double limit = (double)rule->busy * SPARE_NUMERATOR / SPARE_DENOMINATOR;

    if (rule->has_queue && load->waiting_least > 0)
        return false;
    buf_addf(why, "busy for %.0f %%%s over %.0f s: fewer suffice", busy_share(load),
             rule->has_queue ? " and no job waited" : "", (double)rule->calm_ms / 1000);
    if (count == 1) /* the last one: only when there is nothing at all to do */
        return load->busy_us == 0;
    return busy_share(load) * count / (count - 1) <= limit;
}

static bool is_window_over(const struct autoscale *load,
                           const struct autoscale_rule *rule, int count, uint64_t now_ms)
{
    if (rule->has_queue && !load->has_counted)
        return false;
    if (count == 0) /* who waits for nobody does not wait long */
        return true;
    return load->wall_us > 0 && now_ms >= load->since_ms + rule->window_ms;
}

static int grow(struct autoscale *load, const struct autoscale_rule *rule, int count,
                uint64_t now_ms, struct buf *why)
{
    load->calm_since_ms = 0;
    next_window(load, now_ms);
    if (count < rule->max) {
        load->is_at_most = false;
        return 1;
    }
    if (load->is_at_most)
        buf_clear(why);
    else
        buf_addf(why, "; there are %d already, the most there may be", count);
    load->is_at_most = true;
    return 0;
}

int autoscale_decide(struct autoscale *load, const struct autoscale_rule *rule, int count,
                     uint64_t now_ms, struct buf *why)
{
    uint64_t began_ms = load->since_ms;

    buf_clear(why);
    if (!load->since_ms)
        load->since_ms = began_ms = now_ms;
    if (!is_window_over(load, rule, count, now_ms))
        return 0;
    if (needs_more(load, rule, count, why))
        return grow(load, rule, count, now_ms, why);
    buf_clear(why);
    load->is_at_most = false;
    bool is_calm = count > rule->min && needs_fewer(load, rule, count, why);
    next_window(load, now_ms);
    if (!is_calm)
        load->calm_since_ms = 0;
    else if (!load->calm_since_ms)
        load->calm_since_ms = began_ms;
    if (is_calm && now_ms >= load->calm_since_ms + rule->calm_ms) {
        load->calm_since_ms = 0;
        return -1;
    }
    buf_clear(why);
    return 0;
}

/* ---- the pools ---- */

static struct autoscale_rule rule_of(const struct master *m, const struct pool *pool)
{
    const struct options *options = m->options;
    int room = pool_room(m, pool);

    return (struct autoscale_rule){
        .has_queue = pool->role->board == BOARD_CONSUMER,
        .min = pool->configured,
        .max = pool->most < room ? pool->most : room,
        .window_ms = options->autoscale.window,
        .calm_ms = options->autoscale.calm,
        .busy = (int)options->autoscale.busy,
        .waiting = options->autoscale.waiting,
        .age_ms = options->autoscale.age,
    };
}

static void meter_children(struct master *m)
{
    for (size_t i = 0; i < board_slots(m->board); i++) {
        struct child *child = &m->children[i];

        if (!child->pid || !child->was_ready)
            continue;
        struct meter_span span =
            meter_look(&child->meter, board_slot(m->board, i), m->now);
        if (child->is_draining || child->is_proof)
            continue;
        child->pool->load.wall_us += span.wall_us;
        child->pool->load.busy_us += span.busy_us;
    }
}

static void count_jobs(struct master *m, struct pool *pool)
{
    const struct board_backlog *backlog = board_backlog(m->board, pool->name);

    if (backlog && backlog->counted_ms && backlog->counted_ms + COUNT_FRESH_MS > m->now)
        autoscale_count(&pool->load, backlog->waiting, backlog->age_ms);
}

/* Whatever is under way (a reload, a start, deaths) comes to its end first. */
static bool may_decide(struct master *m, const struct pool *pool)
{
    return !reload_is_busy(m) && pool->failures == 0 && !pool->is_put_away &&
           pool_running(m, pool) == pool->wanted && pool_ready(m, pool) == pool->wanted;
}

static void act(struct master *m, struct pool *pool, int step, const char *why)
{
    int before = pool->wanted;

    if (step == 0) {
        log_warn("%s: %s", pool_path(pool), why);
        event_note(EVENT_SCALE, "%s: %s", pool_path(pool), why);
        return;
    }
    if (pool_scale(m, pool, before + step) < 0)
        return; /* rule_of() has looked for room */
    log_info("scale %s: %d -> %d by load: %s", pool_path(pool), before, pool->wanted,
             why);
    event_note(EVENT_SCALE, "%s: %d -> %d by load: %s", pool_path(pool), before,
               pool->wanted, why);
}

static void look_at(struct master *m, struct pool *pool)
{
    struct autoscale_rule rule = rule_of(m, pool);
    struct buf why = BUF_HEAP;

    if (rule.has_queue)
        count_jobs(m, pool);
    if (may_decide(m, pool)) {
        int step = autoscale_decide(&pool->load, &rule, pool->wanted, m->now, &why);

        if (step != 0 || why.length > 0)
            act(m, pool, step, buf_text(&why));
    } else {
        next_window(&pool->load, m->now);
    }
    buf_done(&why);
}

void autoscale_look(struct master *m)
{
    if (m->phase != PHASE_SERVING)
        return;
    meter_children(m);
    for (size_t i = 0; i < m->pool_count; i++) {
        struct pool *pool = &m->pools[i];

        if (pool->is_removed || pool->most <= pool->configured || pool->order.is_given)
            autoscale_restart(&pool->load);
        else
            look_at(m, pool);
    }
}
