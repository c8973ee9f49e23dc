/*
 * exposition.c - see exposition.h.
 */
#include "worker/exposition.h"
#include <inttypes.h>
#include <stdio.h>

static const char *const types[] = {
    [METRIC_COUNTER] = "counter",
    [METRIC_GAUGE] = "gauge",
    [METRIC_HISTOGRAM] = "histogram",
};

void exposition_begin(struct exposition *e, const char *name, enum metric_type type,
                      const char *help)
{
    e->name = name;
    buf_addf(e->out, "# HELP %s%s %s\n# TYPE %s%s %s\n", e->prefix, name, help, e->prefix,
             name, types[type]);
}

static void add_value(struct buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '\n')
            buf_adds(out, "\\n");
        else if (*text == '"' || *text == '\\')
            buf_addf(out, "\\%c", *text);
        else
            buf_addc(out, *text);
    }
}

static void add_name(struct exposition *e, const char *suffix, const struct label *labels)
{
    buf_addf(e->out, "%s%s%s", e->prefix, e->name, suffix);
    for (size_t i = 0; labels && labels[i].name; i++) {
        buf_addf(e->out, "%c%s=\"", i == 0 ? '{' : ',', labels[i].name);
        add_value(e->out, labels[i].value);
        buf_addc(e->out, '"');
    }
    if (labels && labels[0].name)
        buf_addc(e->out, '}');
    buf_addc(e->out, ' ');
}

void exposition_int(struct exposition *e, const struct label *labels, uint64_t value)
{
    add_name(e, "", labels);
    buf_addf(e->out, "%" PRIu64 "\n", value);
}

void exposition_double(struct exposition *e, const struct label *labels, double value)
{
    add_name(e, "", labels);
    buf_addf(e->out, "%.6f\n", value);
}

void exposition_histogram(struct exposition *e, const double *limits,
                          const uint64_t *counts, size_t buckets, double sum)
{
    uint64_t so_far = 0;
    char limit[32] = "+Inf";

    for (size_t i = 0; i < buckets; i++) {
        so_far += counts[i];
        if (i + 1 < buckets)
            snprintf(limit, sizeof(limit), "%g", limits[i]);
        else
            snprintf(limit, sizeof(limit), "+Inf");
        add_name(e, "_bucket", LABELS({ "le", limit }));
        buf_addf(e->out, "%" PRIu64 "\n", so_far);
    }
    add_name(e, "_sum", NULL);
    buf_addf(e->out, "%.6f\n", sum);
    add_name(e, "_count", NULL);
    buf_addf(e->out, "%" PRIu64 "\n", so_far);
}
