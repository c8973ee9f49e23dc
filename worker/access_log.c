/*
 * access_log.c - see access_log.h.
 */
#include "worker/access_log.h"
#include "common/access_format.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "worker/exchange.h"
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

static struct {
    bool is_on, is_json;
    struct access_format *format; /* NULL: our own line, or JSON */
} config;

void access_log_init(const struct options *options)
{
    const char *format = options->log.access_format;

    config.is_on = options->log.access;
    access_format_free(config.format);
    config.format = access_format_new(format);
    config.is_json = *format ? strcmp(format, ACCESS_FORMAT_JSON) == 0
                             : options->log.format == LOGF_JSON;
}

/* ---- what must not be told ---- */

static const char hidden[] = "***";

static const char *const secret_headers[] = {
    "Authorization",       "Cookie",           "Set-Cookie",
    "Proxy-Authorization", "X-Internal-Token", "X-API-Key",
};

static bool is_secret_header(const char *name)
{
    for (size_t i = 0; i < sizeof(secret_headers) / sizeof(secret_headers[0]); i++)
        if (strcasecmp(name, secret_headers[i]) == 0)
            return true;
    return false;
}

static bool is_secret_parameter(const char *name)
{
    static const char *const words[] = { "token", "password", "secret", "key" };

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcasestr(name, words[i]))
            return true;
    return false;
}

/* A name that is written "%74oken" is one as well. The arena may be full by now, so
 * nothing here is decoded into it; a longer name is none of ours. */
static bool is_secret_pair(const char *pair, size_t name_length)
{
    char name[64];
    size_t length = 0;

    for (size_t i = 0; i < name_length && length < sizeof(name) - 1; i++) {
        char digits[3] = "", c = pair[i];

        if (pair[i] == '%' && i + 2 < name_length &&
            isxdigit((unsigned char)pair[i + 1]) &&
            isxdigit((unsigned char)pair[i + 2])) {
            memcpy(digits, pair + i + 1, 2);
            c = (char)strtol(digits, NULL, 16);
            i += 2;
        }
        if (c) /* as the router drops it */
            name[length++] = c;
    }
    name[length] = '\0';
    return is_secret_parameter(name);
}

/* As sent, but for the values of parameters that may be secret. */
static void add_query(struct buf *out, const struct request *req)
{
    const char *pair = req->query_string;

    while (*pair) {
        size_t length = strcspn(pair, "&");
        size_t name_length = strcspn(pair, "=&");

        if (name_length < length && is_secret_pair(pair, name_length))
            buf_addf(out, "%.*s=%s", (int)name_length, pair, hidden);
        else
            buf_addf(out, "%.*s", (int)length, pair);
        pair += length;
        if (*pair)
            buf_addc(out, *pair++);
    }
}

/* ---- our own line, and JSON ---- */

/* The path is the client's text: whatever could break a line is escaped. */
static void add_path(struct buf *line, const char *path)
{
    for (; *path; path++) {
        unsigned char c = (unsigned char)*path;

        if (c <= ' ' || c == '"' || c == '\\' || c >= 0x7f)
            buf_addf(line, "%%%02X", c);
        else
            buf_addc(line, (char)c);
    }
}

static void write_text(struct buf *line, const struct exchange *exchange, const char *now,
                       uint64_t us)
{
    const struct request *req = &exchange->req;

    buf_addf(line, "%.23sZ ACCESS %s ", now, exchange->method);
    add_path(line, req->path);
    buf_addf(line, " %d bytes=%zu ms=%.1f client=%s user=%d id=%s",
             (int)exchange->reply.status, exchange->reply.length, (double)us / 1000,
             req->client_ip, (int)req->user_id, req->id);
}

static void write_json(struct buf *line, const struct exchange *exchange, const char *now,
                       uint64_t us)
{
    const struct request *req = &exchange->req;
    struct json_writer w = { .out = line };
    char time[32];

    snprintf(time, sizeof(time), "%.23sZ", now);
    json_begin_object(&w, NULL);
    json_put_text(&w, "time", time);
    json_put_text(&w, "level", "info");
    json_put_text(&w, "event", "request");
    json_put_text(&w, "method", exchange->method);
    json_put_text(&w, "path", req->path);
    json_put_int(&w, "status", (int)exchange->reply.status);
    json_put_int(&w, "bytes", (int64_t)exchange->reply.length);
    json_put_double(&w, "ms", (double)us / 1000, 1);
    json_put_text(&w, "client_ip", req->client_ip);
    json_put_text(&w, "scheme", req->is_secure ? "https" : "http");
    json_put_int(&w, "user_id", req->user_id);
    json_put_text(&w, "request_id", req->id);
    json_end_object(&w);
}

/* ---- Gunicorn's atoms ---- */

/*
 * Gunicorn puts a backslash before a quotation mark. Here also before a backslash, or
 * the client's own one would undo that, and what is no plain character becomes \xNN.
 */
static void add_escaped(struct buf *out, const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;

        if (c == '"' || c == '\\')
            buf_addf(out, "\\%c", c);
        else if (c < ' ' || c == 0x7f)
            buf_addf(out, "\\x%02x", c);
        else
            buf_addc(out, (char)c);
    }
}

static void add_or_dash(struct buf *out, const char *text)
{
    add_escaped(out, text && *text ? text : "-");
}

/* "[26/Nov/2026:02:26:52 +0100]", local time. */
static void add_time(struct buf *out)
{
    time_t now = time(NULL);
    struct tm tm;
    char text[48];

    localtime_r(&now, &tm);
    strftime(text, sizeof(text), "[%d/%b/%Y:%H:%M:%S %z]", &tm);
    buf_adds(out, text);
}

