/*
 * request_id.h - names for requests whose client gave none (contract 1.9).
 */
#ifndef FORKMARK_WORKER_REQUEST_ID_H
#define FORKMARK_WORKER_REQUEST_ID_H

#include "common/ids.h"

/*
 * In the form of a random UUID (version 4), from a generator seeded once per process
 * by OpenSSL. Unique, but to be guessed by who has seen many: for names, not secrets.
 * OpenSSL itself costs a microsecond a request.
 */
void request_id_new(char ret[UUID_SIZE]);

#endif
