/*
 * log_sink.c - see log_sink.h: a table of kinds, and one function that writes for each.
 */
#include "common/log_sink.h"
#include "common/buf.h"
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define DEV_LOG        "/dev/log"
#define JOURNAL_SOCKET "/run/systemd/journal/socket"
#define SYSLOG_PORT    "514"
#define NAME           "forkmark"

enum sink_kind { SINK_FD, SINK_FILE, SINK_LOCAL, SINK_REMOTE, SINK_JOURNAL };

struct log_sink {
    enum sink_kind kind;
    int fd;
    char *name; /* as it was given */
    char *path; /* of the file or socket; or the host */
    char port[8];
    unsigned long dropped; /* lines, since the last that passed */
};

const char *const log_facility_words[] = {
    "user",   "daemon", "local0", "local1", "local2", "local3",
    "local4", "local5", "local6", "local7", NULL,
};
static const int facility_numbers[] = { 1, 3, 16, 17, 18, 19, 20, 21, 22, 23 };
static int facility = 3; /* daemon */

/* RFC 5424, 6.2.1: err, warning, info, debug. */
static const int severities[] = { 3, 4, 6, 7 };

void log_sink_set_facility(int index_of_word)
{
    facility = facility_numbers[index_of_word];
}

/* ---- names ---- */

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

/* "host:port", "host", "[::1]:514"; false when it is neither. */
static bool split_address(const char *text, char **ret_host, char port[8])
{
    const char *host = text, *end;

    if (*text == '[') {
        host = text + 1;
        end = strchr(host, ']');
        text = end ? end + 1 : NULL;
    } else {
        end = text + strcspn(text, ":");
        text = end;
    }
    if (!text || end == host || (*text && *text != ':'))
        return false;
    const char *number = *text ? text + 1 : SYSLOG_PORT;
    long value = strtol(number, NULL, 10);
    if (strspn(number, "0123456789") != strlen(number) || value < 1 || value > 65535)
        return false;
    snprintf(port, 8, "%ld", value);
    if (ret_host)
        *ret_host = strndup(host, (size_t)(end - host));
    return true;
}

static enum sink_kind kind_of(const char *text)
{
    if (!*text || strcmp(text, "-") == 0 || strcmp(text, "stderr") == 0 ||
        strcmp(text, "stdout") == 0)
        return SINK_FD;
    if (strcmp(text, "journal") == 0)
        return SINK_JOURNAL;
    if (starts_with(text, "syslog://"))
        return SINK_REMOTE;
    if (strcmp(text, "syslog") == 0 || starts_with(text, "syslog:"))
        return SINK_LOCAL;
    return SINK_FILE;
}

const char *log_sink_check(const char *text)
{
    char port[8];

    switch (kind_of(text)) {
    case SINK_REMOTE:
        if (split_address(text + strlen("syslog://"), NULL, port))
            return NULL;
        return "must be \"syslog://host\" or \"syslog://host:port\"";
    case SINK_LOCAL:
        if (strcmp(text, "syslog") == 0 || text[strlen("syslog:")] == '/')
            return NULL;
        return "must be \"syslog\", \"syslog:/path\" or \"syslog://host:port\"";
    default:
        return NULL;
    }
}

bool log_sink_is_file(const char *text)
{
    return kind_of(text) == SINK_FILE;
}

/* ---- opening ---- */

static int open_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);

    return fd < 0 ? -errno : fd;
}

