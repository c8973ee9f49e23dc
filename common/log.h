/*
 * log.h - one line per event worth an operator's attention.
 *
 * A line is text ("2026-11-23T14:36:50.761Z INFO worker 3 [req-id] message key=value")
 * or one JSON object, to standard error, a file, syslog or the journal (log_sink.h).
 * Each line is one write(2) or one datagram, so lines of several processes do not mix.
 * The id is that of the running task's request or job, set once by log_set_id().
 */
#ifndef FORKMARK_COMMON_LOG_H
#define FORKMARK_COMMON_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The values match syslog's order of urgency; smaller is more urgent. */
enum log_level { LOGL_ERROR, LOGL_WARN, LOGL_INFO, LOGL_DEBUG };
enum log_format { LOGF_TEXT, LOGF_JSON };

/*
 * `path` is any of log_sink.h's places; NULL or "-": standard error. 0 or a negative
 * errno (then nothing changed).
 */
int log_open(const char *path, enum log_format format, enum log_level level);
/* A place of their own for access lines; "": where the others go. */
int log_open_access(const char *path);
/* Opens the same places again (USR1), except for files that were handed over. Keeps an
 * old one when that fails. */
int log_reopen(void);
/* The files become that user's. */
void log_give(uid_t uid, gid_t gid);
/* The master's and the child's side of log_link.h: files that are open now go to whoever
 * has the other end; files come from there, and those that are there already are taken.
 */
void log_hand(int link);
void log_take_from(int link);
/* The descriptors to keep in a child. How many. */
#define LOG_FDS 2
size_t log_fds(int fds[LOG_FDS]);
void log_set_level(enum log_level level);
enum log_level log_get_level(void);
const char *log_level_text(enum log_level level); /* "warn", as the option log.level */
/* From now on the level is one in memory that processes share: whoever sets it sets it
 * for all. It begins as this process' own; NULL: alone again. */
void log_share_level(_Atomic int32_t *level);
/* "worker 3": stands on each line. Copied. */
void log_set_process(const char *name);
/* The id of what this process does now outside any task; NULL: none. Copied. */
void log_set_id(const char *id);
/* Asked for each line: the id of the running task's request or job, or NULL. */
void log_set_id_source(const char *(*id_of_now)(void));

bool log_is_on(enum log_level level);
void log_line(enum log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOGL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_line(LOGL_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOGL_INFO, __VA_ARGS__)
#define log_debug(...)                         \
    do {                                       \
        if (log_is_on(LOGL_DEBUG))             \
            log_line(LOGL_DEBUG, __VA_ARGS__); \
    } while (0)

/* Says why and ends the process with status 1: only for a start that cannot work. */
_Noreturn void fatal(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Told the same reason just before that end; NULL: nobody. */
void log_on_fatal(void (*told)(const char *reason));

/* An access line: already formatted, written as it is with the same guarantees. */
void log_access(const char *id, const char *line, bool is_json);

#endif
