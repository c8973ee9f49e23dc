/*
 * json.c - cJSON's memory, parsing and reading: see json.h. The pass before the parser is
 * json_check.c, writing json_write.c.
 */
#include "common/json.h"
#include "common/arena.h"
#include "common/task.h"
#include "common/utf8.h"
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Largest integer a double holds exactly, which is all cJSON keeps. */
#define MAX_EXACT 9007199254740992.0

/* ---- memory ----------------------------------------------------------------- */

/*
 * Every block says where it came from: a tree made in a task may be deleted by a
 * deferred call that runs outside of it, and the other way round.
 */
union header {
    bool from_heap;
    max_align_t align;
};

/* The thread that called json_init() runs the tasks; others must not ask for them. */
static _Thread_local bool is_loop_thread;

static void *json_malloc(size_t size)
{
    bool in_task = is_loop_thread && task_self();
    union header *header;

    if (size > SIZE_MAX - sizeof(*header))
        return NULL;
    size += sizeof(*header);
    header = in_task ? arena_alloc(task_arena(), size) : malloc(size);
    if (!header)
        return NULL;
    header->from_heap = !in_task;
    return header + 1;
}

static void json_free(void *block)
{
    union header *header = block;

    if (header && header[-1].from_heap)
        free(header - 1);
}

void json_init(void)
{
    cJSON_Hooks hooks = { .malloc_fn = json_malloc, .free_fn = json_free };

    is_loop_thread = true;
    cJSON_InitHooks(&hooks);
}

/* ---- escapes that are no text ------------------------------------------------- */

/* The UTF-16 unit of an escape that stands here; -1: none does. */
static int escaped_unit(const char *at, size_t left)
{
    int unit = 0;

    if (left < 6 || at[0] != '\\' || at[1] != 'u')
        return -1;
    for (int i = 2; i < 6; i++) {
        if (!isxdigit((unsigned char)at[i]))
            return -1; /* the parser will say so */
        unit = unit * 16 + (at[i] <= '9' ? at[i] - '0' : (at[i] | 0x20) - 'a' + 10);
    }
    return unit;
}

static bool is_leading(int unit)
{
    return unit >= 0xD800 && unit < 0xDC00;
}

static bool is_trailing(int unit)
{
    return unit >= 0xDC00 && unit < 0xE000;
}

/*
 * cJSON ends a text at an escaped NUL and PostgreSQL stores none, so those escapes are
 * dropped (contract 2.2) instead of the rest of the text. Half a pair of surrogates is
 * what JSON.stringify() makes of a text that was cut inside an emoji; it becomes U+FFFD,
 * as TextDecoder and TextEncoder have it. Inside a string a backslash always starts an
 * escape of at least two characters, and outside of one there is none, so no state is
 * needed.
 */
static const char *without_broken_escapes(const char *text, size_t *length)
{
    if (!memmem(text, *length, "\\u", 2))
        return text;

    char *kept = arena_alloc(task_arena(), *length + 1);
    size_t n = 0;
    for (size_t i = 0; i < *length;) {
        size_t left = *length - i;
        int unit = escaped_unit(text + i, left);
        bool is_pair =
            is_leading(unit) && is_trailing(escaped_unit(text + i + 6, left - 6));
        size_t step = is_pair ? 12 : unit >= 0 ? 6 : text[i] == '\\' && left > 1 ? 2 : 1;

        if (!is_pair && (is_leading(unit) || is_trailing(unit))) {
            memcpy(kept + n, text + i, 2); /* \ufffd */
            memset(kept + n + 2, 'f', 3);
            kept[n + 5] = 'd';
            n += 6;
        } else if (unit != 0) {
            memcpy(kept + n, text + i, step);
            n += step;
        }
        i += step;
    }
    *length = n;
    return kept;
}

/* ---- parsing ------------------------------------------------------------------ */

cJSON *json_parse(const char *text, size_t length)
{
    const char *end = NULL;

    if (json_check(text, length, JSON_MAX_DEPTH, JSON_MAX_VALUES) < 0 ||
        !utf8_is_valid(text, length))
        return NULL;
    text = without_broken_escapes(text, &length);

    cJSON *tree = cJSON_ParseWithLengthOpts(text, length, &end, false);
    while (tree && end < text + length)
        if (!json_is_blank(*end++))
            return NULL; /* something follows the value; the tree is the arena's */
    return tree;
}

/* ---- reading ---------------------------------------------------------------- */

const cJSON *json_get(const cJSON *object, const char *key)
{
    const cJSON *item, *found = NULL;

    if (!cJSON_IsObject(object))
        return NULL;
    cJSON_ArrayForEach(item, object)
        /* The last of equal keys counts, as in Python and in browsers. */
        if (item->string && strcmp(item->string, key) == 0) found = item;
    return cJSON_IsNull(found) ? NULL : found;
}

const char *json_text(const cJSON *object, const char *key)
{
    return cJSON_GetStringValue((cJSON *)json_get(object, key));
}

bool json_int(const cJSON *object, const char *key, int64_t *ret)
{
    const cJSON *item = json_get(object, key);

    if (!cJSON_IsNumber(item) || fabs(item->valuedouble) > MAX_EXACT ||
        item->valuedouble != trunc(item->valuedouble))
        return false;
    *ret = (int64_t)item->valuedouble;
    return true;
}
