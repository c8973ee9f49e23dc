/*
 * exchange.h - one request's way from its head to its answer.
 *
 * libmicrohttpd's callbacks drive it: exchange_new() when the request line is
 * there, exchange_step() for the head, each piece of body and the body's end,
 * exchange_end() at completion. What may wait runs in a task while the connection
 * is suspended: once for a request without a body (access and handler together),
 * twice for one with a body (access before the first byte of it is read, the
 * handler after the last).
 */
#ifndef FORKMARK_WORKER_EXCHANGE_H
#define FORKMARK_WORKER_EXCHANGE_H

#include "worker/http.h"
#include "worker/request.h"
#include <microhttpd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stream;
struct task;

struct reply_header {
    struct reply_header *next;
    const char *name, *value;
};

/* The answer under construction. Everything in it is borrowed from the arena or static.
 */
struct reply {
    enum http_status status; /* 0: none yet */
    const char *type;
    const char *data;
    size_t length;
    const char *cache_control; /* NULL: no-store */
    struct reply_header *headers, **headers_end;
    struct stream *stream; /* the answer is an event stream */
    int file;              /* the body is a file of `length` bytes; -1: no */
    int retry_after;       /* seconds; 0: no such header */
    bool close;            /* the connection goes after it */
};

enum exchange_phase {
    EXCHANGE_HEAD,    /* before the head is complete */
    EXCHANGE_ACCESS,  /* in its task: access, and the handler if no body follows */
    EXCHANGE_BODY,    /* the body is being read */
    EXCHANGE_DISCARD, /* the answer stands; the body is read off unseen */
    EXCHANGE_HANDLER, /* in its task: the handler */
    EXCHANGE_ANSWER,  /* the answer stands and may be sent */
    EXCHANGE_SENT,    /* libmicrohttpd has it */
};

struct exchange {
    struct request req;
    struct reply reply;
    struct connection *connection;
    struct task *task; /* while it runs */
    enum exchange_phase phase;
    const char *method;   /* as sent */
    const char *protocol; /* "HTTP/1.1" */
    char **noted;         /* headers for access_log.c; NULL: none yet */
    size_t target_length; /* of the request line, as it was sent */
    bool head_read, has_body;
    bool body_may_come;   /* libmicrohttpd was told to read the body */
    uint64_t body_length; /* announced, or read so far */
    uint64_t body_limit;
};

/* `uri` is the raw request target. Never NULL. */
struct exchange *exchange_new(struct connection *connection, const char *uri);
/* libmicrohttpd's access handler: MHD_NO closes the connection. */
enum MHD_Result exchange_step(struct exchange *exchange, const char *method,
                              const char *protocol, const char *body, size_t *body_size);
/* Counts and logs it, and frees it. Its task must have ended. */
void exchange_end(struct exchange *exchange);
/* Ends its task, if one runs: the client gets 503. */
void exchange_cancel(struct exchange *exchange);

/* What this process is at, for a signal handler: the request whose task runs now. */
void exchange_report(struct board_doing *ret);

/* reply.c: hands the answer to libmicrohttpd. */
enum MHD_Result reply_queue(struct exchange *exchange);

static inline struct exchange *exchange_of(struct request *req)
{
    return (struct exchange *)((char *)req - offsetof(struct exchange, req));
}

#endif
