/*
 * redis_tls.c - TLS on a connected socket.
 *
 * OpenSSL's own socket BIO uses write(), which raises SIGPIPE on a connection
 * the server has closed; ours uses send() with MSG_NOSIGNAL.
 */
#include "common/redis_tls.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/redis_tls_context.h"
#include "common/redis_tls_reason.h"
#include "common/task.h"
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct redis_tls {
    SSL *ssl;
    int fd;
    bool lacks_certificate;    /* the server asked for one */
    bool wants_write;          /* the last read could not go on without writing */
    char name[REDIS_URL_PATH]; /* that the certificate must be for */
    char refusal[400];         /* why it, or what was read, is refused; "": it is not */
};

const char redis_tls_plain[] =
    "the server speaks no TLS on this port: name its TLS port, "
    "or use redis:// (without redis.ssl)";

const char redis_tls_no_certificate[] =
    "the server asks for a certificate of the client: give one by redis.ssl_certificate "
    "and redis.ssl_key";

/* ---- our socket BIO ---- */

static int socket_write(BIO *bio, const char *data, int size)
{
    const struct redis_tls *tls = BIO_get_data(bio);
    ssize_t done = send(tls->fd, data, (size_t)size, MSG_NOSIGNAL);

    BIO_clear_retry_flags(bio);
    if (done < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_write(bio);
    return (int)done;
}

static int socket_read(BIO *bio, char *data, int size)
{
    const struct redis_tls *tls = BIO_get_data(bio);
    ssize_t done = recv(tls->fd, data, (size_t)size, 0);

    BIO_clear_retry_flags(bio);
    if (done < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_read(bio);
    if (done == 0)
        BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
    return (int)done;
}

static long socket_control(BIO *bio, int command, long number, void *pointer)
{
    (void)number;
    (void)pointer;
    if (command == BIO_CTRL_EOF)
        return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
    return command == BIO_CTRL_FLUSH;
}

static BIO *socket_bio(struct redis_tls *tls)
{
    static BIO_METHOD *method;

    if (!method) {
        method =
            BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "forkmark socket");
        if (!method)
            fatal("out of memory for TLS");
        BIO_meth_set_write(method, socket_write);
        BIO_meth_set_read(method, socket_read);
        BIO_meth_set_ctrl(method, socket_control);
    }
    BIO *bio = BIO_new(method);
    if (!bio)
        fatal("out of memory for TLS");
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    return bio;
}

/* ---- the server's certificate ---- */

static bool is_ip(const char *host)
{
    uint8_t address[16];

    return inet_pton(AF_INET, host, address) == 1 ||
           inet_pton(AF_INET6, host, address) == 1;
}

/* The name the certificate must carry, and the one the server is told (never an IP). */
static bool expect_name(SSL *ssl, const char *name)
{
    if (is_ip(name))
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1;
    return SSL_set1_host(ssl, name) == 1 && SSL_set_tlsext_host_name(ssl, name) == 1;
}

/* Only here OpenSSL shows the certificate that it refuses. */
static int note_verdict(int is_good, X509_STORE_CTX *store)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct redis_tls *tls = SSL_get_app_data(ssl);

    if (!is_good)
        redis_tls_refusal(X509_STORE_CTX_get_error(store),
                          X509_STORE_CTX_get_current_cert(store), tls->name, tls->refusal,
                          sizeof(tls->refusal));
    return is_good;
}

/* Called when the server asks for one. It may be content without. */
static int note_request(SSL *ssl, void *arg)
{
    struct redis_tls *tls = arg;

    tls->lacks_certificate = SSL_get_certificate(ssl) == NULL;
    return 1;
}

