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

/* ---- floods of our own: the same few bytes, as often as fit 4 MiB ---- */

#define FLOOD_SIZE ((size_t)4 << 20)
/* A value is 24 bytes, its place in stack, memo and container 8 each; with what alignment
 * and doubling cost. */
#define MEMORY_FACTOR 64
/* For each MiB: linear, though mostly for memory that is touched for the first time. */
#define FLOOD_MS 40

static const struct {
    const char *name, *head, *unit, *tail;
} floods[] = {
    { "none", "\x80\x04(", "N", "t." },
    { "empty lists", "\x80\x04(", "]", "t." },
    { "memoized lists", "\x80\x04(", "]\x94", "t." },
    { "lists of one", "\x80\x04](", "]Na", "e." },
    { "tuples of one", "\x80\x04](", "N\x85", "e." },
    { "dicts of one", "\x80\x04](", "}NNs", "e." },
    { "integers", "\x80\x04](", "M\xff\xff", "e." },
    { "floats as lines", "](", "F1.7976931348623157e308\n", "e." },
    { "integers as lines", "](", "I4294967296\n", "e." },
    { "texts", "\x80\x04](", "\x8c\x02xy", "e." },
    { "escaped texts", "](", "V\\u00e9\n", "e." },
    { "memo reads", "\x80\x04]\x94(\x8c\x02xy\x94", "h\x01", "e." },
    { "frames", "\x80\x04]", "\x95\x02\x01\x01\x01\x01\x01\x01\x01", "." },
    { "classes", "](", "cdatetime\ntimezone\n", "e." },
    { "unknown classes", "](", "cdatetime\nunknown\n", "e." },
    { "dates",
      "\x80\x04]\x94(cdatetime\ndate\n\x94"
      "C\x04\x07\xe8\x02\x1d\x85\x94",
      "h\x01h\x02R", "e." },
    { "sets of one list", "\x80\x04]\x94(cbuiltins\nset\n\x94](NNNNNNNNNNNNNNNNe\x85\x94",
      "h\x01h\x02R", "e." },
    { "appended, one by one", "\x80\x04]", "Na", "." },
    { "JSON lists", "[\"f\", null, [", "[],", "[]], {}]" },
    { "JSON lists of one", "[\"f\", null, [", "[1],", "[]], {}]" },
    { "JSON integers", "[\"f\", null, [", "4294967296,", "1], {}]" },
    { "JSON floats", "[\"f\", null, [", "1.7976931348623157e308,", "1], {}]" },
    { "JSON texts", "[\"f\", null, [", "\"xy\",", "1], {}]" },
    { "JSON escapes", "[\"f\", null, [\"", "\\u00e9", "\"], {}]" },
    { "JSON white space", "[\"f\", null, [", " ", "1], {}]" },
    { "JSON dicts", "[\"f\", null, [", "{\"\":0},", "1], {}]" },
};

static void bears_floods(void **state)
{
    double slowest = 0, largest = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(floods) / sizeof(floods[0]); i++) {
        struct buf data = BUF_HEAP;

        buf_adds(&data, floods[i].head);
        while (data.length < FLOOD_SIZE)
            buf_adds(&data, floods[i].unit);
        buf_adds(&data, floods[i].tail);
        double mib = (double)data.length / (1 << 20);
        struct outcome outcome = run(&data);
        double time_share = outcome.ms / (10 + FLOOD_MS * mib) / SLOWER;
        double memory_share =
            (double)outcome.memory / (1 << 20) / (1 + MEMORY_FACTOR * mib);

        if (getenv("SHOW_EACH"))
            print_message("%-24s %d %8.3f ms %6.1f bytes a byte\n", floods[i].name,
                          outcome.is_read, outcome.ms,
                          (double)outcome.memory / (double)data.length);
        if (time_share > 1 || memory_share > 1)
            fail_msg("%s took %.1f ms and %zu bytes for %.2f MiB", floods[i].name,
                     outcome.ms, outcome.memory, mib);
        slowest = time_share > slowest ? time_share : slowest;
        largest = memory_share > largest ? memory_share : largest;
        buf_done(&data);
    }
    print_message("at most %.0f %% of their time and %.0f %% of their memory\n",
                  slowest * 100, largest * 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_the_hostile),
        cmocka_unit_test(bears_floods),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
