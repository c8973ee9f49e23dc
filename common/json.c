/*
 * json.c - see json.h.
 *
 * cJSON recurses and allocates for every value, so nothing reaches it that was not
 * counted first: one pass without recursion bounds both.
 */
#include "common/json.h"
#include "common/arena.h"
#include "common/buf.h"
#include "common/task.h"
#include "common/utf8.h"
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* json_check() keeps one bit per open bracket. */
#define DEPTH_BITS 1024

/* Largest integer a double holds exactly, which is all cJSON keeps. */
#define MAX_EXACT 9007199254740992.0

/* ---- memory ----------------------------------------------------------------- */

/*
 * Every block says where it came from: a tree made in a task may be deleted by a
 * deferred call that runs outside of it, and the other way round.
 */
union header {
    bool from_heap;
    max_align_t align;
};

/* The thread that called json_init() runs the tasks; others must not ask for them. */
static _Thread_local bool is_loop_thread;

static void *json_malloc(size_t size)
{
    bool in_task = is_loop_thread && task_self();
    union header *header;

    if (size > SIZE_MAX - sizeof(*header))
        return NULL;
    size += sizeof(*header);
    header = in_task ? arena_alloc(task_arena(), size) : malloc(size);
    if (!header)
        return NULL;
    header->from_heap = !in_task;
    return header + 1;
}

static void json_free(void *block)
{
    union header *header = block;

    if (header && header[-1].from_heap)
        free(header - 1);
}

void json_init(void)
{
    cJSON_Hooks hooks = { .malloc_fn = json_malloc, .free_fn = json_free };

    is_loop_thread = true;
    cJSON_InitHooks(&hooks);
}

/* ---- the pass before the parser --------------------------------------------- */

