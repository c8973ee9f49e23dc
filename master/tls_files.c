/*
 * tls_files.c - see tls_files.h.
 */
#include "master/tls_files.h"
#include "common/buf.h"
#include "worker/http.h"
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <string.h>
#include <unistd.h>

#define FILE_MAX ((size_t)1024 * 1024)

/* Reading ------------------------------------------------------------------- */

/* False with the reason in `error`. */
static bool read_file(const char *path, struct buf *ret, struct buf *error)
{
    char chunk[4096];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t got = fd < 0 ? -1 : 1;

    while (got > 0 && ret->length <= FILE_MAX) {
        got = read(fd, chunk, sizeof(chunk));
        if (got > 0)
            buf_add(ret, chunk, (size_t)got);
    }
    if (got < 0)
        buf_addf(error, "cannot read %s: %s", path, strerror(errno));
    else if (ret->length > FILE_MAX)
        buf_addf(error, "%s is no PEM file: it has more than 1 MiB", path);
    else if (ret->length == 0 || memchr(ret->data, '\0', ret->length))
        buf_addf(error, "%s is no PEM file: it %s", path,
                 ret->length == 0 ? "is empty" : "holds binary data");
    if (fd >= 0)
        close(fd);
    return error->length == 0;
}

static void complain(const struct options *options, const char *key, const char *reason,
                     struct buf *errors)
{
    struct conf_source source = options_source(options, conf_find(key));

    if (source.origin != CONF_BUILT_IN)
        buf_addf(errors, "%s: ", source.where);
    buf_addf(errors, "%s: %s\n", key, reason);
}

static char *read_into(struct options *options, const char *key, const char *path,
                       struct buf *errors)
{
    struct buf content = BUF_HEAP, error = BUF_HEAP;
    char *text = NULL;

    if (read_file(path, &content, &error))
        text = options_keep_text(options, content.data, content.length);
    else
        complain(options, key, buf_text(&error), errors);
    buf_done(&content);
    buf_done(&error);
    return text;
}

bool tls_files_read(struct options *options, struct buf *errors)
{
    const char *certificate = options->server.tls_certificate;
    const char *key = options->server.tls_key;

    if (!*certificate && *key)
        complain(options, "server.tls_key", "there is no server.tls_certificate for it",
                 errors);
    if (!*certificate)
        return !*key;
    options->server.tls_certificate_text =
        read_into(options, "server.tls_certificate", certificate, errors);
    options->server.tls_key_text = *key
                                       ? read_into(options, "server.tls_key", key, errors)
                                       : options->server.tls_certificate_text;
    return options->server.tls_certificate_text && options->server.tls_key_text;
}

/* Checking ------------------------------------------------------------------ */

/* A passphrase nobody could type in: the key counts as unreadable. */
static int no_passphrase(char *text, int room, int is_writing, void *arg)
{
    (void)text;
    (void)room;
    (void)is_writing;
    (void)arg;
    return -1;
}

static bool fits(const struct options *options, X509 *certificate, EVP_PKEY *key,
                 struct buf *error)
{
    const char *path = *options->server.tls_key ? options->server.tls_key
                                                : options->server.tls_certificate;

    if (!certificate)
        buf_addf(error, "server.tls_certificate: %s holds no certificate in PEM form",
                 options->server.tls_certificate);
    else if (X509_cmp_current_time(X509_get0_notAfter(certificate)) <= 0)
        buf_addf(error, "server.tls_certificate: %s has expired",
                 options->server.tls_certificate);
    else if (!key)
        buf_addf(error, "%s: %s holds no private key in PEM form without a passphrase",
                 *options->server.tls_key ? "server.tls_key" : "server.tls_certificate",
                 path);
    else if (X509_check_private_key(certificate, key) != 1)
        buf_addf(error, "%s: the key in %s is not that of the certificate in %s",
                 *options->server.tls_key ? "server.tls_key" : "server.tls_certificate",
                 path, options->server.tls_certificate);
    return error->length == 0;
}

bool tls_files_check(const struct options *options, struct buf *error)
{
    if (!*options->server.tls_certificate)
        return true;
    if (!http_can_tls()) {
        buf_adds(error, "server.tls_certificate: libmicrohttpd was built without TLS");
        return false;
    }
    BIO *certificate_bio = BIO_new_mem_buf(options->server.tls_certificate_text, -1);
    BIO *key_bio = BIO_new_mem_buf(options->server.tls_key_text, -1);
    X509 *certificate =
        certificate_bio ? PEM_read_bio_X509(certificate_bio, NULL, no_passphrase, NULL)
                        : NULL;
    EVP_PKEY *key =
        key_bio ? PEM_read_bio_PrivateKey(key_bio, NULL, no_passphrase, NULL) : NULL;
    bool is_good = fits(options, certificate, key, error);

    ERR_clear_error();
    X509_free(certificate);
    EVP_PKEY_free(key);
    BIO_free(certificate_bio);
    BIO_free(key_bio);
    return is_good;
}
