/*
 * gate_batch.h - the questions of one turn of the loop as one call of the gate's script.
 *
 * A busy worker finds many requests at once, and a script that answers sixteen of them
 * takes Redis half the time of sixteen scripts, and the worker one reply to read. The
 * first to ask leads: it lets the tasks that are ready run once, then asks for all who
 * have joined. A worker with nothing else to do asks at once.
 *
 * If the leader's request ends before the answer is there (its client has gone), those
 * who joined ask anew.
 */
#ifndef FORKMARK_WORKER_GATE_BATCH_H
#define FORKMARK_WORKER_GATE_BATCH_H

#include "common/redis.h"
#include "worker/limits.h"

#define GATE_KEYS 4 /* of one question at most */

/* The values of one answer as scripts/gate.lua gives them. */
struct gate_values {
    int64_t known, window, left, reset, wait;
    char generation[64]; /* "": none */
};

/* All of it lives in the asker's arena. */
struct gate_question {
    int32_t user_id; /* 0: nobody's */
    int key_count;
    const char *keys[GATE_KEYS];
    const struct limit *limit;
    struct gate_values values; /* the answer */

    struct task *task; /* the rest is gate_batch.c's */
    struct gate_batch *batch;
    size_t at;
};

/*
 * Once per process. `settled_us`: the script's first argument (borrowed). In a cluster
 * the keys of one script must share a slot, so there only questions of one user go
 * together.
 */
void gate_batch_init(const char *settled_us, bool is_cluster);

/* Yields. 0, or an error of redis_call(). */
int gate_batch_ask(struct redis *redis, struct gate_question *question);

#endif
