/*
 * fetch.c - one page, one transfer, one waiting task.
 *
 * The task starts a transfer and parks; the loop drives curl and wakes it. If the
 * task ends first, the transfer is taken out of curl at once, and the arena frees
 * what is left of it.
 */
#include "jobs/fetch/fetch.h"

#include "common/arena.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/task.h"
#include "jobs/fetch/multi.h"
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ACCEPT "Accept: text/html,application/xhtml+xml,text/plain;q=0.9,*/*;q=0.5"
/* curl keeps its own time; should it ever miss it, the task goes on after this. */
#define LATE_MS 1000

struct fetcher {
    const struct options *options;
    struct multi *multi;
};

/* One page on its way. */
struct transfer {
    struct fetcher *fetcher;
    CURL *easy;
    struct curl_slist *headers;
    struct task *task; /* parked for it; NULL: nobody waits */
    struct buf body;   /* on the heap: it grows on the loop's stack */
    CURLcode code;
    bool is_added;
    bool is_truncated;
    bool is_refused; /* an address that fetch.allow_private would open */
};

/* What curl's codes mean to us; what is not listed is FETCH_FAILED, to be retried. */
static const struct {
    CURLcode code;
    enum fetch_outcome outcome;
    bool is_retryable;
    const char *detail; /* NULL: curl's own words */
} outcomes[] = {
    { CURLE_OPERATION_TIMEDOUT, FETCH_TIMEOUT, true, "timeout" },
    { CURLE_COULDNT_RESOLVE_HOST, FETCH_FAILED, true, "host not found" },
    { CURLE_COULDNT_CONNECT, FETCH_FAILED, true, "connection refused" },
    { CURLE_RECV_ERROR, FETCH_FAILED, true, "connection lost" },
    { CURLE_SEND_ERROR, FETCH_FAILED, true, "connection lost" },
    { CURLE_GOT_NOTHING, FETCH_FAILED, true, "empty answer" },
    { CURLE_PARTIAL_FILE, FETCH_FAILED, true, "answer cut off" },
    { CURLE_SSL_CONNECT_ERROR, FETCH_FAILED, true, "TLS failed" },
    { CURLE_PEER_FAILED_VERIFICATION, FETCH_FAILED, true, "TLS certificate not valid" },
    { CURLE_TOO_MANY_REDIRECTS, FETCH_FAILED, false, "too many redirects" },
    { CURLE_UNSUPPORTED_PROTOCOL, FETCH_REFUSED, false, "scheme not allowed" },
    { CURLE_URL_MALFORMAT, FETCH_REFUSED, false, "malformed URL" },
};

static void on_done(CURL *easy, CURLcode code)
{
    struct transfer *transfer;

    curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&transfer);
    transfer->code = code;
    if (transfer->task) {
        task_wake(transfer->task, 0);
        transfer->task = NULL;
    }
}

struct fetcher *fetcher_new(const struct options *options)
{
    struct fetcher *fetcher = calloc(1, sizeof(*fetcher));

    if (!fetcher)
        fatal("out of memory for the fetcher");
    fetcher->options = options;
    fetcher->multi = multi_new(on_done);
    return fetcher;
}

void fetcher_free(struct fetcher *fetcher)
{
    if (!fetcher)
        return;
    multi_free(fetcher->multi);
    free(fetcher);
}

/* CURLOPT_WRITEFUNCTION, after decompression. Short of `size` ends the transfer. */
static size_t keep_body(char *data, size_t one, size_t size, void *arg)
{
    struct transfer *transfer = arg;
    size_t room = transfer->fetcher->options->fetch.max_bytes - transfer->body.length;
    size_t take = size < room ? size : room;

    (void)one;
    buf_add(&transfer->body, data, take);
    transfer->is_truncated = take < size;
    return take;
}

/*
 * CURLOPT_OPENSOCKETFUNCTION. Curl connects to exactly this address, so neither a
 * redirect nor a name that resolves differently the next time gets around it.
 */
static curl_socket_t open_socket(void *arg, curlsocktype purpose,
                                 struct curl_sockaddr *address)
{
    struct transfer *transfer = arg;

