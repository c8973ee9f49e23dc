/*
 * health.c - see health.h.
 *
 * A listener may want TLS, or a PROXY header first. What the configuration says is tried
 * first; it may have changed since the server read it, so then come the other ways, until
 * one brings HTTP.
 */
#include "master/health.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/options.h"
#include "master/listener.h"
#include <errno.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

/* A busy server answers late; one that was asked in a wrong way may never answer. */
#define PATIENCE_MS       3000
#define OTHER_PATIENCE_MS 800 /* three of them: docker/Dockerfile gives 6 s to all */

static const char question[] = "GET /health/readiness HTTP/1.1\r\nHost: localhost\r\n"
                               "User-Agent: forkmark check\r\nConnection: close\r\n\r\n";
static const char proxy_header[] = "PROXY UNKNOWN\r\n";

struct way {
    bool proxy, tls;
};

static bool set_patience(int fd, uint64_t until)
{
    uint64_t now = clock_ms();
    uint64_t left = until > now ? until - now : 1;
    struct timeval time = { .tv_sec = (time_t)(left / 1000),
                            .tv_usec = (suseconds_t)(left % 1000 * 1000) };

    return setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time)) == 0 &&
           setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof(time)) == 0;
}

/* 0.0.0.0 and :: reach this machine as they are. */
static int dial(const struct sockaddr *address, socklen_t length, uint64_t until)
{
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd >= 0 && set_patience(fd, until) && connect(fd, address, length) == 0)
        return fd;
    int error = errno;
    if (fd >= 0)
        close(fd);
    return -error;
}

static void read_plain(int fd, struct buf *answer)
{
    char piece[4096];
    ssize_t length;

    if (send(fd, question, sizeof(question) - 1, MSG_NOSIGNAL) < 0)
        return;
    while ((length = recv(fd, piece, sizeof(piece), 0)) > 0)
        buf_add(answer, piece, (size_t)length);
}

/* Nobody's certificate is checked: it is this machine that is spoken to. */
static void read_tls(int fd, struct buf *answer)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL *tls = context ? SSL_new(context) : NULL;
    char piece[4096];
    int length;

    if (tls && SSL_set_fd(tls, fd) == 1 && SSL_connect(tls) == 1 &&
        SSL_write(tls, question, sizeof(question) - 1) > 0)
        while ((length = SSL_read(tls, piece, sizeof(piece))) > 0)
            buf_add(answer, piece, (size_t)length);
    SSL_free(tls);
    SSL_CTX_free(context);
}

static bool is_http(const struct buf *answer)
{
    return strncmp(buf_text(answer), "HTTP/1.", 7) == 0 && answer->length > 12;
}

/* False: nothing that was HTTP came back. */
static bool ask(const struct address *address, struct way way, uint64_t patience_ms,
                struct buf *answer, int *ret_error)
{
    uint64_t until = clock_ms() + patience_ms;
    int fd = dial((const struct sockaddr *)&address->as, address->length, until);

    buf_clear(answer);
    *ret_error = fd < 0 ? -fd : 0;
    if (fd < 0)
        return false;
    if (way.proxy)
        send(fd, proxy_header, sizeof(proxy_header) - 1, MSG_NOSIGNAL);
    if (way.tls)
        read_tls(fd, answer);
    else
        read_plain(fd, answer);
    close(fd);
    return is_http(answer);
}

static bool is_good(const struct buf *answer, struct buf *ret)
{
    const char *body = strstr(buf_text(answer), "\r\n\r\n");
    bool is_ok = strncmp(buf_text(answer) + 9, "200", 3) == 0;

    if (!is_ok)
        buf_addf(ret, "%.3s ", buf_text(answer) + 9);
    buf_adds(ret, body ? body + 4 : "");
    return is_ok;
}

static bool ask_http(const struct options *options, struct buf *ret)
{
    /* As listener.c has it. */
    const char *bound =
        options->server.bind.count > 0 ? options->server.bind.items[0] : "0.0.0.0";
    const struct way configured = { options->server.proxy_protocol,
                                    *options->server.tls_certificate != '\0' };
    struct address address = { 0 };
    struct buf answer = BUF_HEAP;
    bool is_healthy = false, is_answered = false;
    int error = 0;

    if (!address_parse(bound, (int)options->server.port, &address, ret))
        return false;
    signal(SIGPIPE, SIG_IGN);
    for (unsigned change = 0; change < 4 && !is_answered && !error; change++) {
        struct way way = { configured.proxy != (change & 1),
                           configured.tls != change / 2 };

        is_answered = ask(&address, way, change == 0 ? PATIENCE_MS : OTHER_PATIENCE_MS,
                          &answer, &error);
    }
    if (is_answered)
        is_healthy = is_good(&answer, ret);
    else
        buf_addf(ret, "no answer at %s: %s", bound, error ? strerror(error) : "not HTTP");
    buf_done(&answer);
    return is_healthy;
}

static bool ask_control(const char *path, struct buf *ret)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
    int fd = dial((struct sockaddr *)&address, sizeof(address), clock_ms() + PATIENCE_MS);
    if (fd < 0) {
        buf_addf(ret, "no server at %s: %s", path, strerror(-fd));
        return false;
    }
    close(fd);
    buf_adds(ret, "the server runs, without HTTP workers");
    return true;
}

bool health_ask(const struct options *options, const char *control, struct buf *ret)
{
    if (conf_count_value(&options->server.workers) > 0)
        return ask_http(options, ret);
    return ask_control(control, ret);
}
