/*
 * conf.h - the engine behind every option: tables, files, environment, origins.
 *
 * An option is one row of a table (see options.c): path, type, field, range,
 * default, unit, environment names, when a change applies, help. Parsing,
 * checking, environment, --set, `forkmark check`, `ctl show config` and the
 * reference config/forkmark.conf all come from these rows.
 *
 * Precedence: built-in < file < environment < command line < runtime (ctl).
 * An unknown key, a wrong type or a value out of range is an error that names
 * file and line (or the variable) and suggests the nearest name.
 *
 * libconfig may exit() on some inputs, so a running master parses in a
 * short-lived child (conf_load_in_child).
 */
#ifndef FORKMARK_COMMON_CONF_H
#define FORKMARK_COMMON_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct options;
struct pool_options;
struct queue_options;

enum conf_type {
    CONF_BOOL,      /* bool */
    CONF_INT,       /* int64_t */
    CONF_SECONDS,   /* uint64_t milliseconds; written 30, "30s", "500ms", "5m", "2h", "7d"
                     */
    CONF_BYTES,     /* uint64_t bytes; written 1024, "16K", "1M" */
    CONF_TEXT,      /* char *, never NULL */
    CONF_SECRET,    /* char *, never NULL; not shown; "file:/path" reads it from a file */
    CONF_LIST,      /* struct conf_list; an array, or one comma-separated text */
    CONF_WORDS,     /* struct conf_list; an array kept as written, or one text */
    CONF_VARIABLES, /* the same with NAME=value as items; values are not shown */
    CONF_SECRETS,   /* struct conf_list of secrets; an array, or one text with blanks (or
                     * commas before another URL) between */
    CONF_COUNT,     /* struct conf_count: a number, "auto", or "50%" of the usable CPUs;
                     * or { min = 2; max = 8; }, in one text "2..8": `min` is its least */
    CONF_ENUM,      /* int; one of the words in `words` */
};

enum conf_applies { CONF_LIVE, CONF_NEW_WORKERS, CONF_RESTART };
enum conf_origin { CONF_BUILT_IN, CONF_FILE, CONF_ENV, CONF_ARGUMENT, CONF_RUNTIME };

struct conf_list {
    char **items; /* `count` texts and a closing NULL */
    size_t count;
};

struct conf_count {
    bool is_auto;
    int percent; /* 1..400 of the usable CPUs; 0: `number` counts */
    int number;
    bool is_range; /* these are its least, and the most is: */
    struct {
        bool is_auto;
        int percent, number;
    } most;
};

struct conf_key {
    const char *path; /* "server.workers" */
    enum conf_type type;
    size_t field;              /* offset in struct options */
    const char *def;           /* as it would be written */
    double min, max;           /* both 0: no range */
    const char *unit;          /* "s", "bytes", "connections" */
    const char *const *words;  /* CONF_ENUM: NULL-ended */
    const char *env, *env_alt; /* variable names, or NULL */
    const char
        *env_unit; /* unit of a bare number in the variable ("h"); NULL: the row's */
    const char *(*check)(const char *text); /* NULL when fine, else what is wrong */
    enum conf_applies applies;
    const char *help;
};

/* Where one value came from: "forkmark.conf:12", "DATABASE_URL", "--set". */
struct conf_source {
    enum conf_origin origin;
    const char *where;
};

/* What options_load() reads. Borrowed during the call. */
struct conf_input {
    const char *file;           /* NULL: none */
    char *const *environ;       /* NULL: none */
    const char *const *sets;    /* "key=value", NULL-ended; NULL: none */
    const char *const *runtime; /* the same, set by ctl */
};

/*
 * A whole configuration, checked. NULL on any error; then `errors` holds one
 * line for each ("forkmark.conf:12: unknown option `server.worker`; did you
 * mean `server.workers`?"). The caller frees with options_free().
 */
struct options *options_load(const struct conf_input *input, struct buf *errors);
/* The same in a forked child, so that a parser that exits is just an error. */
struct options *options_load_in_child(const struct conf_input *input, struct buf *errors);
void options_free(struct options *options);

/* The rows, in the order they are shown. */
const struct conf_key *conf_keys(size_t *ret_count);
const struct conf_key *conf_find(const char *path);
struct conf_source options_source(const struct options *options,
                                  const struct conf_key *key);
/* The value as it would be written; secrets as "(set)" or "". */
void options_show(const struct options *options, const struct conf_key *key,
                  struct buf *out);
/* jobs.cron, jobs.functions, jobs.pools and jobs.queues have no rows but items with names
 * of their own. One line an item: "jobs.pools.default = { consumers = 2; ... }". */
void options_show_group(const struct options *options, const char *group,
                        struct buf *out);
/* All of them, one call each: "jobs.pools.default", "{ consumers = 2; ... }". */
void options_each_item(const struct options *options,
                       void (*call)(void *arg, const char *key, const char *value,
                                    const struct conf_source *source),
                       void *arg);
bool options_same_group(const struct options *a, const struct options *b,
                        const char *group);
struct conf_source options_pools_source(const struct options *options);
/* Rows whose values differ are what a reload has to apply. */
bool options_equal(const struct options *a, const struct options *b,
                   const struct conf_key *key);
/* The consumer pool of that name, or NULL; also where there are no options yet (NULL). */
struct pool_options *options_pool(const struct options *options, const char *name);
/* Consumer pools alike in all but their counts: one, and all of them with names. */
bool options_same_pool(const struct pool_options *a, const struct pool_options *b);
bool options_same_pools(const struct options *a, const struct options *b);
/* jobs.queues: a queue's own options, or the defaults; never NULL. */
const struct queue_options *options_queue(const struct options *options,
                                          const char *name);
/* The variable of the first secret that production needs and nobody set; NULL: none. */
const char *options_missing_secret(const struct options *options);
/*
 * Sets one value on a loaded configuration, as CONF_RUNTIME: what the master learns
 * later (the embedded services' addresses, the secrets it made). False: `error`.
 */
bool options_set(struct options *options, const char *path, const char *text,
                 const char *where, struct buf *error);
/* A copy that lives as long as the options: what was read from a file they name. */
char *options_keep_text(struct options *options, const char *text, size_t length);
/* Takes one value over from another configuration: a change that has to wait. */
void options_keep(struct options *options, const struct options *from,
                  const struct conf_key *key);
/* config/forkmark.conf: every option with its help, default commented out. */
void conf_write_reference(struct buf *out);
/* README's table of options, in Markdown. */
void conf_write_markdown(struct buf *out);

/* Milliseconds of "30", "500ms", "5m"; false when it is none. */
bool conf_parse_duration(const char *text, uint64_t *ret_ms);

/* CPUs this process may use: affinity and cgroup quota. At least 1. */
int conf_usable_cpus(void);
int conf_count_value(const struct conf_count *count); /* of a range: the least */
int conf_count_most(const struct conf_count *count);  /* the same where it is none */
bool conf_count_same(const struct conf_count *a, const struct conf_count *b);
/* "4", "auto", "2..8". */
void conf_count_text(const struct conf_count *count, struct buf *out);

#endif