static int open_unix(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    if (strlen(path) >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    int error = errno;
    close(fd);
    return -error;
}

/* The name is looked up once: at the start, and when logs are reopened. */
static int open_remote(const char *host, const char *port)
{
    struct addrinfo hints = { .ai_socktype = SOCK_DGRAM }, *found = NULL;
    int fd = -1, error = ENOENT;

    if (getaddrinfo(host, port, &hints, &found) != 0)
        return -EHOSTUNREACH;
    for (struct addrinfo *at = found; at && fd < 0; at = at->ai_next) {
        fd = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC, at->ai_protocol);
        if (fd >= 0 && connect(fd, at->ai_addr, at->ai_addrlen) != 0) {
            error = errno;
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(found);
    return fd >= 0 ? fd : -error;
}

static int open_again(const struct log_sink *sink)
{
    switch (sink->kind) {
    case SINK_FILE:
        return open_file(sink->path);
    case SINK_LOCAL:
    case SINK_JOURNAL:
        return open_unix(sink->path);
    case SINK_REMOTE:
        return open_remote(sink->path, sink->port);
    case SINK_FD:
        break;
    }
    return sink->fd;
}

/* Standard error under systemd is a stream into the journal: then rather the journal
 * itself. (sd-journal's rule: JOURNAL_STREAM names the device and inode.) */
static bool is_journal_stream(int fd)
{
    const char *stream = getenv("JOURNAL_STREAM");
    char here[48];
    struct stat file;

    if (!stream || fstat(fd, &file) != 0)
        return false;
    snprintf(here, sizeof(here), "%ju:%ju", (uintmax_t)file.st_dev,
             (uintmax_t)file.st_ino);
    return strcmp(stream, here) == 0;
}

static void set_place(struct log_sink *sink, const char *text)
{
    sink->kind = kind_of(text);
    switch (sink->kind) {
    case SINK_FD:
        sink->fd = strcmp(text, "stdout") == 0 ? STDOUT_FILENO : STDERR_FILENO;
        if (is_journal_stream(sink->fd) && access(JOURNAL_SOCKET, W_OK) == 0) {
            sink->kind = SINK_JOURNAL;
            sink->path = strdup(JOURNAL_SOCKET);
        }
        break;
    case SINK_JOURNAL:
        sink->path = strdup(JOURNAL_SOCKET);
        break;
    case SINK_LOCAL:
        sink->path =
            strdup(strcmp(text, "syslog") == 0 ? DEV_LOG : text + strlen("syslog:"));
        break;
    case SINK_REMOTE:
        split_address(text + strlen("syslog://"), &sink->path, sink->port);
        break;
    case SINK_FILE:
        sink->path = strdup(text);
        break;
    }
}

struct log_sink *log_sink_open(const char *text, int *ret_error)
{
    struct log_sink *sink = calloc(1, sizeof(*sink));

    if (!sink || log_sink_check(text)) {
        free(sink);
        *ret_error = -EINVAL;
        return NULL;
    }
    sink->name = strdup(text);
    set_place(sink, text);
    if (sink->kind == SINK_FD)
        return sink;
    sink->fd = open_again(sink);
    if (sink->fd < 0) {
        *ret_error = sink->fd;
        log_sink_close(sink);
        return NULL;
    }
    return sink;
}

void log_sink_close(struct log_sink *sink)
{
    if (!sink)
        return;
    if (sink->fd > STDERR_FILENO)
        close(sink->fd);
    free(sink->name);
    free(sink->path);
    free(sink);
}

int log_sink_adopt(struct log_sink *sink, int fd)
{
    /* Under the same number, so that no writer ever finds it closed. */
    int rc = dup3(fd, sink->fd, O_CLOEXEC) < 0 ? -errno : 0;
    close(fd);
    return rc;
}

int log_sink_reopen(struct log_sink *sink)
{
    if (sink->kind == SINK_FD)
        return 0;
    int fd = open_again(sink);
    return fd < 0 ? fd : log_sink_adopt(sink, fd);
}

bool log_sink_give(struct log_sink *sink, uid_t uid, gid_t gid)
{
    return sink->kind != SINK_FILE || fchown(sink->fd, uid, gid) == 0;
}

int log_sink_fd(const struct log_sink *sink)
{
    return sink->fd;
}

const char *log_sink_name(const struct log_sink *sink)
{
    return sink->name;
}

/* ---- writing ---- */

static void write_all(const struct log_sink *sink, const char *data, size_t length)
{
    while (length > 0) {
        ssize_t written = write(sink->fd, data, length);

        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return; /* a full disk or a closed pipe must not end the server */
        data += written;
        length -= (size_t)written;
    }
}

static bool send_datagram(struct log_sink *sink, const struct buf *datagram)
{
    const int how = MSG_DONTWAIT | MSG_NOSIGNAL;

    if (send(sink->fd, datagram->data, datagram->length, how) >= 0)
        return true;
    /* A daemon that was started anew has another socket at the same path. */
    if ((errno == ECONNREFUSED || errno == ENOTCONN || errno == ECONNRESET) &&
        log_sink_reopen(sink) == 0)
        return send(sink->fd, datagram->data, datagram->length, how) >= 0;
    return false;
}

/* "Nov 26 02:26:52", local time: what every local daemon reads. */
static void add_local_head(struct buf *out, const struct log_record *record)
{
    time_t second = (time_t)(record->unix_us / 1000000);
    char time_text[32];
    struct tm tm;

    localtime_r(&second, &tm);
    strftime(time_text, sizeof(time_text), "%b %e %H:%M:%S", &tm);
    buf_addf(out, "<%d>%s " NAME "[%d]: ", facility * 8 + severities[record->level],
             time_text, (int)getpid());
}

/* RFC 5424: header, no structured data, and the message as UTF-8. */
static void add_remote_head(struct buf *out, const struct log_record *record)
{
    time_t second = (time_t)(record->unix_us / 1000000);
    char host[256] = "-", time_text[32];
    struct tm tm;

    gethostname(host, sizeof(host) - 1);
    gmtime_r(&second, &tm);
    strftime(time_text, sizeof(time_text), "%Y-%m-%dT%H:%M:%S", &tm);
    buf_addf(out, "<%d>1 %s.%06dZ %s " NAME " %d %s - ",
             facility * 8 + severities[record->level], time_text,
             (int)(record->unix_us % 1000000), *host ? host : "-", (int)getpid(),
             record->is_access ? "access" : "-");
}

static void add_message(struct buf *out, const struct log_record *record)
{
    if (record->is_json) {
        buf_add(out, record->line, record->line_length - 1);
        return;
    }
    if (!record->is_access) {
        buf_addf(out, "%s ", record->process);
        if (*record->id)
            buf_addf(out, "[%s] ", record->id);
    }
    buf_adds(out, record->message);
}

/* A value with a newline in it needs its length in front; none of ours has one. */
static void add_field(struct buf *out, const char *name, const char *value)
{
    buf_addf(out, "%s=", name);
    for (; *value; value++)
        buf_addc(out, *value == '\n' ? ' ' : *value);
    buf_addc(out, '\n');
}

static void build_journal(struct buf *out, const struct log_record *record)
{
    buf_addf(out, "PRIORITY=%d\nSYSLOG_FACILITY=%d\nSYSLOG_IDENTIFIER=" NAME "\n",
             severities[record->level], facility);
    add_field(out, "FORKMARK_PROCESS", record->process);
    if (*record->id)
        add_field(out, "FORKMARK_ID", record->id);
    if (record->is_access)
        add_field(out, "FORKMARK_LOG", "access");
    buf_adds(out, "MESSAGE=");
    struct buf message = BUF_HEAP;
    add_message(&message, record);
    for (const char *at = buf_text(&message); *at; at++)
        buf_addc(out, *at == '\n' ? ' ' : *at);
    buf_done(&message);
    buf_addc(out, '\n');
}

static void build_datagram(const struct log_sink *sink, const struct log_record *record,
                           struct buf *out)
{
    if (sink->kind == SINK_JOURNAL) {
        build_journal(out, record);
        return;
    }
    if (sink->kind == SINK_LOCAL)
        add_local_head(out, record);
    else
        add_remote_head(out, record);
    add_message(out, record);
}

static bool send_record(struct log_sink *sink, const struct log_record *record)
{
    struct buf datagram = BUF_HEAP;

    build_datagram(sink, record, &datagram);
    bool has_passed = send_datagram(sink, &datagram);
    buf_done(&datagram);
    return has_passed;
}

static void tell_of_dropped(struct log_sink *sink, const struct log_record *now)
{
    char text[80];

    snprintf(text, sizeof(text),
             "%lu log lines were dropped: the daemon did not take "
             "them",
             sink->dropped);
    if (send_record(sink, &(struct log_record){ .level = LOGL_WARN,
                                                .unix_us = now->unix_us,
                                                .process = now->process,
                                                .id = "",
                                                .message = text }))
        sink->dropped = 0;
}

void log_sink_write(struct log_sink *sink, const struct log_record *record)
{
    if (sink->kind == SINK_FD || sink->kind == SINK_FILE) {
        write_all(sink, record->line, record->line_length);
        return;
    }
    if (sink->dropped > 0)
        tell_of_dropped(sink, record);
    if (sink->dropped > 0 || !send_record(sink, record))
        sink->dropped++;
}