struct check {
    const char *at, *end;
    int depth, values, max_depth, max_values;
    bool after_text;                         /* a colon would make it a key */
    unsigned char is_object[DEPTH_BITS / 8]; /* of each open bracket */
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static int count_value(struct check *check)
{
    return ++check->values > check->max_values ? -E2BIG : 0;
}

static int open_bracket(struct check *check, char c)
{
    if (check->depth >= check->max_depth || check->depth >= DEPTH_BITS)
        return -E2BIG;

    unsigned char bit = (unsigned char)(1 << (check->depth % 8));
    unsigned char *byte = &check->is_object[check->depth / 8];
    *byte = (unsigned char)(c == '{' ? *byte | bit : *byte & ~bit);
    check->depth++;
    return count_value(check);
}

static int close_bracket(struct check *check, char c)
{
    if (check->depth == 0)
        return -EINVAL;
    check->depth--;
    bool is_object = check->is_object[check->depth / 8] & (1 << (check->depth % 8));
    return is_object == (c == '}') ? 0 : -EINVAL;
}

/* `at` stands behind the opening quote; afterwards behind the closing one. */
static int pass_string(struct check *check)
{
    while (check->at < check->end) {
        unsigned char c = (unsigned char)*check->at++;

        if (c == '"')
            return count_value(check);
        if (c < 0x20)
            return -EINVAL; /* RFC 8259, 7: control characters are escaped */
        if (c == '\\' && check->at++ == check->end)
            return -EINVAL;
    }
    return -EINVAL;
}

static size_t digits(const char *at)
{
    return strspn(at, "0123456789");
}

/* RFC 8259, 6; cJSON takes what strtod() takes. `text` ends with a NUL. */
static bool is_number(const char *text)
{
    text += *text == '-';
    size_t whole = digits(text);
    if (whole == 0 || (*text == '0' && whole > 1))
        return false;
    text += whole;
    if (*text == '.') {
        if (digits(++text) == 0)
            return false;
        text += digits(text);
    }
    if (*text == 'e' || *text == 'E') {
        text++;
        text += *text == '+' || *text == '-';
        if (digits(text) == 0)
            return false;
        text += digits(text);
    }
    return *text == '\0';
}

/* A number or a word. */
static int pass_scalar(struct check *check)
{
    const char *from = check->at - 1;
    char text[512]; /* longer numbers are nobody's */

    while (check->at < check->end && !is_blank(*check->at) &&
           (*check->at == '\0' || !strchr("{}[],:\"", *check->at)))
        check->at++;
    size_t length = (size_t)(check->at - from);
    if (length >= sizeof(text) || memchr(from, '\0', length))
        return -EINVAL;
    memcpy(text, from, length);
    text[length] = '\0';
    if (!is_number(text) && strcmp(text, "true") != 0 && strcmp(text, "false") != 0 &&
        strcmp(text, "null") != 0)
        return -EINVAL;
    return count_value(check);
}

static int pass_token(struct check *check)
{
    char c = *check->at++;
    bool was_text = check->after_text;

    if (is_blank(c))
        return 0;
    check->after_text = c == '"';
    switch (c) {
    case '"':
        return pass_string(check);
    case '{':
    case '[':
        return open_bracket(check, c);
    case '}':
    case ']':
        return close_bracket(check, c);
    case ',':
        return 0;
    case ':':
        if (!was_text)
            return -EINVAL;
        check->values--; /* the text was a key */
        return 0;
    default:
        return pass_scalar(check);
    }
}

int json_check(const char *text, size_t length, int max_depth, int max_values)
{
    struct check check = {
        .at = text, .end = text + length, .max_depth = max_depth, .max_values = max_values
    };

    while (check.at < check.end) {
        int rc = pass_token(&check);

        if (rc < 0)
            return rc;
    }
    return check.depth == 0 && check.values > 0 ? 0 : -EINVAL;
}

/* ---- escapes that are no text ------------------------------------------------- */

/* The UTF-16 unit of an escape that stands here; -1: none does. */
static int escaped_unit(const char *at, size_t left)
{
    int unit = 0;

    if (left < 6 || at[0] != '\\' || at[1] != 'u')
        return -1;
    for (int i = 2; i < 6; i++) {
        if (!isxdigit((unsigned char)at[i]))
            return -1; /* the parser will say so */
        unit = unit * 16 + (at[i] <= '9' ? at[i] - '0' : (at[i] | 0x20) - 'a' + 10);
    }
    return unit;
}

static bool is_leading(int unit)
{
    return unit >= 0xD800 && unit < 0xDC00;
}

static bool is_trailing(int unit)
{
    return unit >= 0xDC00 && unit < 0xE000;
}

/*
 * cJSON ends a text at an escaped NUL and PostgreSQL stores none, so those escapes are
 * dropped (contract 2.2) instead of the rest of the text. Half a pair of surrogates is
 * what JSON.stringify() makes of a text that was cut inside an emoji; it becomes U+FFFD,
 * as TextDecoder and TextEncoder have it. Inside a string a backslash always starts an
 * escape of at least two characters, and outside of one there is none, so no state is
 * needed.
 */
static const char *without_broken_escapes(const char *text, size_t *length)
{
    if (!memmem(text, *length, "\\u", 2))
        return text;

    char *kept = arena_alloc(task_arena(), *length + 1);
    size_t n = 0;
    for (size_t i = 0; i < *length;) {
        size_t left = *length - i;
        int unit = escaped_unit(text + i, left);
        bool is_pair =
            is_leading(unit) && is_trailing(escaped_unit(text + i + 6, left - 6));
        size_t step = is_pair ? 12 : unit >= 0 ? 6 : text[i] == '\\' && left > 1 ? 2 : 1;

        if (!is_pair && (is_leading(unit) || is_trailing(unit))) {
            memcpy(kept + n, text + i, 2); /* \ufffd */
            memset(kept + n + 2, 'f', 3);
            kept[n + 5] = 'd';
            n += 6;
        } else if (unit != 0) {
            memcpy(kept + n, text + i, step);
            n += step;
        }
        i += step;
    }
    *length = n;
    return kept;
}

/* ---- parsing ------------------------------------------------------------------ */

cJSON *json_parse(const char *text, size_t length)
{
    const char *end = NULL;

    if (json_check(text, length, JSON_MAX_DEPTH, JSON_MAX_VALUES) < 0 ||
        !utf8_is_valid(text, length))
        return NULL;
    text = without_broken_escapes(text, &length);

    cJSON *tree = cJSON_ParseWithLengthOpts(text, length, &end, false);
    while (tree && end < text + length)
        if (!is_blank(*end++))
            return NULL; /* something follows the value; the tree is the arena's */
    return tree;
}

/* ---- reading ---------------------------------------------------------------- */

const cJSON *json_get(const cJSON *object, const char *key)
{
    const cJSON *item, *found = NULL;

    if (!cJSON_IsObject(object))
        return NULL;
    cJSON_ArrayForEach(item, object)
        /* The last of equal keys counts, as in Python and in browsers. */
        if (item->string && strcmp(item->string, key) == 0) found = item;
    return cJSON_IsNull(found) ? NULL : found;
}

const char *json_text(const cJSON *object, const char *key)
{
    return cJSON_GetStringValue((cJSON *)json_get(object, key));
}

bool json_int(const cJSON *object, const char *key, int64_t *ret)
{
    const cJSON *item = json_get(object, key);

    if (!cJSON_IsNumber(item) || fabs(item->valuedouble) > MAX_EXACT ||
        item->valuedouble != trunc(item->valuedouble))
        return false;
    *ret = (int64_t)item->valuedouble;
    return true;
}

/* ---- writing ---------------------------------------------------------------- */

static void put_escaped(struct buf *out, unsigned char c)
{
    static const char letters[] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f',
        ['\r'] = 'r', ['"'] = '"',  ['\\'] = '\\'
    };

    if (c < sizeof(letters) && letters[c])
        buf_addf(out, "\\%c", letters[c]);
    else
        buf_addf(out, "\\u%04x", c);
}

/* ASCII that stands for itself; most of all text is, so it is asked by table. */
static const bool is_plain[256] = {
    [0x20 ... 0x21] = true,
    [0x23 ... 0x5b] = true,
    [0x5d ... 0x7e] = true,
};

/* Whether one of eight bytes is not plain. A borrow reaches a byte only from one below
 * it that is found anyway. */
