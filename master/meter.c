/*
 * meter.c - see meter.h.
 */
#include "master/meter.h"
#include "common/scoreboard.h"

/* What was so long ago has two fifths of its weight. */
#define MEAN_SECONDS 5.0
/* A loop that has not turned for so long is in the middle of something; one that waits
 * for events beats twice a second. */
#define SILENT_MS  500
#define OVERDUE_MS 1500
/* Nobody looked: this process, or the machine, stood still. */
#define LOST_MS 5000

static uint64_t busy_until_now(struct board_slot *slot, uint64_t now_ms)
{
    uint64_t busy_us = slot->count.busy_us;
    struct board_doing doing;

    /* A job counts when it ends: this one has not yet. */
    if (slot->role == BOARD_CONSUMER && board_read_doing(slot, &doing) &&
        doing.since_ms && doing.since_ms < now_ms)
        busy_us += (now_ms - doing.since_ms) * 1000;
    return busy_us;
}

static uint64_t done_by(const struct board_slot *slot)
{
    return slot->role == BOARD_WORKER ? slot->count.requests
                                      : slot->count.jobs_done + slot->count.jobs_failed;
}

static struct meter_span span_of(const struct meter *meter, const struct board_slot *slot,
                                 uint64_t busy_us, uint64_t now_ms)
{
    struct meter_span span = { .wall_us = (now_ms - meter->at_ms) * 1000 };
    uint64_t silent_ms = slot->count.is_waiting ? OVERDUE_MS : SILENT_MS;

    if (slot->role == BOARD_WORKER && slot->count.beat_ms + silent_ms < now_ms)
        span.busy_us = span.wall_us;
    else if (busy_us > meter->busy_us)
        span.busy_us = busy_us - meter->busy_us;
    if (span.busy_us > span.wall_us)
        span.busy_us = span.wall_us;
    return span;
}

struct meter_span meter_look(struct meter *meter, struct board_slot *slot,
                             uint64_t now_ms)
{
    struct meter before = *meter;
    struct meter_span span = { 0 };

    meter->at_ms = now_ms;
    meter->busy_us = busy_until_now(slot, now_ms);
    meter->done = done_by(slot);
    if (!before.at_ms || now_ms <= before.at_ms || now_ms > before.at_ms + LOST_MS)
        return span;
    span = span_of(&before, slot, meter->busy_us, now_ms);
    double seconds = (double)span.wall_us / 1e6;
    double weight = seconds / (seconds + MEAN_SECONDS);
    double done = meter->done > before.done ? (double)(meter->done - before.done) : 0;
    meter->busy += weight * ((double)span.busy_us / (double)span.wall_us - meter->busy);
    meter->rate += weight * (done / seconds - meter->rate);
    slot->busy_permille = (uint32_t)(meter->busy * 1000);
    return span;
}