/* The path and query of the request line as they came, less what is secret. */
static void add_target(struct buf *out, const struct request *req)
{
    struct buf target = BUF_HEAP;

    buf_adds(&target, req->path);
    if (*req->query_string) {
        buf_addc(&target, '?');
        add_query(&target, req);
    }
    add_escaped(out, buf_text(&target));
    buf_done(&target);
}

static void add_user(struct buf *out, const struct request *req)
{
    if (req->user_id > 0)
        buf_addf(out, "%" PRId32, req->user_id);
    else
        buf_addc(out, '-');
}

static void add_length(struct buf *out, const struct exchange *exchange, const char *none)
{
    if (exchange->reply.length > 0)
        buf_addf(out, "%zu", exchange->reply.length);
    else
        buf_adds(out, none);
}

static void add_request_line(struct buf *out, const struct exchange *exchange)
{
    add_escaped(out, exchange->method);
    buf_addc(out, ' ');
    add_target(out, &exchange->req);
    buf_addf(out, " %s", exchange->protocol);
}

static void add_atom(struct buf *out, const struct exchange *exchange, size_t index,
                     uint64_t us)
{
    const struct access_part *part = &config.format->parts[index];
    const struct request *req = &exchange->req;
    struct buf query = BUF_HEAP;

    switch (part->atom) {
    case ATOM_TEXT:
        buf_adds(out, part->text);
        break;
    case ATOM_ADDRESS:
        add_or_dash(out, req->client_ip);
        break;
    case ATOM_DASH:
        buf_addc(out, '-');
        break;
    case ATOM_USER:
        add_user(out, req);
        break;
    case ATOM_TIME:
        add_time(out);
        break;
    case ATOM_LINE:
        add_request_line(out, exchange);
        break;
    case ATOM_METHOD:
        add_escaped(out, exchange->method);
        break;
    case ATOM_PATH:
        add_escaped(out, req->path);
        break;
    case ATOM_QUERY:
        add_query(&query, req);
        add_escaped(out, buf_text(&query));
        buf_done(&query);
        break;
    case ATOM_PROTOCOL:
        buf_adds(out, exchange->protocol);
        break;
    case ATOM_STATUS:
        buf_addf(out, "%d", (int)exchange->reply.status);
        break;
    case ATOM_BYTES:
        add_length(out, exchange, "0");
        break;
    case ATOM_BYTES_DASH:
        add_length(out, exchange, "-");
        break;
    case ATOM_SECONDS:
        buf_addf(out, "%" PRIu64, us / 1000000);
        break;
    case ATOM_MICROS:
        buf_addf(out, "%" PRIu64, us);
        break;
    case ATOM_MILLIS:
        buf_addf(out, "%" PRIu64, us / 1000);
        break;
    case ATOM_DECIMAL:
        buf_addf(out, "%" PRIu64 ".%06" PRIu64, us / 1000000, us % 1000000);
        break;
    case ATOM_PID:
        buf_addf(out, "<%d>", (int)getpid());
        break;
    case ATOM_REFERER:
    case ATOM_AGENT:
    case ATOM_HEADER_IN:
    case ATOM_HEADER_OUT: /* no answer was given: nothing was noted */
        add_or_dash(out, exchange->noted ? exchange->noted[index] : NULL);
        break;
    }
}

static void write_atoms(struct buf *line, const struct exchange *exchange, uint64_t us)
{
    for (size_t i = 0; i < config.format->count; i++)
        add_atom(line, exchange, i, us);
}

/* ---- headers ---- */

static const char *header_name(const struct access_part *part)
{
    switch (part->atom) {
    case ATOM_REFERER:
        return "Referer";
    case ATOM_AGENT:
        return "User-Agent";
    case ATOM_HEADER_IN:
    case ATOM_HEADER_OUT:
        return part->text;
    default:
        return NULL;
    }
}

/* Content-Length is libmicrohttpd's, written when the answer is sent. */
static const char *answer_header(struct exchange *exchange, struct MHD_Response *response,
                                 const char *name)
{
    static char length[24];
    const char *value = MHD_get_response_header(response, name);

    if (value || strcasecmp(name, "Content-Length") != 0 || exchange->reply.stream)
        return value;
    snprintf(length, sizeof(length), "%zu", exchange->reply.length);
    return length;
}

void access_log_forget(struct exchange *exchange)
{
    for (size_t i = 0; exchange->noted && i < config.format->count; i++)
        free(exchange->noted[i]);
    free(exchange->noted);
    exchange->noted = NULL;
}

void access_log_note(struct exchange *exchange, struct MHD_Response *response)
{
    if (!config.is_on || !config.format)
        return;
    access_log_forget(exchange);
    exchange->noted = calloc(config.format->count, sizeof(*exchange->noted));
    if (!exchange->noted)
        fatal("out of memory");
    for (size_t i = 0; i < config.format->count; i++) {
        const struct access_part *part = &config.format->parts[i];
        const char *name = header_name(part), *value;

        if (!name)
            continue;
        value = part->atom == ATOM_HEADER_OUT ? answer_header(exchange, response, name)
                                              : request_header(&exchange->req, name);
        if (value)
            exchange->noted[i] = strdup(is_secret_header(name) ? hidden : value);
    }
}

/* ---- the line ---- */

void access_log_write(const struct exchange *exchange)
{
    const struct request *req = &exchange->req;
    struct buf line = BUF_HEAP;
    char now[CLOCK_TEXT_SIZE];

    if (!config.is_on)
        return;
    uint64_t us = clock_us() - req->started_us;
    clock_iso_z(clock_unix_us(), now);
    if (config.format)
        write_atoms(&line, exchange, us);
    else if (config.is_json)
        write_json(&line, exchange, now, us);
    else
        write_text(&line, exchange, now, us);
    log_access(req->id, buf_text(&line), config.is_json);
    buf_done(&line);
}
