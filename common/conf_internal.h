/*
 * conf_internal.h - what the files of the configuration engine share.
 *
 * Every source (file, variable, argument, a child's report) ends as a path and a
 * text, and goes through conf_apply(): one place that finds the row, parses,
 * checks the range, stores, and notes the origin.
 */
#ifndef FORKMARK_COMMON_CONF_INTERNAL_H
#define FORKMARK_COMMON_CONF_INTERNAL_H

#include "common/arena.h"
#include "common/conf.h"
#include "common/options.h"

/* Between the items of a list in its text form; commas serve as well. */
#define CONF_ITEM_END '\x1f'

struct conf_entry {
    char *text; /* as it was given, for showing and handing on */
    struct conf_source source;
};

struct conf_state {
    struct arena *arena;        /* of every text in the options */
    struct conf_entry *entries; /* one a row */
    bool pools_are_built_in;
    struct conf_source pools_source, queues_source;
};

/* Where a value being applied comes from, and where to complain. */
struct conf_context {
    struct options *options;
    struct buf *errors;
    enum conf_origin origin;
    const char *where;    /* "forkmark.conf:12", "DATABASE_URL" */
    char *const *environ; /* for ${VAR}; NULL: no variable is set */
};

/* False when it was refused (and `errors` has a line). */
bool conf_apply(const struct conf_context *context, const char *path, const char *text);
void conf_complain(const struct conf_context *context, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* "`path` error; it is ..." */
void conf_complain_of_value(const struct conf_context *context, const char *path,
                            const char *text, const char *error);

/* Text to field; NULL or what is wrong (static or in the arena). */
const char *conf_value_parse(struct options *options, const struct conf_key *key,
                             const char *text);
/* The same for a row whose field is in another structure than the options. */
const char *conf_field_parse(struct arena *arena, void *base, const struct conf_key *key,
                             const char *text);
void conf_value_print(const void *base, const struct conf_key *key, struct buf *out);
/* As conf_field_parse() takes it again. */
void conf_field_write(const void *base, const struct conf_key *key, struct buf *out);
/* The forms of the file: "text" with its escapes, [ "a", "b" ], 4 or "auto". */
void conf_print_text(struct buf *out, const char *text);
void conf_print_list(struct buf *out, const struct conf_list *list);
void conf_print_count(struct buf *out, const struct conf_count *count);
/* "1 to 65535", "100ms to 1h"; `word` stands in the middle. */
bool conf_has_range(const struct conf_key *key);
void conf_print_range(struct buf *out, const struct conf_key *key, const char *word);
bool conf_is_list(const struct conf_key *key);
bool conf_parse_count(const char *text, struct conf_count *ret);
struct conf_list conf_parse_list(struct arena *arena, const char *text);

/* Reads the file into the options. False when it cannot be read or parsed. */
bool conf_file_read(struct conf_context *context, const char *path);
/* ${VAR} and ${VAR:-default}; NULL after a complaint. */
char *conf_expand(const struct conf_context *context, const char *text);

/* "; did you mean `server.workers`?" or "": for an option and for a group. */
const char *conf_nearest(struct arena *arena, const char *path);
const char *conf_nearest_group(struct arena *arena, const char *path);
/* Edits from one to the other (Levenshtein; a swap of neighbours counts as one). */
size_t conf_distance(const char *a, const char *b);
/* "server" for "server.workers": may a group of this path hold options? */
bool conf_is_group(const char *path);

/* NAME's value in a list of NAME=value; NULL: not there, or no list. */
const char *conf_variable(char *const *environ_list, const char *name);

/* The built-in configuration, and what no row can see by itself. */
struct options *conf_defaults(void);
void conf_settle(struct options *options);

/* Row checks: NULL when fine, else what is wrong (static text). Lists: one item. */
const char *conf_check_bind(const char *text);
const char *conf_check_database_url(const char *text);
const char *conf_check_replica_url(const char *text);
const char *conf_check_decimal(const char *text);
const char *conf_check_limit(const char *text);
const char *conf_check_log(const char *text);
const char *conf_check_network(const char *text);
const char *conf_check_per_host(const char *text);
const char *conf_check_place(const char *text);
const char *conf_check_pool_mode(const char *text);
const char *conf_check_prefix(const char *text);
const char *conf_check_redis_url(const char *text);
const char *conf_check_node(const char *text);
const char *conf_check_ssl_mode(const char *text);

/*
 * A group of options whose names are the user's, such as jobs.pools. Its fields are rows
 * of the item's structure; their paths are the last part alone, and a row without a path
 * ends them. Its items are found at 0, 1, 2...
 */
struct conf_item {
    const char *name;
    const void *base;
    struct conf_source source;
};
struct conf_group {
    const char *path;
    const char *noun; /* of an item, "a pool" */
    const struct conf_key *fields;
    /* False: there are no more. */
    bool (*at)(const struct options *options, size_t index, struct conf_item *ret);
    /* A group of that path without any field; NULL: that says nothing. */
    bool (*declare)(const struct conf_context *context, const char *path);
    /* <path>.<name>.<field>. False after a complaint. */
    bool (*apply)(const struct conf_context *context, const char *path, const char *text);
};
const struct conf_group *conf_groups(size_t *ret_count);
/* The one that such a path is below; NULL: none. */
const struct conf_group *conf_group_of(const char *path);
/* The row of a field; NULL when it is none. */
const struct conf_key *conf_find_field(const struct conf_key *fields, const char *name);
const struct conf_key *conf_find_in_group(const char *path);
/* "is unknown; a pool has `consumers` ..." */
const char *conf_unknown_field(struct arena *arena, const char *path);

#define CONF_CRON_PREFIX     "jobs.cron."
#define CONF_FUNCTION_PREFIX "jobs.functions."
#define CONF_QUEUE_PREFIX    "jobs.queues."
extern const struct conf_key conf_cron_fields[], conf_function_fields[],
    conf_pool_fields[], conf_queue_fields[];
bool conf_cron_apply(const struct conf_context *context, const char *path,
                     const char *text);
bool conf_cron_declare(const struct conf_context *context, const char *path);
bool conf_function_apply(const struct conf_context *context, const char *path,
                         const char *text);
bool conf_function_declare(const struct conf_context *context, const char *path);
bool conf_pool_apply(const struct conf_context *context, const char *path,
                     const char *text);
bool conf_pool_declare(const struct conf_context *context, const char *path);
bool conf_queue_apply(const struct conf_context *context, const char *path,
                      const char *text);
/* A file names pools: the built-in one goes. */
void conf_pools_begin(const struct conf_context *context);
bool conf_pool_path(const char *path, char name[32], const char **ret_field);
/* Once all is read: entries without a schedule, functions without a command, names that
 * are used twice. */
void conf_cron_settle(const struct conf_context *context);
/* Redis named in two ways, files of TLS that lack their other half. */
void conf_redis_settle(const struct conf_context *context);
void conf_functions_settle(const struct conf_context *context);
void conf_cache_settle(
    const struct conf_context *context); /* two places, or half a one */
void conf_pools_settle(const struct conf_context *context); /* nobody to feel the load */

/* CPUs that the control groups below `root` leave the process of `list`
 * (/proc/self/cgroup); 0: as many as there are. */
double conf_cgroup_cpus(const char *root, const char *list);

#define CONF_FIELD(base, key, type) ((type *)(void *)((char *)(base) + (key)->field))

#endif
