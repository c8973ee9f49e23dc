/*
 * arena.h - memory that lives as long as one request, job or start-up step.
 *
 * An arena hands out memory that is never freed by hand, and keeps a list of
 * deferred calls for foreign objects (a PGresult, a cJSON tree, a socket).
 * arena_free() runs the deferred calls newest first, then returns the memory.
 * However a task ends (done, deadline, cancelled, arena full), that happens;
 * an `out:` label behind a yield may never run.
 */
#ifndef FORKMARK_COMMON_ARENA_H
#define FORKMARK_COMMON_ARENA_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct arena;

/* `cap`: most bytes it will hand out; 0 means no limit. Never NULL. */
struct arena *arena_new(size_t cap);
void arena_free(struct arena *arena); /* NULL is fine */

/*
 * Called once the cap would be passed; must not return. Tasks set it so that
 * the request or job ends with an error. Without one the process aborts.
 */
void arena_on_full(struct arena *arena, void (*full)(void *arg), void *arg);

/* Bytes handed out so far, and the cap (0: none). */
size_t arena_used(const struct arena *arena);
size_t arena_cap(const struct arena *arena);

/* Aligned for any type, zeroed. None of these returns NULL. */
void *arena_alloc(struct arena *arena, size_t size);
void *arena_array(struct arena *arena, size_t count, size_t size);
/* A larger block with the old content; the old block stays valid, what is new is zeroed.
 */
void *arena_grow(struct arena *arena, void *old, size_t old_size, size_t new_size);
/* The same for a buffer: what is new is left as it is, and the old block is gone. Large
 * ones (64 KiB) are moved as by realloc(), and count once however often they grow. */
void *arena_extend(struct arena *arena, void *old, size_t old_size, size_t new_size);
char *arena_strdup(struct arena *arena, const char *text);
char *arena_strndup(struct arena *arena, const char *text, size_t length); /* adds NUL */
void *arena_memdup(struct arena *arena, const void *data, size_t size);
char *arena_printf(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
char *arena_vprintf(struct arena *arena, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

/* `call(arg)` runs when the arena goes, newest first. */
struct arena_deferred;
struct arena_deferred *arena_defer(struct arena *arena, void (*call)(void *arg),
                                   void *arg);
/* Takes a deferred call back (the object was handed on). Once only. */
void arena_undefer(struct arena_deferred *deferred);

#endif
