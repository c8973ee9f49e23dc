/*
 * exposition.h - Prometheus' text format, written piece by piece.
 *
 * A family has one head (HELP and TYPE), then its samples, with nothing of another
 * family in between. Label values are escaped here.
 */
#ifndef FORKMARK_WORKER_EXPOSITION_H
#define FORKMARK_WORKER_EXPOSITION_H

#include "common/buf.h"
#include <stdint.h>

#define EXPOSITION_LABELS 4

struct exposition {
    struct buf *out;
    const char *prefix; /* before every name */
    const char *name;   /* of the family that was begun last */
};

struct label {
    const char *name, *value;
};
#define LABELS(...) ((const struct label[EXPOSITION_LABELS + 1]){ __VA_ARGS__, { 0 } })

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

/* `name` must outlive its samples. */
void exposition_begin(struct exposition *e, const char *name, enum metric_type type,
                      const char *help);
/* `labels` NULL: none. */
void exposition_int(struct exposition *e, const struct label *labels, uint64_t value);
void exposition_double(struct exposition *e, const struct label *labels, double value);
/* A histogram's samples: counts of each bucket alone, the last one beyond all limits. */
void exposition_histogram(struct exposition *e, const double *limits,
                          const uint64_t *counts, size_t buckets, double sum);

#endif
