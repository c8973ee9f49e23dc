/*
 * log.c - see log.h.
 */
#include "common/log.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/log_link.h"
#include "common/log_sink.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One write(2) up to this length is one line even between processes on a pipe. */
#define LINE_MAX_BYTES 4000

static const struct {
    const char *text, *json;
} level_names[] = {
    [LOGL_ERROR] = { "ERROR", "error" },
    [LOGL_WARN] = { "WARN", "warning" },
    [LOGL_INFO] = { "INFO", "info" },
    [LOGL_DEBUG] = { "DEBUG", "debug" },
};

static struct {
    struct log_sink *sink;   /* NULL: standard error, until it is opened */
    struct log_sink *access; /* NULL: access lines go where the others go */
    int link;                /* files come from there; 0: from nowhere */
    enum log_format format;
    _Atomic int32_t own_level;
    _Atomic int32_t *level; /* the own one, or one that processes share */
    char process[48];
    char id[132];
    const char *(*id_of_now)(void);
    void (*on_fatal)(const char *reason);
} state = { .own_level = LOGL_INFO, .level = &state.own_level, .process = "master" };

/* Made when it is first used: a process may log before anybody has opened its log. */
static struct log_sink *sink_now(void)
{
    int error;

    if (!state.sink)
        state.sink = log_sink_open("stderr", &error);
    return state.sink;
}

static void replace(struct log_sink **sink, struct log_sink *by)
{
    log_sink_close(*sink);
    *sink = by;
}

int log_open(const char *path, enum log_format format, enum log_level level)
{
    int error;
    struct log_sink *sink = log_sink_open(path ? path : "-", &error);

    if (!sink)
        return error;
    replace(&state.sink, sink);
    state.format = format;
    log_set_level(level);
    return 0;
}

int log_open_access(const char *path)
{
    struct log_sink *sink = NULL;
    int error;

    if (*path && !(sink = log_sink_open(path, &error)))
        return error;
    replace(&state.access, sink);
    return 0;
}

static int reopen(struct log_sink *sink, bool is_handed)
{
    int rc = sink && !is_handed ? log_sink_reopen(sink) : 0;

    if (rc < 0)
        log_error("cannot reopen the log %s: %s; going on with the old one",
                  log_sink_name(sink), strerror(-rc));
    return rc;
}

static void take_handed(bool ret_taken[LOG_FDS])
{
    struct log_sink *sinks[LOG_FDS] = { state.sink, state.access };

    if (state.link > 0)
        log_link_take(state.link, sinks, ret_taken);
}

int log_reopen(void)
{
    bool is_handed[LOG_FDS] = { false };

    take_handed(is_handed);
    int rc = reopen(state.sink, is_handed[0]);
    int access_rc = reopen(state.access, is_handed[1]);
    return rc < 0 ? rc : access_rc;
}

void log_hand(int link)
{
    struct log_sink *sinks[LOG_FDS] = { state.sink, state.access };

    if (!log_link_hand(link, sinks))
        log_debug("log files could not be handed over: %s", strerror(errno));
}

void log_take_from(int link)
{
    bool is_taken[LOG_FDS] = { false };

    state.link = link;
    take_handed(is_taken);
}

void log_give(uid_t uid, gid_t gid)
{
    struct log_sink *sinks[LOG_FDS] = { state.sink, state.access };

    for (size_t i = 0; i < LOG_FDS; i++)
        if (sinks[i] && !log_sink_give(sinks[i], uid, gid))
            log_warn("the log %s cannot be given to user %d: %s", log_sink_name(sinks[i]),
                     (int)uid, strerror(errno));
}

size_t log_fds(int fds[LOG_FDS])
{
    fds[0] = log_sink_fd(sink_now());
    if (!state.access)
        return 1;
    fds[1] = log_sink_fd(state.access);
    return 2;
}

void log_set_level(enum log_level level)
{
    atomic_store_explicit(state.level, (int32_t)level, memory_order_relaxed);
}

enum log_level log_get_level(void)
{
    return (enum log_level)atomic_load_explicit(state.level, memory_order_relaxed);
}

const char *log_level_text(enum log_level level)
{
    static const char *const texts[] = { "error", "warn", "info", "debug" };

    return texts[level];
}

void log_share_level(_Atomic int32_t *level)
{
    enum log_level now = log_get_level();

    state.level = level ? level : &state.own_level;
    log_set_level(now);
}

