/*
 * gate_batch.c - see gate_batch.h.
 */
#include "worker/gate_batch.h"
#include "common/arena.h"
#include "common/embedded.h"
#include "common/task.h"
#include "lua_scripts.h"
#include <assert.h>
#include <errno.h>
#include <string.h>

/* Redis is held up by one script at a time, and this many take a sixth of a millisecond.
 */
#define MOST_QUESTIONS 32
#define VALUES         6 /* of an answer in the script's reply */

/* In its leader's arena. */
struct gate_batch {
    size_t count;
    struct gate_question *questions[MOST_QUESTIONS]; /* NULL: who asked has gone */
};

static struct {
    struct redis_script script;
    const char *settled_us;
    bool is_cluster;
    struct gate_batch *open; /* may be joined; NULL: none */
} gate;

void gate_batch_init(const char *settled_us, bool is_cluster)
{
    const struct embedded_file *file = embedded_find(lua_scripts, "gate.lua");

    assert(file);
    redis_script_init(&gate.script, "gate", file->data);
    gate.script.any_slots = true;
    gate.settled_us = settled_us;
    gate.is_cluster = is_cluster;
    gate.open = NULL;
}

/* ---- the script's call ---- */

struct call {
    const char **keys, **args;
    size_t *lengths; /* of args */
    int key_count, arg_count;
};

static void make_room(struct call *call, size_t questions)
{
    size_t args = 1 + 2 * questions;

    call->keys = arena_array(task_arena(), questions * GATE_KEYS, sizeof(*call->keys));
    call->args = arena_array(task_arena(), args, sizeof(*call->args));
    call->lengths = arena_array(task_arena(), args, sizeof(*call->lengths));
}

static void add_arg(struct call *call, const char *arg, size_t length)
{
    call->args[call->arg_count] = arg;
    call->lengths[call->arg_count++] = length;
}

/* Who asks may have gone before the keys are sent: copies. */
static void add_question(struct call *call, const struct gate_question *question)
{
    static const char *const counts[GATE_KEYS + 1] = { "0", "1", "2", "3", "4" };

    for (int i = 0; i < question->key_count; i++)
        call->keys[call->key_count++] = arena_strdup(task_arena(), question->keys[i]);
    add_arg(call, counts[question->key_count], 1);
    add_arg(call, question->limit->packed, (size_t)question->limit->count * LIMIT_PACKED);
}

static int64_t number_of(const redisReply *value)
{
    return value->type == REDIS_REPLY_INTEGER ? value->integer : 0;
}

static void read_values(redisReply *const *values, struct gate_values *ret)
{
    size_t length = values[1]->type == REDIS_REPLY_STRING ? values[1]->len : 0;

    if (length >= sizeof(ret->generation))
        length = 0;
    ret->known = number_of(values[0]);
    memcpy(ret->generation, length > 0 ? values[1]->str : "", length);
    ret->generation[length] = '\0';
    ret->window = number_of(values[2]);
    ret->left = number_of(values[3]);
    ret->reset = number_of(values[4]);
    ret->wait = number_of(values[5]);
}

/* Answers everybody who is still there. */
static int ask_for_all(struct redis *redis, struct gate_batch *batch)
{
    struct call call = { 0 };
    size_t asked[MOST_QUESTIONS], count = 0;
    redisReply *reply;

    make_room(&call, batch->count);
    add_arg(&call, gate.settled_us, strlen(gate.settled_us));
    for (size_t i = 0; i < batch->count; i++) {
        if (!batch->questions[i])
            continue;
        add_question(&call, batch->questions[i]);
        asked[count++] = i;
    }
    int rc = redis_run_script(redis, &gate.script, &reply, call.key_count, call.keys,
                              call.arg_count, call.args, call.lengths);
    if (rc < 0)
        return rc;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != count * VALUES)
        return -EPROTO;
    for (size_t i = 0; i < count; i++)
        if (batch->questions[asked[i]])
            read_values(reply->element + i * VALUES, &batch->questions[asked[i]]->values);
    return 0;
}

/* ---- leading and joining ---- */

static void close_batch(struct gate_batch *batch)
{
    if (gate.open == batch)
        gate.open = NULL;
}

static void wake_all(struct gate_batch *batch, int result)
{
    for (size_t i = 1; i < batch->count; i++)
        if (batch->questions[i])
            task_wake(batch->questions[i]->task, result);
}

static void leader_has_gone(void *arg)
{
    close_batch(arg);
    wake_all(arg, -ECANCELED);
}

static int lead(struct redis *redis, struct gate_question *question)
{
    struct gate_batch *batch = arena_alloc(task_arena(), sizeof(*batch));
    struct arena_deferred *deferred = arena_defer(task_arena(), leader_has_gone, batch);

    batch->questions[batch->count++] = question;
    gate.open = batch;
    task_pause();
    close_batch(batch);
    int rc = ask_for_all(redis, batch);
    arena_undefer(deferred);
    wake_all(batch, rc);
    return rc;
}

static void leave(void *arg)
{
    struct gate_question *question = arg;

    question->batch->questions[question->at] = NULL;
}

static int join(struct gate_question *question)
{
    struct gate_batch *batch = gate.open;

    question->task = task_self();
    question->batch = batch;
    question->at = batch->count;
    batch->questions[batch->count++] = question;
    return task_park(&(struct task_park){
        .waiting_on = "redis: gate", .on_cancel = leave, .arg = question });
}

static bool may_join(const struct gate_question *question)
{
    const struct gate_batch *batch = gate.open;

    return batch && batch->count < MOST_QUESTIONS &&
           (!gate.is_cluster ||
            (question->user_id > 0 && batch->questions[0]->user_id == question->user_id));
}

int gate_batch_ask(struct redis *redis, struct gate_question *question)
{
    int rc = -ECANCELED;

    while (rc == -ECANCELED)
        rc = may_join(question) ? join(question) : lead(redis, question);
    return rc;
}
