/*
 * redis_tls_context.c - see redis_tls_context.h.
 *
 * Reading the system's certificates takes 20 ms, so a context is made once for each
 * set of files. Certificates get renewed in their files: before each connection these
 * are looked at (not read), which a few connections a process can afford.
 */
#include "common/redis_tls_context.h"
#include "common/log.h"
#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CA_FILE, CERTIFICATE, KEY, FILE_COUNT };

struct stamp {
    struct timespec changed;
    ino_t inode;
    off_t size;
};

struct context {
    struct context *next;
    char *paths[FILE_COUNT]; /* "": none */
    struct stamp stamps[FILE_COUNT];
    SSL_CTX *ssl;
};

static struct context *contexts;

static const char *const options[FILE_COUNT] = {
    [CA_FILE] = "redis.ssl_ca_file",
    [CERTIFICATE] = "redis.ssl_certificate",
    [KEY] = "redis.ssl_key",
};

static struct stamp stamp_of(const char *path)
{
    struct stat status;

    if (!*path || stat(path, &status) != 0)
        return (struct stamp){ 0 };
    return (struct stamp){ .changed = status.st_mtim,
                           .inode = status.st_ino,
                           .size = status.st_size };
}

static bool is_same_stamp(const struct stamp *a, const struct stamp *b)
{
    return a->changed.tv_sec == b->changed.tv_sec &&
           a->changed.tv_nsec == b->changed.tv_nsec && a->inode == b->inode &&
           a->size == b->size;
}

/* ---- reading the files ---- */

static bool complain(int file, const char *path, char *error, size_t size)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;

    if (access(path, R_OK) != 0)
        reason = strerror(errno);
    snprintf(error, size, "%s: `%s` cannot be used: %s", options[file], path,
             reason ? reason : "it is no PEM file");
    return false;
}

static bool read_files(SSL_CTX *ssl, const char *const paths[FILE_COUNT], char *error,
                       size_t size)
{
    const char *key = *paths[KEY] ? paths[KEY] : paths[CERTIFICATE];

    ERR_clear_error();
    if (!*paths[CA_FILE])
        /* The system's, or those of SSL_CERT_FILE and SSL_CERT_DIR. */
        SSL_CTX_set_default_verify_paths(ssl);
    else if (SSL_CTX_load_verify_locations(ssl, paths[CA_FILE], NULL) != 1)
        return complain(CA_FILE, paths[CA_FILE], error, size);
    if (!*paths[CERTIFICATE])
        return true;
    if (SSL_CTX_use_certificate_chain_file(ssl, paths[CERTIFICATE]) != 1)
        return complain(CERTIFICATE, paths[CERTIFICATE], error, size);
    if (SSL_CTX_use_PrivateKey_file(ssl, key, SSL_FILETYPE_PEM) != 1)
        return complain(KEY, key, error, size);
    return true;
}

static int no_passphrase(char *text, int room, int is_writing, void *arg)
{
    (void)text;
    (void)room;
    (void)is_writing;
    (void)arg;
    return -1;
}

static SSL_CTX *make(const char *const paths[FILE_COUNT], char *error, size_t size)
{
    SSL_CTX *ssl = SSL_CTX_new(TLS_client_method());

    if (!ssl)
        fatal("cannot make a TLS context");
    SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION);
    SSL_CTX_set_default_passwd_cb(ssl, no_passphrase);
    SSL_CTX_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    if (read_files(ssl, paths, error, size))
        return ssl;
    SSL_CTX_free(ssl);
    return NULL;
}

/* ---- the list ---- */

static struct context *find(const char *const paths[FILE_COUNT])
{
    struct context *each = contexts;

    while (each && (strcmp(each->paths[CA_FILE], paths[CA_FILE]) != 0 ||
                    strcmp(each->paths[CERTIFICATE], paths[CERTIFICATE]) != 0 ||
                    strcmp(each->paths[KEY], paths[KEY]) != 0))
        each = each->next;
    if (each)
        return each;
    each = calloc(1, sizeof(*each));
    if (!each)
        fatal("out of memory");
    for (int i = 0; i < FILE_COUNT; i++) {
        each->paths[i] = strdup(paths[i]);
        if (!each->paths[i])
            fatal("out of memory");
    }
    each->next = contexts;
    contexts = each;
    return each;
}

SSL_CTX *redis_tls_context(const struct redis_address *address, char *error,
                           size_t error_size)
{
    const char *const paths[FILE_COUNT] = {
        [CA_FILE] = address->ca_file,
        [CERTIFICATE] = address->certificate,
        [KEY] = address->key,
    };
    struct context *context = find(paths);
    bool is_current = context->ssl != NULL;

    for (int i = 0; i < FILE_COUNT; i++) {
        struct stamp stamp = stamp_of(paths[i]);

        is_current &= is_same_stamp(&stamp, &context->stamps[i]);
        context->stamps[i] = stamp;
    }
    if (is_current)
        return context->ssl;
    SSL_CTX *ssl = make(paths, error, error_size);
    /* Connections hold on to the one they were made with. */
    SSL_CTX_free(context->ssl);
    context->ssl = ssl;
    return ssl;
}
