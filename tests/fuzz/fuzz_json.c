/*
 * fuzz_json.c - any bytes as a request's JSON, in a task as in a worker.
 */
#include "common/arena.h"
#include "common/buf.h"
#include "common/json.h"
#include "common/task.h"
#include "tests/fuzz/fuzzing.h"
#include <string.h>

struct input {
    const char *text;
    size_t length;
};

/* What was read and written again reads the same. */
static void check_round_trip(const cJSON *tree)
{
    char *text = cJSON_PrintUnformatted(tree);

    require(text != NULL);
    require(json_check(text, strlen(text), JSON_MAX_DEPTH, JSON_MAX_VALUES) == 0);
    require(json_parse(text, strlen(text)) != NULL);
}

/* Any bytes at all become a JSON text that parses. */
static void check_quote(const struct input *input)
{
    struct buf out = BUF_IN(task_arena());

    json_quote(&out, input->text, input->length);
    require(json_parse(out.data, out.length) != NULL);
}

static void check(const struct input *input)
{
    const cJSON *tree = json_parse(input->text, input->length);
    int64_t number;

    if (tree) {
        json_text(tree, "a");
        json_int(tree, "a", &number);
        check_round_trip(tree);
    }
    check_quote(input);
}

/* A new task for each input would spend its time looking over the used stack. */
#define INPUTS_A_TASK 500

static struct input next;
static struct task *waiting;

static void run(void *arg)
{
    (void)arg;
    for (int i = 0; i < INPUTS_A_TASK; i++) {
        waiting = task_self();
        task_park(&(struct task_park){ .waiting_on = "input" });
        check(&next);
    }
    waiting = NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int is_ready;

    if (!is_ready) {
        task_runtime_init();
        json_init();
        is_ready = 1;
    }
    if (!waiting) {
        task_spawn(&(struct task_spec){ .name = "fuzz", .run = run });
        task_run_loop();
    }
    next = (struct input){ (const char *)data, size };
    task_wake(waiting, 0);
    task_run_loop();
    return 0;
}
