/*
 * password_werkzeug.h - the two hash forms a Fuze database may hold.
 *
 * Blocking: called on the password thread only (see password.c).
 */
#ifndef FORKMARK_COMMON_PASSWORD_WERKZEUG_H
#define FORKMARK_COMMON_PASSWORD_WERKZEUG_H

#include <stdbool.h>

/* scrypt:... or pbkdf2:...; what follows has not been looked at. */
bool werkzeug_is_hash(const char *hash);
/* 1, 0, or -EINVAL: malformed, or it asks for more memory or time than is sane. */
int werkzeug_verify(const char *password, const char *hash);

#endif
