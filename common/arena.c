/*
 * arena.c - chunks of memory handed out front to back, and deferred calls.
 *
 * The first chunk is small and grows by doubling: an idle event stream keeps
 * its request's arena for half an hour, so a large first chunk would cost more
 * than everything else about it.
 */
#include "common/arena.h"
#include "common/log.h"
#include <assert.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* With its header below 1032 bytes: the most that malloc recycles without a search. */
#define FIRST_CHUNK   ((size_t)960)
#define LARGEST_CHUNK ((size_t)64 * 1024)

struct chunk {
    struct chunk *next;
    size_t room, used;
    alignas(max_align_t) char data[];
};

struct arena_deferred {
    struct arena_deferred *next;
    void (*call)(void *arg); /* NULL: taken back */
    void *arg;
};

struct arena {
    struct chunk *chunks;            /* newest first; the newest is the one in use */
    struct arena_deferred *deferred; /* newest first */
    size_t used, cap, next_chunk;
    void (*full)(void *arg);
    void *full_arg;
};

struct arena *arena_new(size_t cap)
{
    struct arena *arena = calloc(1, sizeof(*arena));

    if (!arena)
        fatal("out of memory");
    arena->cap = cap;
    arena->next_chunk = FIRST_CHUNK;
    return arena;
}

void arena_free(struct arena *arena)
{
    if (!arena)
        return;

    /* A deferred call may itself allocate or defer: take one at a time. */
    while (arena->deferred) {
        struct arena_deferred *first = arena->deferred;

        arena->deferred = first->next;
        if (first->call)
            first->call(first->arg);
    }
    while (arena->chunks) {
        struct chunk *next = arena->chunks->next;

        free(arena->chunks);
        arena->chunks = next;
    }
    free(arena);
}

void arena_on_full(struct arena *arena, void (*full)(void *arg), void *arg)
{
    arena->full = full;
    arena->full_arg = arg;
}

size_t arena_used(const struct arena *arena)
{
    return arena->used;
}

size_t arena_cap(const struct arena *arena)
{
    return arena->cap;
}

static _Noreturn void report_full(struct arena *arena, size_t size)
{
    if (arena->full)
        arena->full(arena->full_arg);
    fatal("an arena of %zu bytes is full (%zu used, %zu more wanted)", arena->cap,
          arena->used, size);
}

static void add_chunk(struct arena *arena, size_t at_least)
{
    size_t room = arena->next_chunk;

    if (room < at_least)
        room = at_least;
    else if (arena->next_chunk < LARGEST_CHUNK)
        arena->next_chunk *= 2;

    struct chunk *chunk = malloc(sizeof(*chunk) + room);
    if (!chunk)
        report_full(arena, at_least);
    chunk->room = room;
    chunk->used = 0;
    chunk->next = arena->chunks;
    arena->chunks = chunk;
}

static size_t rounded(size_t size)
{
    const size_t step = alignof(max_align_t);

    return (size + step - 1) & ~(step - 1);
}

/* Not zeroed: for callers that fill it at once. */
static void *take(struct arena *arena, size_t size)
{
    if (size > SIZE_MAX / 2 ||
        (arena->cap > 0 && (size > arena->cap || arena->used > arena->cap - size)))
        report_full(arena, size);
    size = rounded(size);
    if (!arena->chunks || arena->chunks->room - arena->chunks->used < size)
        add_chunk(arena, size);

    char *memory = arena->chunks->data + arena->chunks->used;
    arena->chunks->used += size;
    arena->used += size;
    return memory;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    return memset(take(arena, size), 0, size);
}

void *arena_array(struct arena *arena, size_t count, size_t size)
{
    if (size > 0 && count > SIZE_MAX / 2 / size)
        report_full(arena, SIZE_MAX);
    return arena_alloc(arena, count * size);
}

static bool has_room(const struct arena *arena, size_t more)
{
    return arena->cap == 0 || arena->used + more <= arena->cap;
}