struct redis_tls *redis_tls_new(int fd, const struct redis_address *address, char *error,
                                size_t error_size)
{
    SSL_CTX *context = redis_tls_context(address, error, error_size);
    struct redis_tls *tls;

    if (!context)
        return NULL;
    tls = calloc(1, sizeof(*tls));
    if (!tls)
        fatal("out of memory");
    tls->fd = fd;
    snprintf(tls->name, sizeof(tls->name), "%s",
             *address->tls_name ? address->tls_name : address->host);
    tls->ssl = SSL_new(context);
    if (!tls->ssl || !expect_name(tls->ssl, tls->name)) {
        snprintf(error, error_size, "TLS cannot use the host name `%s`", tls->name);
        redis_tls_free(tls);
        return NULL;
    }
    SSL_set_app_data(tls->ssl, tls);
    SSL_set_cert_cb(tls->ssl, note_request, tls);
    if (address->allow_unverified)
        SSL_set_verify(tls->ssl, SSL_VERIFY_NONE, NULL);
    else
        SSL_set_verify(tls->ssl, SSL_VERIFY_PEER, note_verdict);

    BIO *bio = socket_bio(tls);
    SSL_set_bio(tls->ssl, bio, bio);
    SSL_set_connect_state(tls->ssl);
    return tls;
}

void redis_tls_free(struct redis_tls *tls)
{
    if (!tls)
        return;
    SSL_free(tls->ssl);
    free(tls);
}

/* ---- hand shake, reading, writing ---- */

static int explain(const struct redis_tls *tls, int why, char *error, size_t size)
{
    if (tls->refusal[0])
        snprintf(error, size, "%s", tls->refusal);
    else
        redis_tls_failure(error, size);
    /* A server that closes may be one that starts or ends just now. */
    return tls->refusal[0] || why == SSL_ERROR_SSL ? -EACCES : -ECONNRESET;
}

int redis_tls_handshake(struct redis_tls *tls, uint64_t until_ms, char *error,
                        size_t error_size)
{
    for (;;) {
        ERR_clear_error();
        int rc = SSL_do_handshake(tls->ssl);
        if (rc == 1)
            return 0;

        int why = SSL_get_error(tls->ssl, rc);
        if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) {
            return explain(tls, why, error, error_size);
        }
        uint64_t now = clock_ms();
        int events = why == SSL_ERROR_WANT_READ ? UV_READABLE : UV_WRITABLE;
        rc = now < until_ms ? task_poll_fd(tls->fd, events, until_ms - now) : -ETIMEDOUT;
        if (rc < 0) {
            snprintf(error, error_size,
                     "no TLS hand shake in time; does it speak TLS on this port?");
            return rc;
        }
    }
}

static ssize_t outcome(struct redis_tls *tls, int rc)
{
    switch (SSL_get_error(tls->ssl, rc)) {
    case SSL_ERROR_WANT_WRITE:
        tls->wants_write = true;
        return -EAGAIN;
    case SSL_ERROR_WANT_READ:
        return -EAGAIN;
    case SSL_ERROR_SSL:
        redis_tls_failure(tls->refusal, sizeof(tls->refusal));
        return -EACCES;
    default:
        return -ECONNRESET;
    }
}

ssize_t redis_tls_read(struct redis_tls *tls, void *data, size_t size)
{
    ERR_clear_error();
    tls->wants_write = false;
    int rc = SSL_read(tls->ssl, data, size > INT32_MAX ? INT32_MAX : (int)size);
    return rc > 0 ? rc : outcome(tls, rc);
}

ssize_t redis_tls_write(struct redis_tls *tls, const void *data, size_t size)
{
    ERR_clear_error();
    int rc = SSL_write(tls->ssl, data, size > INT32_MAX ? INT32_MAX : (int)size);
    return rc > 0 ? rc : outcome(tls, rc);
}

const char *redis_tls_refused(const struct redis_tls *tls)
{
    return tls->refusal;
}

bool redis_tls_lacks_certificate(const struct redis_tls *tls)
{
    return tls->lacks_certificate;
}

bool redis_tls_has_more(const struct redis_tls *tls)
{
    return SSL_pending(tls->ssl) > 0;
}

bool redis_tls_wants_write(const struct redis_tls *tls)
{
    return tls->wants_write;
}
