/*
 * autoscale.h - where a count is a range (`{ min = 2; max = 8; }`), the load decides.
 *
 * Workers: the busy share of their loops over a window (uWSGI's busyness). Consumers:
 * the jobs that wait in their queues and how long (the scheduler counts them), and how
 * busy they are. One step at a time. A step begins a new window, whose children must
 * all be ready; and one process ends only after a time of calm, in which every window
 * said that the others could do its work and have a third of the limit to spare. So a
 * load that stays as it is never leads there and back again.
 *
 * While an operator's own count stands (`ctl scale`), nothing is decided.
 */
#ifndef FORKMARK_MASTER_AUTOSCALE_H
#define FORKMARK_MASTER_AUTOSCALE_H

#include <stdbool.h>
#include <stdint.h>

struct buf;
struct master;

/* What is to be kept to. */
struct autoscale_rule {
    bool has_queue; /* consumers */
    int min, max;
    uint64_t window_ms, calm_ms;
    int busy;        /* per cent */
    int64_t waiting; /* jobs for each consumer */
    uint64_t age_ms;
};

/* What was measured since the last decision. */
struct autoscale {
    uint64_t since_ms;         /* 0: the next look begins */
    uint64_t wall_us, busy_us; /* of all children */
    bool has_counted;          /* the jobs, once at least in this window: */
    int64_t waiting_least, age_least_ms;
    uint64_t calm_since_ms; /* 0: it is not calm */
    bool is_at_most;        /* said already: more were needed than may be */
};

/* One look more: how many jobs wait, and since when the one at a queue's head. */
void autoscale_count(struct autoscale *load, int64_t waiting, int64_t age_ms);
/* A new window; the calm has to begin anew, too. */
void autoscale_restart(struct autoscale *load);

/*
 * What is to be done with `count` children now: +1, -1 or 0. When the window is over it
 * begins a new one. `why` says what was measured; also with 0, when there is something
 * to say (more are needed than may be).
 */
int autoscale_decide(struct autoscale *load, const struct autoscale_rule *rule, int count,
                     uint64_t now_ms, struct buf *why);

/* Once a second: looks at every child, and scales pools. */
void autoscale_look(struct master *m);

#endif
