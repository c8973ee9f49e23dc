/*
 * access_log.c - see access_log.h.
 */
#include "worker/access_log.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "worker/access_atoms.h"
#include "worker/exchange.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

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

void access_log_forget(struct exchange *exchange)
{
    if (config.format)
        access_atoms_forget(config.format, exchange);
}

void access_log_note(struct exchange *exchange, struct MHD_Response *response)
{
    if (config.is_on && config.format)
        access_atoms_note(config.format, exchange, response);
}

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
        access_atoms_write(&line, config.format, exchange, us);
    else if (config.is_json)
        write_json(&line, exchange, now, us);
    else
        write_text(&line, exchange, now, us);
    log_access(req->id, buf_text(&line), config.is_json);
    buf_done(&line);
}