    if (purpose != CURLSOCKTYPE_IPCXN)
        return CURL_SOCKET_BAD;
    if (!transfer->fetcher->options->fetch.allow_private &&
        fetch_is_private_address(&address->addr)) {
        transfer->is_refused = true;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static void leave_multi(struct transfer *transfer)
{
    if (transfer->is_added)
        multi_remove(transfer->fetcher->multi, transfer->easy);
    transfer->is_added = false;
    transfer->task = NULL;
}

static void on_cancel(void *arg)
{
    leave_multi(arg);
}

static void free_transfer(void *arg)
{
    struct transfer *transfer = arg;

    leave_multi(transfer);
    curl_easy_cleanup(transfer->easy);
    curl_slist_free_all(transfer->headers);
    buf_done(&transfer->body);
    free(transfer);
}

static struct transfer *transfer_new(struct fetcher *fetcher)
{
    struct transfer *transfer = calloc(1, sizeof(*transfer));

    if (!transfer)
        fatal("out of memory for a transfer");
    transfer->fetcher = fetcher;
    transfer->easy = curl_easy_init();
    if (!transfer->easy)
        fatal("out of memory for a transfer");
    arena_defer(task_arena(), free_transfer, transfer);
    return transfer;
}

static void limit_protocols(CURL *easy)
{
#if LIBCURL_VERSION_NUM >= 0x075500 /* 7.85 */
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
#else
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS, CURLPROTO_HTTP | CURLPROTO_HTTPS);
    curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS, CURLPROTO_HTTP | CURLPROTO_HTTPS);
#endif
#if LIBCURL_VERSION_NUM >= 0x075700 /* 7.87 */
    /* Ending a transfer must not wait for its name to be resolved in curl's thread. */
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
#endif
}

static void set_options(struct transfer *transfer, const char *url, uint64_t timeout_ms)
{
    const struct options *options = transfer->fetcher->options;
    CURL *easy = transfer->easy;
    long timeout = timeout_ms < INT32_MAX ? (long)timeout_ms : INT32_MAX;

    transfer->headers = curl_slist_append(NULL, ACCEPT);
    transfer->headers =
        curl_slist_append(transfer->headers, "Accept-Language: en-US,en;q=0.9");
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->headers);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, options->fetch.user_agent);
    curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, ""); /* all that curl can undo */
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, timeout);
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(easy, CURLOPT_MAXREDIRS, (long)options->fetch.max_redirects);
    curl_easy_setopt(easy, CURLOPT_PROXY, ""); /* whatever the environment says */
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, keep_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, transfer);
    limit_protocols(easy);
}

/* As a browser would send it: spaces and raw UTF-8 as %XX. NULL: no such URL, and
 * `ret_detail` says why. */
static const char *sendable_url(const char *url, const char **ret_detail)
{
    CURLU *parts = curl_url();
    const char *result = NULL;
    char *scheme = NULL, *text = NULL;

    *ret_detail = "malformed URL";
    if (curl_url_set(parts, CURLUPART_URL, url,
                     /* Without ALLOW_SPACE curl 8 refuses what curl 7 escaped. */
                     CURLU_URLENCODE | CURLU_ALLOW_SPACE | CURLU_NON_SUPPORT_SCHEME) ==
            CURLUE_OK &&
        curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
        curl_url_get(parts, CURLUPART_URL, &text, 0) == CURLUE_OK) {
        if (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0)
            result = arena_strdup(task_arena(), text);
        else
            *ret_detail = "scheme not allowed";
    }
    curl_free(scheme);
    curl_free(text);
    curl_url_cleanup(parts);
    return result;
}

static void refuse(struct fetch_result *ret, const char *detail)
{
    ret->outcome = FETCH_REFUSED;
    ret->is_retryable = false;
    ret->detail = detail;
}

