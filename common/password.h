/*
 * password.h - password hashes (bcrypt, through libcrypt).
 *
 * Hashing costs a quarter second of CPU, so it runs on one thread per process,
 * at SCHED_IDLE, fed by a bounded queue: measured, four bcrypt threads in the
 * common pool drove the p99 of other requests from 0.2 to 8.7 ms.
 */
#ifndef FORKMARK_COMMON_PASSWORD_H
#define FORKMARK_COMMON_PASSWORD_H

#include <stdbool.h>
#include <stddef.h>

#define PASSWORD_HASH_SIZE 256

/* Most hashes waiting; past it callers get -EBUSY (503). */
#define PASSWORD_QUEUE 64

/* $2b$ with `rounds` (4..31). Yields. 0, -EBUSY, or -EINVAL. */
int password_hash(const char *password, int rounds, char ret[PASSWORD_HASH_SIZE]);

/*
 * Whether `password` belongs to `hash` ($2a$, $2b$, $2y$, and the Werkzeug forms
 * scrypt:N:r:p$salt$hex and pbkdf2:sha256:n$salt$hex). Yields. 1, 0, -EBUSY, or
 * -EINVAL for a hash of no known form. With `hash` NULL a dummy of `rounds` is
 * computed and 0 returned, so that an unknown user costs the same time; so does a
 * hash of no known form.
 */
int password_verify(const char *password, const char *hash, int rounds);

/* Not bcrypt, or of another cost: hash it anew at the next success. */
bool password_is_outdated(const char *hash, int rounds);

/* Ends the thread (after the hash it is at) and closes its handle on the loop: for
 * tests, before task_runtime_done(). No task may be waiting here. */
void password_stop(void);

#endif
