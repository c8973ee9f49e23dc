/*
 * access_atoms.c - see access_atoms.h.
 */
#include "worker/access_atoms.h"
#include "common/log.h"
#include "worker/access_secrets.h"
#include "worker/exchange.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

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

void access_atoms_forget(const struct access_format *format, struct exchange *exchange)
{
    for (size_t i = 0; exchange->noted && i < format->count; i++)
        free(exchange->noted[i]);
    free(exchange->noted);
    exchange->noted = NULL;
}

void access_atoms_note(const struct access_format *format, struct exchange *exchange,
                       struct MHD_Response *response)
{
    access_atoms_forget(format, exchange);
    exchange->noted = calloc(format->count, sizeof(*exchange->noted));
    if (!exchange->noted)
        fatal("out of memory");
    for (size_t i = 0; i < format->count; i++) {
        const struct access_part *part = &format->parts[i];
        const char *name = header_name(part), *value;

        if (!name)
            continue;
        value = part->atom == ATOM_HEADER_OUT ? answer_header(exchange, response, name)
                                              : request_header(&exchange->req, name);
        if (value)
            exchange->noted[i] =
                strdup(access_is_secret_header(name) ? ACCESS_HIDDEN : value);
    }
}

/* ---- the line ---- */

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
        access_add_query(&target, req->query_string);
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

static void add_atom(struct buf *out, const struct access_part *part,
                     const struct exchange *exchange, const char *noted, uint64_t us)
{
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
        access_add_query(&query, req->query_string);
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
        add_or_dash(out, noted);
        break;
    }
}

void access_atoms_write(struct buf *line, const struct access_format *format,
                        const struct exchange *exchange, uint64_t us)
{
    for (size_t i = 0; i < format->count; i++)
        add_atom(line, &format->parts[i], exchange,
                 exchange->noted ? exchange->noted[i] : NULL, us);
}