static bool has_odd_byte(uint64_t eight)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t control = eight - ones * 0x20, deleted = eight + ones;
    uint64_t quote = (eight ^ ones * '"') - ones, slash = (eight ^ ones * '\\') - ones;

    return ((eight | control | deleted | quote | slash) & ones * 0x80) != 0;
}

static const unsigned char *skip_plain(const unsigned char *c, const unsigned char *end)
{
    uint64_t eight;

    for (; end - c >= 8; c += 8) {
        memcpy(&eight, c, sizeof(eight));
        if (has_odd_byte(eight))
            break;
    }
    while (c < end && is_plain[*c])
        c++;
    return c;
}

/* Copies plain bytes to `at`, which has room for all; where they end in `c`. */
static const unsigned char *copy_plain(char *at, const unsigned char *c,
                                       const unsigned char *end)
{
    uint64_t eight;

    for (; end - c >= 8; c += 8, at += 8) {
        memcpy(&eight, c, sizeof(eight));
        if (has_odd_byte(eight))
            break;
        memcpy(at, &eight, sizeof(eight));
    }
    while (c < end && is_plain[*c])
        *at++ = (char)*c++;
    return c;
}

/* From the first byte that does not stand for itself. */
static void quote_odd(struct buf *out, const unsigned char *c, const unsigned char *end)
{
    while (c < end) {
        const unsigned char *run = c;

        for (size_t span = 1; span > 0; c += span) {
            c = skip_plain(c, end);
            span = c < end && *c >= 0x80 ? utf8_span(c, (size_t)(end - c)) : 0;
        }
        buf_add(out, run, (size_t)(c - run));
        if (c == end)
            break;
        if (*c >= 0x80)
            buf_adds(out, UTF8_REPLACEMENT);
        else
            put_escaped(out, *c);
        c++;
    }
    buf_addc(out, '"');
}

/* Nearly all texts stand for themselves, and are looked at and copied in one go. */
void json_quote(struct buf *out, const char *text, size_t length)
{
    const unsigned char *c = (const unsigned char *)text, *end = c + length;

    if (out->room - out->length < length + sizeof("\"\""))
        buf_reserve(out, length + 2);
    char *at = out->data + out->length;
    *at++ = '"';
    const unsigned char *stop = copy_plain(at, c, end);
    at += stop - c;
    if (stop == end)
        *at++ = '"';
    *at = '\0';
    out->length = (size_t)(at - out->data);
    if (stop < end)
        quote_odd(out, stop, end);
}

/* What stands before any value: a comma, and the key. */
static void lead_in(struct json_writer *w, const char *key)
{
    struct buf *out = w->out;
    size_t length = key ? strlen(key) : 0;

    assert(!key ||
           skip_plain((const unsigned char *)key, (const unsigned char *)key + length) ==
               (const unsigned char *)key + length);
    if (out->room - out->length < length + sizeof(",\"\":"))
        buf_reserve(out, length + sizeof(",\"\":"));
    char *at = out->data + out->length;
    if (w->comma)
        *at++ = ',';
    w->comma = true;
    if (key) {
        *at++ = '"';
        memcpy(at, key, length);
        at += length;
        *at++ = '"';
        *at++ = ':';
    }
    *at = '\0';
    out->length = (size_t)(at - out->data);
}

static void begin(struct json_writer *w, const char *key, char bracket)
{
    lead_in(w, key);
    buf_addc(w->out, bracket);
    w->comma = false;
}

static void end(struct json_writer *w, char bracket)
{
    buf_addc(w->out, bracket);
    w->comma = true;
}

void json_begin_object(struct json_writer *w, const char *key)
{
    begin(w, key, '{');
}

void json_end_object(struct json_writer *w)
{
    end(w, '}');
}

void json_begin_array(struct json_writer *w, const char *key)
{
    begin(w, key, '[');
}

void json_end_array(struct json_writer *w)
{
    end(w, ']');
}

void json_put_raw(struct json_writer *w, const char *key, const char *json)
{
    lead_in(w, key);
    buf_adds(w->out, json);
}

void json_put_text(struct json_writer *w, const char *key, const char *text)
{
    if (text)
        json_put_textn(w, key, text, strlen(text));
    else
        json_put_null(w, key);
}

void json_put_textn(struct json_writer *w, const char *key, const char *text,
                    size_t length)
{
    lead_in(w, key);
    json_quote(w->out, text, length);
}

void json_put_int(struct json_writer *w, const char *key, int64_t value)
{
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    char digits[24], *end = digits + sizeof(digits), *at = end;

    do {
        *--at = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (value < 0)
        *--at = '-';
    lead_in(w, key);
    buf_add(w->out, at, (size_t)(end - at));
}

/* JSON has no word for what is not finite. */
void json_put_double(struct json_writer *w, const char *key, double value, int decimals)
{
    if (!isfinite(value)) {
        json_put_null(w, key);
        return;
    }
    lead_in(w, key);
    buf_addf(w->out, "%.*f", decimals, value);
}

void json_put_bool(struct json_writer *w, const char *key, bool value)
{
    json_put_raw(w, key, value ? "true" : "false");
}

void json_put_null(struct json_writer *w, const char *key)
{
    json_put_raw(w, key, "null");
}
