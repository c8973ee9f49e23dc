/*
 * redis_tls_reason.c - see redis_tls_reason.h.
 */
#include "common/redis_tls_reason.h"
#include "common/redis_tls.h"
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define NAMES_SIZE 120

/* ---- what a certificate says ---- */

static void show_time(const ASN1_TIME *time, char ret[32])
{
    struct tm parts;

    if (time && ASN1_TIME_to_tm(time, &parts) == 1)
        strftime(ret, 32, "%Y-%m-%d %H:%M UTC", &parts);
    else
        snprintf(ret, 32, "?");
}

static void add_name(char *ret, size_t size, const char *name, size_t length)
{
    size_t used = strlen(ret);

    if (used + length + 3 < size)
        snprintf(ret + used, size - used, "%s%.*s", used ? ", " : "", (int)length, name);
}

/* Names and addresses it is for; without any, its common name. */
static void show_names(X509 *certificate, char ret[NAMES_SIZE])
{
    GENERAL_NAMES *names =
        X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    char text[INET6_ADDRSTRLEN];

    ret[0] = '\0';
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

        if (name->type == GEN_DNS) {
            add_name(ret, NAMES_SIZE,
                     (const char *)ASN1_STRING_get0_data(name->d.dNSName),
                     (size_t)ASN1_STRING_length(name->d.dNSName));
        } else if (name->type == GEN_IPADD) {
            bool is_v4 = ASN1_STRING_length(name->d.iPAddress) == 4;

            if (inet_ntop(is_v4 ? AF_INET : AF_INET6,
                          ASN1_STRING_get0_data(name->d.iPAddress), text, sizeof(text)))
                add_name(ret, NAMES_SIZE, text, strlen(text));
        }
    }
    GENERAL_NAMES_free(names);
    if (!*ret && X509_NAME_get_text_by_NID(X509_get_subject_name(certificate),
                                           NID_commonName, ret, NAMES_SIZE) < 0)
        snprintf(ret, NAMES_SIZE, "no name at all");
}

static void show_issuer(X509 *certificate, char ret[NAMES_SIZE])
{
    if (X509_NAME_get_text_by_NID(X509_get_issuer_name(certificate), NID_commonName, ret,
                                  NAMES_SIZE) < 0)
        snprintf(ret, NAMES_SIZE, "without a name");
}

/* ---- one function a verdict ---- */

static void has_expired(X509 *certificate, const char *name, char *ret, size_t size)
{
    char when[32];

    (void)name;
    show_time(X509_get0_notAfter(certificate), when);
    snprintf(ret, size, "it has expired, on %s: renew it on the server", when);
}

static void is_early(X509 *certificate, const char *name, char *ret, size_t size)
{
    char when[32];

    (void)name;
    show_time(X509_get0_notBefore(certificate), when);
    snprintf(ret, size, "it is not valid before %s: see to this machine's clock", when);
}

static void is_misnamed(X509 *certificate, const char *name, char *ret, size_t size)
{
    char names[NAMES_SIZE];

    show_names(certificate, names);
    snprintf(ret, size,
             "it is for %s, not for `%s`: reach the server by a name it has, or say by "
             "redis.ssl_name which one to expect",
             names, name);
}

static void is_self_signed(X509 *certificate, const char *name, char *ret, size_t size)
{
    (void)certificate;
    (void)name;
    snprintf(ret, size,
             "it is self-signed: if it is the right one, name its file in "
             "redis.ssl_ca_file");
}

static void is_foreign(X509 *certificate, const char *name, char *ret, size_t size)
{
    char issuer[NAMES_SIZE];

    (void)name;
    show_issuer(certificate, issuer);
    snprintf(ret, size,
             "it is signed by an authority unknown here (%s): name the authority's file "
             "in redis.ssl_ca_file",
             issuer);
}

static const struct {
    int verdict;
    void (*explain)(X509 *certificate, const char *name, char *ret, size_t size);
} verdicts[] = {
    { X509_V_ERR_CERT_HAS_EXPIRED, has_expired },
    { X509_V_ERR_CERT_NOT_YET_VALID, is_early },
    { X509_V_ERR_HOSTNAME_MISMATCH, is_misnamed },
    { X509_V_ERR_IP_ADDRESS_MISMATCH, is_misnamed },
    { X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, is_self_signed },
    { X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, is_foreign },
    { X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, is_foreign },
    { X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, is_foreign },
    { X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, is_foreign },
};

void redis_tls_refusal(int verdict, X509 *certificate, const char *name, char *ret,
                       size_t size)
{
    int begun = snprintf(ret, size, "its certificate is refused: ");

    for (size_t i = 0; certificate && i < sizeof(verdicts) / sizeof(verdicts[0]); i++) {
        if (verdicts[i].verdict == verdict) {
            verdicts[i].explain(certificate, name, ret + begun, size - (size_t)begun);
            return;
        }
    }
    snprintf(ret + begun, size - (size_t)begun, "%s",
             X509_verify_cert_error_string(verdict));
}

void redis_tls_failure(char *ret, size_t size)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;

    switch (ERR_GET_REASON(code)) {
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
    case SSL_R_UNEXPECTED_MESSAGE:
        snprintf(ret, size, "%s", redis_tls_plain);
        break;
    case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
        snprintf(ret, size, "%s", redis_tls_no_certificate);
        break;
    default:
        snprintf(ret, size, "no TLS hand shake: %s",
                 reason ? reason
                        : "the server closed the connection; does it speak TLS on this "
                          "port?");
    }
}
