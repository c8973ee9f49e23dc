/*
 * log.c - see log.h.
 */
#include "common/log.h"
#include "common/buf.h"
#include "common/clock.h"
#include <errno.h>
#include <fcntl.h>
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
    int fd;
    char *path; /* NULL: standard error or somebody else's descriptor */
    enum log_format format;
    _Atomic int32_t own_level;
    _Atomic int32_t *level; /* the own one, or one that processes share */
    char process[48];
    char id[132];
    const char *(*id_of_now)(void);
    void (*on_fatal)(const char *reason);
} state = { .fd = STDERR_FILENO,
            .own_level = LOGL_INFO,
            .level = &state.own_level,
            .process = "master" };

static int open_path(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);

    return fd < 0 ? -errno : fd;
}

static void replace_fd(int fd)
{
    if (state.fd > STDERR_FILENO)
        close(state.fd);
    state.fd = fd;
}

int log_open(const char *path, enum log_format format, enum log_level level)
{
    if (path && strcmp(path, "-") != 0) {
        int fd = open_path(path);

        if (fd < 0)
            return fd;
        replace_fd(fd);
        free(state.path);
        state.path = strdup(path);
    } else {
        replace_fd(STDERR_FILENO);
        free(state.path);
        state.path = NULL;
    }
    state.format = format;
    log_set_level(level);
    return 0;
}

int log_reopen(void)
{
    if (!state.path)
        return 0;

    int fd = open_path(state.path);
    if (fd < 0) {
        log_error("cannot reopen the log %s: %s; going on with the old file", state.path,
                  strerror(-fd));
        return fd;
    }
    replace_fd(fd);
    return 0;
}

void log_use_fd(int fd)
{
    replace_fd(fd);
    free(state.path);
    state.path = NULL;
}

int log_fd(void)
{
    return state.fd;
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

static void write_line(const char *data, size_t length)
{
    while (length > 0) {
        ssize_t written = write(state.fd, data, length);

        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return; /* a full disk or a closed pipe must not end the server */
        data += written;
        length -= (size_t)written;
    }
}

static void log_linev(enum log_level level, const char *format, va_list args)
{
    char message[LINE_MAX_BYTES], time[CLOCK_TEXT_SIZE];
    struct buf line = BUF_HEAP;
    const char *id = current_id();
    int saved_errno = errno;

    vsnprintf(message, sizeof(message), format, args);
    clock_iso_z(clock_unix_us(), time);
    if (state.format == LOGF_JSON)
        build_json(&line, level, time, id, message);
    else
        build_text(&line, level, time, id, message);
    buf_addc(&line, '\n');
    write_line(line.data, line.length);
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

void log_access(const char *line)
{
    struct buf out = BUF_HEAP;

    buf_adds(&out, line);
    buf_addc(&out, '\n');
    write_line(out.data, out.length);
    buf_done(&out);
}
