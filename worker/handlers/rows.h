/*
 * rows.h - columns of a result straight into JSON.
 */
#ifndef FORKMARK_WORKER_HANDLERS_ROWS_H
#define FORKMARK_WORKER_HANDLERS_ROWS_H

#include "common/json.h"
#include "common/pg.h"

/* SQL NULL becomes null. */
void row_put_text(struct json_writer *w, const char *key, const struct pg_rows *rows,
                  int row, int column);
/* An integer column as it stands; NULL becomes 0. */
void row_put_int(struct json_writer *w, const char *key, const struct pg_rows *rows,
                 int row, int column);
/* A timestamp in the API's form (contract 1.13); null for NULL. */
void row_put_time(struct json_writer *w, const char *key, const struct pg_rows *rows,
                  int row, int column);

#endif
