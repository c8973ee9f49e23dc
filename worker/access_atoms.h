/*
 * access_atoms.h - a line in Gunicorn's access_log_format, from the parts into which
 * common/access_format.h takes it.
 */
#ifndef FORKMARK_WORKER_ACCESS_ATOMS_H
#define FORKMARK_WORKER_ACCESS_ATOMS_H

#include "common/access_format.h"
#include "common/buf.h"
#include <stdint.h>

struct exchange;
struct MHD_Response;

/* The answer is complete: keeps what the line will say of its headers and of the
 * request's, which are gone when the line is written. Freed by access_atoms_forget. */
void access_atoms_note(const struct access_format *format, struct exchange *exchange,
                       struct MHD_Response *response);
void access_atoms_forget(const struct access_format *format, struct exchange *exchange);

/* `us`: how long the request took. */
void access_atoms_write(struct buf *line, const struct access_format *format,
                        const struct exchange *exchange, uint64_t us);

#endif
