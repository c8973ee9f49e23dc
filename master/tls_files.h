/*
 * tls_files.h - the files of server.tls_certificate and server.tls_key.
 *
 * The master reads them, since it alone may (a key belongs to root), and hands them on
 * with the options; whether they are what they should be is found out in a child, for the
 * master itself speaks no TLS.
 */
#ifndef FORKMARK_MASTER_TLS_FILES_H
#define FORKMARK_MASTER_TLS_FILES_H

#include "common/options.h"
#include <stdbool.h>

struct buf;

/* Into options.server.tls_..._text. False with a line in `errors`: "forkmark.conf:12:
 * server.tls_key: cannot read ...". Nothing to do without server.tls_certificate. */
bool tls_files_read(struct options *options, struct buf *errors);

/*
 * In a child, or a process that serves nobody: whether the certificate can be parsed, has
 * not expired, and fits the key. False with the reason, which begins with the option.
 */
bool tls_files_check(const struct options *options, struct buf *error);

#endif
