/*
 * fetch.h - get a page somebody gave us the address of, safely.
 *
 * libcurl's multi interface on the task loop. Only http and https, only public
 * addresses unless fetch.allow_private (checked on the resolved address in
 * CURLOPT_OPENSOCKETFUNCTION, so also after each redirect and against DNS
 * rebinding), a total time, a size and a redirect limit (contract 3.3).
 */
#ifndef FORKMARK_JOBS_FETCH_H
#define FORKMARK_JOBS_FETCH_H

#include "common/options.h"
#include "common/redis.h"
#include <stdbool.h>
#include <stddef.h>

struct fetcher;
/* One per process, on the running loop. */
struct fetcher *fetcher_new(const struct options *options);
void fetcher_free(struct fetcher *fetcher);

enum fetch_outcome {
    FETCH_OK,      /* an HTTP answer below 400 */
    FETCH_STATUS,  /* 400 and up */
    FETCH_REFUSED, /* an address or scheme we do not connect to */
    FETCH_FAILED,  /* DNS, refused, reset, TLS */
    FETCH_TIMEOUT,
};

struct fetch_result {
    enum fetch_outcome outcome;
    int status;
    bool is_retryable;        /* connection errors, 5xx, 429 */
    bool is_truncated;        /* max_bytes reached; `body` holds what came before */
    const char *content_type; /* "" when none */
    const char *final_url;
    const char *body; /* in the task's arena */
    size_t length;
    const char *detail; /* for events and logs: "timeout", "HTTP 404", ... */
};

/* Yields. Always fills `ret`. */
void fetch_page(struct fetcher *fetcher, const char *url, uint64_t timeout_ms,
                struct fetch_result *ret);

/*
 * Per-host manners across processes (fetch.per_host, and the circuit: 5 failures
 * in 60 s close a host for 300 s). 0: go; else seconds to wait. Redis away: 0.
 * Yields.
 */
int fetch_host_delay(struct redis *redis, const struct options *options, const char *url);
void fetch_host_report(struct redis *redis, const struct options *options,
                       const char *url, bool failed);

/* Whether fetch.allow_private is needed to connect there. */
struct sockaddr;
bool fetch_is_private_address(const struct sockaddr *address);

#endif
