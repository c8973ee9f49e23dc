/*
 * access_log.c - see access_log.h.
 */
#include "worker/access_log.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "worker/exchange.h"

static const char *method_name(const struct request *req)
{
    switch (req->method) {
    case METHOD_GET:
        return req->is_head ? "HEAD" : "GET";
    case METHOD_POST:
        return "POST";
    case METHOD_PUT:
        return "PUT";
    case METHOD_PATCH:
        return "PATCH";
    case METHOD_DELETE:
        return "DELETE";
    case METHOD_OPTIONS:
        return "OPTIONS";
    }
    return "OTHER";
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
                       double ms)
{
    const struct request *req = &exchange->req;

    buf_addf(line, "%.23sZ ACCESS %s ", now, method_name(req));
    add_path(line, req->path);
    buf_addf(line, " %d bytes=%zu ms=%.1f client=%s user=%d id=%s",
             (int)exchange->reply.status, exchange->reply.length, ms, req->client_ip,
             (int)req->user_id, req->id);
}

static void write_json(struct buf *line, const struct exchange *exchange, const char *now,
                       double ms)
{
    const struct request *req = &exchange->req;
    struct json_writer w = { .out = line };
    char time[32];

    snprintf(time, sizeof(time), "%.23sZ", now);
    json_begin_object(&w, NULL);
    json_put_text(&w, "time", time);
    json_put_text(&w, "level", "info");
    json_put_text(&w, "event", "request");
    json_put_text(&w, "method", method_name(req));
    json_put_text(&w, "path", req->path);
    json_put_int(&w, "status", (int)exchange->reply.status);
    json_put_int(&w, "bytes", (int64_t)exchange->reply.length);
    json_put_double(&w, "ms", ms, 1);
    json_put_text(&w, "client_ip", req->client_ip);
    json_put_int(&w, "user_id", req->user_id);
    json_put_text(&w, "request_id", req->id);
    json_end_object(&w);
}

void access_log_write(const struct exchange *exchange)
{
    const struct request *req = &exchange->req;
    const struct options *options = req->server->options;
    struct buf line = BUF_HEAP;
    char now[CLOCK_TEXT_SIZE];

    if (!options->log.access)
        return;
    double ms = (double)(clock_us() - req->started_us) / 1000;
    clock_iso_z(clock_unix_us(), now);
    if (options->log.format == LOGF_JSON)
        write_json(&line, exchange, now, ms);
    else
        write_text(&line, exchange, now, ms);
    log_access(line.data);
    buf_done(&line);
}