/* Curl could not finish; `ret` says how. */
static void read_failure(const struct transfer *transfer, struct fetch_result *ret)
{
    ret->outcome = FETCH_FAILED;
    ret->is_retryable = true;
    ret->detail = curl_easy_strerror(transfer->code);
    for (size_t i = 0; i < sizeof(outcomes) / sizeof(outcomes[0]); i++) {
        if (transfer->code != outcomes[i].code)
            continue;
        ret->outcome = outcomes[i].outcome;
        ret->is_retryable = outcomes[i].is_retryable;
        ret->detail = outcomes[i].detail;
    }
    /* The same code for a redirect to ftp: and for what is no HTTP answer at all. */
    long status = 0;
    curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
    if (transfer->code == CURLE_UNSUPPORTED_PROTOCOL && status == 0) {
        ret->outcome = FETCH_FAILED;
        ret->is_retryable = true;
        ret->detail = "no HTTP answer";
    }
    if (transfer->is_refused)
        refuse(ret, "address not allowed");
}

static void read_answer(const struct transfer *transfer, struct fetch_result *ret)
{
    struct arena *arena = task_arena();
    const char *type = NULL, *url = NULL;
    long status = 0;

    curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(transfer->easy, CURLINFO_CONTENT_TYPE, &type);
    curl_easy_getinfo(transfer->easy, CURLINFO_EFFECTIVE_URL, &url);
    ret->status = (int)status;
    if (type)
        ret->content_type = arena_strdup(arena, type);
    if (url)
        ret->final_url = arena_strdup(arena, url);
    ret->body = buf_text(&transfer->body);
    ret->length = transfer->body.length;
    ret->is_truncated = transfer->is_truncated;
    ret->detail = arena_printf(arena, "HTTP %ld", status);
    ret->outcome = status < 400 ? FETCH_OK : FETCH_STATUS;
    ret->is_retryable = status == 429 || status >= 500;
}

/* Yields until curl is done with it; transfer->code says how. */
static void perform(struct transfer *transfer, uint64_t timeout_ms)
{
    transfer->code = CURLE_FAILED_INIT;
    if (!multi_add(transfer->fetcher->multi, transfer->easy))
        return;
    transfer->is_added = true;
    transfer->task = task_self();
    if (task_park(&(struct task_park){ .waiting_on = "fetch",
                                       .timeout_ms = timeout_ms + LATE_MS,
                                       .on_cancel = on_cancel,
                                       .arg = transfer }) == -ETIMEDOUT)
        transfer->code = CURLE_OPERATION_TIMEDOUT;
}

/*
 * A server may close a connection that it kept just when we use it again, for the next
 * redirect, say. That says nothing about the page.
 */
static bool was_kept_too_long(const struct transfer *transfer)
{
    long connects = 0, redirects = 0;

    if ((transfer->code != CURLE_RECV_ERROR && transfer->code != CURLE_SEND_ERROR) ||
        transfer->body.length > 0)
        return false;
    curl_easy_getinfo(transfer->easy, CURLINFO_NUM_CONNECTS, &connects);
    curl_easy_getinfo(transfer->easy, CURLINFO_REDIRECT_COUNT, &redirects);
    return connects <= redirects;
}

void fetch_page(struct fetcher *fetcher, const char *url, uint64_t timeout_ms,
                struct fetch_result *ret)
{
    const char *detail;
    const char *sendable = sendable_url(url, &detail);

    *ret = (struct fetch_result){ .content_type = "", .final_url = url, .body = "" };
    if (!sendable) {
        refuse(ret, detail);
        return;
    }
    struct transfer *transfer = transfer_new(fetcher);
    uint64_t until = clock_ms() + timeout_ms;
    set_options(transfer, sendable, timeout_ms);
    perform(transfer, timeout_ms);
    uint64_t now = clock_ms();
    if (was_kept_too_long(transfer) && now < until) {
        leave_multi(transfer);
        curl_easy_setopt(transfer->easy, CURLOPT_FRESH_CONNECT, 1L);
        curl_easy_setopt(transfer->easy, CURLOPT_TIMEOUT_MS, (long)(until - now));
        perform(transfer, until - now);
    }
    /* A body that is long enough is a page; the rest of it is not waited for. */
    if (transfer->code == CURLE_OK ||
        (transfer->code == CURLE_WRITE_ERROR && transfer->is_truncated))
        read_answer(transfer, ret);
    else
        read_failure(transfer, ret);
    leave_multi(transfer);
}
