/*
 * json.h - JSON through cJSON, in the arena of the running task.
 *
 * Inside a task cJSON allocates from the task's arena and nothing is freed by
 * hand; in thread-pool work and outside tasks it is plain malloc. json_init()
 * sets cJSON's process-wide hooks accordingly; call it once after
 * task_runtime_init().
 */
#ifndef FORKMARK_COMMON_JSON_H
#define FORKMARK_COMMON_JSON_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;
struct buf;

#define JSON_MAX_DEPTH  32
#define JSON_MAX_VALUES 20000

void json_init(void);

/* RFC 8259, 2: what may stand between tokens. */
static inline bool json_is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/*
 * One linear pass before any parser sees the text (cJSON recurses): brackets
 * and values are counted. 0, or -E2BIG when deeper than `max_depth` or more than
 * `max_values` values, or -EINVAL when brackets or strings do not close, or a number or
 * word is not one of JSON's.
 */
int json_check(const char *text, size_t length, int max_depth, int max_values);

/* Checked and parsed; NULL when it is not JSON or past the limits. UTF-8 is
 * checked too: invalid text is NULL. In texts an escaped NUL is dropped, and an escape
 * that is half a pair of surrogates (RFC 8259, 8.2) becomes U+FFFD. Inside a task. */
cJSON *json_parse(const char *text, size_t length);

/* Accessors. JSON null counts as absent (contract 1.1, D17). */
const cJSON *json_get(const cJSON *object, const char *key);
/* The text, or NULL when absent or no text. */
const char *json_text(const cJSON *object, const char *key);
bool json_int(const cJSON *object, const char *key, int64_t *ret);

/*
 * Writing. A small writer straight into a buffer, for answers on hot paths;
 * handlers may equally build a cJSON tree. Commas are placed by the writer. A key is a
 * name of ours, written as it stands: ASCII without quotes, backslashes and controls.
 */
struct json_writer {
    struct buf *out;
    bool comma;
};
void json_begin_object(struct json_writer *w, const char *key); /* key NULL: no key */
void json_end_object(struct json_writer *w);
void json_begin_array(struct json_writer *w, const char *key);
void json_end_array(struct json_writer *w);
void json_put_text(struct json_writer *w, const char *key,
                   const char *text); /* NULL: null */
void json_put_textn(struct json_writer *w, const char *key, const char *text,
                    size_t length);
void json_put_int(struct json_writer *w, const char *key, int64_t value);
void json_put_double(struct json_writer *w, const char *key, double value, int decimals);
void json_put_bool(struct json_writer *w, const char *key, bool value);
void json_put_null(struct json_writer *w, const char *key);
void json_put_raw(struct json_writer *w, const char *key, const char *json);
/* A JSON string with its quotes; invalid UTF-8 becomes U+FFFD. */
void json_quote(struct buf *out, const char *text, size_t length);

#endif