void log_set_process(const char *name)
{
    snprintf(state.process, sizeof(state.process), "%s", name);
}

void log_set_id(const char *id)
{
    snprintf(state.id, sizeof(state.id), "%s", id ? id : "");
}

void log_set_id_source(const char *(*id_of_now)(void))
{
    state.id_of_now = id_of_now;
}

bool log_is_on(enum log_level level)
{
    return level <= log_get_level();
}

static const char *current_id(void)
{
    const char *id = state.id_of_now ? state.id_of_now() : NULL;

    return id ? id : state.id;
}

/* Control characters would let a logged value forge a line of its own. */
static void add_text_escaped(struct buf *line, const char *text)
{
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (*c >= 0x20 && *c != 0x7f)
            buf_addc(line, (char)*c);
        else
            buf_addf(line, "\\x%02x", *c);
    }
}

static void add_json_string(struct buf *line, const char *text)
{
    buf_addc(line, '"');
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (*c == '"' || *c == '\\')
            buf_addf(line, "\\%c", *c);
        else if (*c < 0x20 || *c == 0x7f)
            buf_addf(line, "\\u%04x", *c);
        else
            buf_addc(line, (char)*c);
    }
    buf_addc(line, '"');
}

static void build_json(struct buf *line, enum log_level level, const char *time,
                       const char *id, const char *message)
{
    buf_addf(line, "{\"time\":\"%s\",\"level\":\"%s\",\"process\":", time,
             level_names[level].json);
    add_json_string(line, state.process);
    buf_addf(line, ",\"pid\":%d", (int)getpid());
    if (*id) {
        buf_adds(line, ",\"id\":");
        add_json_string(line, id);
    }
    buf_adds(line, ",\"event\":");
    add_json_string(line, message);
    buf_addc(line, '}');
}

static void build_text(struct buf *line, enum log_level level, const char *time,
                       const char *id, const char *message)
{
    buf_addf(line, "%s %-5s %s", time, level_names[level].text, state.process);
    if (*id) {
        buf_adds(line, " [");
        add_text_escaped(line, id);
        buf_addc(line, ']');
    }
    buf_addc(line, ' ');
    add_text_escaped(line, message);
}

static void log_linev(enum log_level level, const char *format, va_list args)
{
    char message[LINE_MAX_BYTES], time[CLOCK_TEXT_SIZE];
    struct buf line = BUF_HEAP, escaped = BUF_HEAP;
    const char *id = current_id();
    int saved_errno = errno;
    int64_t now = clock_unix_us();

    vsnprintf(message, sizeof(message), format, args);
    clock_iso_z(now, time);
    if (state.format == LOGF_JSON)
        build_json(&line, level, time, id, message);
    else
        build_text(&line, level, time, id, message);
    buf_addc(&line, '\n');
    add_text_escaped(&escaped, message);
    log_sink_write(sink_now(),
                   &(struct log_record){ .level = level,
                                         .unix_us = now,
                                         .process = state.process,
                                         .id = id,
                                         .message = buf_text(&escaped),
                                         .line = line.data,
                                         .line_length = line.length,
                                         .is_json = state.format == LOGF_JSON });
    buf_done(&escaped);
    buf_done(&line);
    errno = saved_errno;
}

void log_line(enum log_level level, const char *format, ...)
{
    va_list args;

    if (!log_is_on(level))
        return;
    va_start(args, format);
    log_linev(level, format, args);
    va_end(args);
}

void log_on_fatal(void (*told)(const char *reason))
{
    state.on_fatal = told;
}

void fatal(const char *format, ...)
{
    char reason[LINE_MAX_BYTES];
    va_list args;

    va_start(args, format);
    vsnprintf(reason, sizeof(reason), format, args);
    va_end(args);
    log_line(LOGL_ERROR, "%s", reason);
    if (state.on_fatal)
        state.on_fatal(reason);
    exit(1);
}

void log_access(const char *id, const char *line, bool is_json)
{
    struct buf out = BUF_HEAP;

    buf_addf(&out, "%s\n", line);
    log_sink_write(state.access ? state.access : sink_now(),
                   &(struct log_record){ .level = LOGL_INFO,
                                         .unix_us = clock_unix_us(),
                                         .process = state.process,
                                         .id = id,
                                         .message = line,
                                         .line = out.data,
                                         .line_length = out.length,
                                         .is_access = true,
                                         .is_json = is_json });
    buf_done(&out);
}
