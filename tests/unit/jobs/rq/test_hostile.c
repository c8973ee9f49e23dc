/*
 * The 164 hostile payloads: each does what it is expected to do, in bounded time and
 * memory. Prints what the worst of them cost.
 */
#include "tests/unit/jobs/rq/fixtures.h"
#include <stdint.h>
#include <time.h>
#include <zlib.h>

/* ---- memory: every allocation of our libraries passes here (see CMakeLists.txt) ----
 *
 * realloc() counts as its new size alone: what is large it moves by its pages, without
 * ever having both. zlib's own few tens of KiB are in its library and not counted. */

#define HEADER 16

void *__real_malloc(size_t size);
void *__real_realloc(void *old, size_t size);
void __real_free(void *memory);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void __wrap_free(void *memory);

static size_t held, held_most;

static void *count_in(char *block, size_t size)
{
    if (!block)
        return NULL;
    memcpy(block, &size, sizeof(size));
    held += size;
    if (held > held_most)
        held_most = held;
    return block + HEADER;
}

static char *count_out(void *memory)
{
    size_t size;

    if (!memory)
        return NULL;
    char *block = (char *)memory - HEADER;
    memcpy(&size, block, sizeof(size));
    held -= size;
    return block;
}

void *__wrap_malloc(size_t size)
{
    return count_in(__real_malloc(size + HEADER), size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    void *memory = __wrap_malloc(count * size);

    return memory ? memset(memory, 0, count * size) : NULL;
}

void *__wrap_realloc(void *old, size_t size)
{
    return count_in(__real_realloc(count_out(old), size + HEADER), size);
}

void __wrap_free(void *memory)
{
    __real_free(count_out(memory));
}

/* ---- time: of this thread's processor, the best of a few, since others may be busy ----
 */

#define TRIES 3
/* What sanitizers and missing optimization cost: measured 3 to 5 times. */
#ifdef FORKMARK_DEBUG
#define SLOWER 8
#else
#define SLOWER 1
#endif

static double now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

struct outcome {
    bool is_read;
    double ms;
    size_t memory;
};

static struct outcome run(const struct buf *data)
{
    struct outcome outcome = { .ms = 1e9 };

    for (int i = 0; i < TRIES; i++) {
        size_t before = held;
        const char *error = NULL;
        struct call call;

        held_most = held;
        double start = now_ms();
        struct arena *arena = arena_new(0);
        outcome.is_read =
            payload_read(arena, buf_text(data), data->length, &call, &error);
        if (!outcome.is_read)
            assert_int_equal(strncmp(error, "DeserializationError: ", 22), 0);
        arena_free(arena);
        double ms = now_ms() - start;
        if (ms < outcome.ms)
            outcome.ms = ms;
        outcome.memory = held_most - before;
    }
    return outcome;
}

/* What the field inflates to, of which a reader has to look at 16 MiB at most. */
static size_t inflated_size(const struct buf *data)
{
    z_stream stream = { .next_in = (Bytef *)data->data, .avail_in = (uInt)data->length };
    static char out[65536];
    int rc;

    inflateInit(&stream);
    do {
        stream.next_out = (Bytef *)out;
        stream.avail_out = sizeof(out);
        rc = inflate(&stream, Z_NO_FLUSH);
    } while (rc == Z_OK && stream.total_out < (uLong)16 << 20);
    size_t size = stream.total_out;
    inflateEnd(&stream);
    return size > data->length ? size : data->length;
}

static void refuses_the_hostile(void **state)
{
    cJSON *json = load("hostile.json");
    const char *slowest = "", *largest = "";
    double worst_time = 0, worst_memory = 0;
    const cJSON *row;
    int count = 0;

    (void)state;
    cJSON_ArrayForEach(row, cJSON_GetObjectItem(json, "hostile"))
    {
        struct buf data = BUF_HEAP;
        const char *name = text_of(row, "name");
        const char *expect = text_of(row, "expect");

        read_row(row, NULL, &data);
        double mib = (double)inflated_size(&data) / (1 << 20);
        struct outcome outcome = run(&data);
        double time_share = outcome.ms / (10 + 10 * mib) / SLOWER;
        double memory_share = (double)outcome.memory / (1 << 20) / (1 + 4 * mib);

        if (strcmp(expect, "refuse") == 0 && outcome.is_read)
            fail_msg("%s was accepted", name);
        if (strcmp(expect, "unknown_function") == 0 && !outcome.is_read)
            fail_msg("%s was refused", name);
        if (time_share > 1)
            fail_msg("%s took %.1f ms for %.2f MiB", name, outcome.ms, mib);
        if (memory_share > 1)
            fail_msg("%s took %zu bytes for %.2f MiB", name, outcome.memory, mib);
        if (time_share > worst_time) {
            worst_time = time_share;
            slowest = name;
        }
        if (memory_share > worst_memory) {
            worst_memory = memory_share;
            largest = name;
        }
        if (getenv("SHOW_EACH"))
            print_message("%-30s %8.3f ms %9zu bytes for %.3f MiB\n", name, outcome.ms,
                          outcome.memory, mib);
        buf_done(&data);
        count++;
    }
    assert_int_equal(count, 164);
    print_message("slowest of its time: %s, %.0f %%; of its memory: %s, %.0f %%\n",
                  slowest, worst_time * 100, largest, worst_memory * 100);
    cJSON_Delete(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_the_hostile),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