/* The newest block of the newest chunk grows where it is. */
static bool grow_in_place(struct arena *arena, const char *old, size_t old_size,
                          size_t new_size)
{
    struct chunk *chunk = arena->chunks;
    size_t old_room = rounded(old_size), more = rounded(new_size) - old_room;

    if (!chunk || old_room > chunk->used || old != chunk->data + (chunk->used - old_room))
        return false;
    if (chunk->room - chunk->used < more || !has_room(arena, more))
        return false;
    chunk->used += more;
    arena->used += more;
    return true;
}

/* A large block has a chunk to itself, and takes it along. NULL: it has none. */
static void *move_with_chunk(struct arena *arena, const char *old, size_t old_size,
                             size_t new_size)
{
    size_t old_room = rounded(old_size), new_room = rounded(new_size);
    struct chunk **at = &arena->chunks;

    if (old_room < LARGEST_CHUNK || !has_room(arena, new_room - old_room))
        return NULL;
    while (*at && (*at)->data != old)
        at = &(*at)->next;
    if (!*at || (*at)->used != old_room)
        return NULL;
    struct chunk *chunk = realloc(*at, sizeof(*chunk) + new_room);
    if (!chunk)
        return NULL;
    chunk->room = chunk->used = new_room;
    *at = chunk;
    arena->used += new_room - old_room;
    return chunk->data;
}

static void *copy_to_new(struct arena *arena, const void *old, size_t old_size,
                         size_t new_size)
{
    char *memory = take(arena, new_size);
    size_t kept = old_size < new_size ? old_size : new_size;

    if (old && kept > 0)
        memcpy(memory, old, kept);
    return memory;
}

static bool grows(const void *old, size_t old_size, size_t new_size)
{
    return old && new_size > old_size && new_size < SIZE_MAX / 2;
}

void *arena_extend(struct arena *arena, void *old, size_t old_size, size_t new_size)
{
    void *moved;

    if (!grows(old, old_size, new_size))
        return copy_to_new(arena, old, old_size, new_size);
    if (grow_in_place(arena, old, old_size, new_size))
        return old;
    moved = move_with_chunk(arena, old, old_size, new_size);
    return moved ? moved : copy_to_new(arena, old, old_size, new_size);
}

void *arena_grow(struct arena *arena, void *old, size_t old_size, size_t new_size)
{
    char *memory =
        grows(old, old_size, new_size) && grow_in_place(arena, old, old_size, new_size)
            ? old
            : copy_to_new(arena, old, old_size, new_size);

    if (new_size > old_size)
        memset(memory + old_size, 0, new_size - old_size);
    return memory;
}

void *arena_memdup(struct arena *arena, const void *data, size_t size)
{
    void *copy = take(arena, size);

    if (size > 0)
        memcpy(copy, data, size);
    return copy;
}

char *arena_strndup(struct arena *arena, const char *text, size_t length)
{
    char *copy = take(arena, length + 1);

    if (length > 0)
        memcpy(copy, text, length);
    copy[length] = '\0';
    return copy;
}

char *arena_strdup(struct arena *arena, const char *text)
{
    return arena_strndup(arena, text, strlen(text));
}

char *arena_vprintf(struct arena *arena, const char *format, va_list args)
{
    va_list again;

    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    assert(length >= 0);

    char *text = take(arena, (size_t)length + 1);
    vsnprintf(text, (size_t)length + 1, format, args);
    return text;
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    char *text = arena_vprintf(arena, format, args);
    va_end(args);
    return text;
}

struct arena_deferred *arena_defer(struct arena *arena, void (*call)(void *arg),
                                   void *arg)
{
    struct arena_deferred *deferred = arena_alloc(arena, sizeof(*deferred));

    deferred->call = call;
    deferred->arg = arg;
    deferred->next = arena->deferred;
    arena->deferred = deferred;
    return deferred;
}

void arena_undefer(struct arena_deferred *deferred)
{
    deferred->call = NULL;
}
