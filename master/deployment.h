/*
 * deployment.h - what all servers on one database have to agree about.
 *
 * Servers find each other through the database and Redis alone. If one has another
 * secret, tokens that it signs are refused by the others, and nothing else goes wrong
 * that an operator would see: so each start and reload compares, and says so.
 */
#ifndef FORKMARK_MASTER_DEPLOYMENT_H
#define FORKMARK_MASTER_DEPLOYMENT_H

#include <stddef.h>

struct options;

/* Fingerprints are 32 digits: which secret it is, and nothing of what it is. */
#define FINGERPRINT_SIZE 33
void deployment_fingerprint(const char *name, const char *secret,
                            char ret[FINGERPRINT_SIZE]);

/*
 * Compares with what other servers have noted in the database, notes this one's, and
 * warns of each difference. Blocking libpq: for a short-lived child. A database that
 * cannot be asked is no matter here.
 */
void deployment_compare(const struct options *options, const char *url);

#endif
