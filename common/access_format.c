/*
 * access_format.c - see access_format.h.
 */
#include "common/access_format.h"
#include "common/conf_internal.h"
#include "common/log.h"
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char gunicorn_default[] =
    "%(h)s %(l)s %(u)s %(t)s \"%(r)s\" %(s)s %(b)s \"%(f)s\" \"%(a)s\"";

/* The words are what somebody may have written instead. */
static const struct {
    const char *name;
    enum access_atom atom;
    const char *words[4];
} atoms[] = {
    { "h", ATOM_ADDRESS, { "host", "address", "remote_addr", "client" } },
    { "l", ATOM_DASH, { "logname", "ident" } },
    { "u", ATOM_USER, { "user", "remote_user", "username" } },
    { "t", ATOM_TIME, { "time", "date", "timestamp" } },
    { "r", ATOM_LINE, { "request", "request_line", "line" } },
    { "m", ATOM_METHOD, { "method", "verb" } },
    { "U", ATOM_PATH, { "path", "uri", "url" } },
    { "q", ATOM_QUERY, { "query", "query_string", "args" } },
    { "H", ATOM_PROTOCOL, { "protocol", "http_version" } },
    { "s", ATOM_STATUS, { "status", "code", "status_code" } },
    { "B", ATOM_BYTES, { "bytes", "size", "length", "body_bytes_sent" } },
    { "b", ATOM_BYTES_DASH, { "bytes_or_dash" } },
    { "f", ATOM_REFERER, { "referer", "referrer", "from" } },
    { "a", ATOM_AGENT, { "agent", "user_agent" } },
    { "T", ATOM_SECONDS, { "seconds", "request_time" } },
    { "D", ATOM_MICROS, { "microseconds", "duration", "us" } },
    { "M", ATOM_MILLIS, { "milliseconds", "ms" } },
    { "L", ATOM_DECIMAL, { "decimal", "decimal_seconds", "latency" } },
    { "p", ATOM_PID, { "pid", "process" } },
};
#define ATOM_COUNT (sizeof(atoms) / sizeof(atoms[0]))

/* ---- one atom ---- */

static const char *nearest(const char *name)
{
    const char *best = NULL;
    size_t best_far = strlen(name) / 2 + 1;

    /* The letter in the other case is nearer than any word. */
    for (size_t i = 0; i < ATOM_COUNT && strlen(name) == 1; i++)
        if (tolower((unsigned char)*name) == tolower((unsigned char)*atoms[i].name))
            return atoms[i].name;
    for (size_t i = 0; i < ATOM_COUNT; i++)
        for (size_t w = 0; w < 4 && atoms[i].words[w]; w++) {
            size_t far = conf_distance(name, atoms[i].words[w]);

            if (far < best_far) {
                best_far = far;
                best = atoms[i].name;
            }
        }
    return best;
}

/* An error is one line, whatever stands in the format. */
static void blank_out(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            *text = '?';
}

static const char *complain_of(const char *name)
{
    static char text[256];
    const char *near = *name == '{' ? NULL : nearest(name);

    if (near)
        snprintf(text, sizeof(text),
                 "has the unknown atom %%(%.60s)s; did you mean "
                 "%%(%s)s?",
                 name, near);
    else if (*name == '{')
        snprintf(text, sizeof(text),
                 "has the unknown atom %%(%.60s)s; headers are "
                 "%%({Name}i)s of the request and %%({Name}o)s of the answer",
                 name);
    else
        snprintf(text, sizeof(text),
                 "has the unknown atom %%(%.60s)s; the atoms are h l "
                 "u t r m U q H s B b f a T D M L p, {Name}i and {Name}o",
                 name);
    blank_out(text);
    return text;
}

static bool is_header_name(const char *name, size_t length)
{
    static const char signs[] = "!#$%&'*+-.^_`|~";

    for (size_t i = 0; i < length; i++)
        if (!isalnum((unsigned char)name[i]) && !strchr(signs, name[i]))
            return false;
    return length > 0;
}

/* "h" or "{Name}i". False: there is no such atom. */
static bool find_atom(const char *name, struct access_part *ret)
{
    size_t length = strlen(name);

    if (*name == '{') {
        char kind = name[length - 1];

        if (length < 4 || name[length - 2] != '}' || (kind != 'i' && kind != 'o') ||
            !is_header_name(name + 1, length - 3))
            return false;
        ret->atom = kind == 'i' ? ATOM_HEADER_IN : ATOM_HEADER_OUT;
        ret->text = strndup(name + 1, length - 3);
        return true;
    }
    for (size_t i = 0; i < ATOM_COUNT; i++)
        if (strcmp(name, atoms[i].name) == 0) {
            ret->atom = atoms[i].atom;
            return true;
        }
    return false;
}

/* ---- the whole ---- */

static bool is_word(const char *text)
{
    return !*text || strcmp(text, ACCESS_FORMAT_TEXT) == 0 ||
           strcmp(text, ACCESS_FORMAT_JSON) == 0;
}

static void add(struct access_format *format, struct access_part part)
{
    format->parts = realloc(format->parts, (format->count + 1) * sizeof(*format->parts));
    if (!format->parts)
        fatal("out of memory");
    format->parts[format->count++] = part;
}

static void add_text(struct access_format *format, const char *text, size_t length)
{
    if (length > 0)
        add(format, (struct access_part){ ATOM_TEXT, strndup(text, length) });
}

/* At a percent sign: past what it begins, or NULL with *ret_error. */
static const char *read_atom(struct access_format *format, const char *at,
                             const char **ret_error)
{
    struct access_part part = { 0 };
    const char *end = at[1] == '(' ? strchr(at, ')') : NULL;
    char name[128];

    if (at[1] == '%') {
        add_text(format, at, 1);
        return at + 2;
    }
    /* Python's formats know more letters; Gunicorn's atoms are texts, and some numbers.
     */
    if (!end || (end[1] != 's' && end[1] != 'd')) {
        *ret_error = "has a % that begins no atom such as %(h)s; write %% for a percent "
                     "sign";
        return NULL;
    }
    snprintf(name, sizeof(name), "%.*s", (int)(end - at - 2), at + 2);
    if (!find_atom(name, &part)) {
        *ret_error = complain_of(name);
        return NULL;
    }
    add(format, part);
    return end + 2;
}

static const char *read_format(struct access_format *format, const char *text)
{
    const char *error = NULL;

    if (strcmp(text, ACCESS_FORMAT_GUNICORN) == 0)
        text = gunicorn_default;
    while (text && *text) {
        size_t plain = strcspn(text, "%");

        add_text(format, text, plain);
        text += plain;
        if (*text)
            text = read_atom(format, text, &error);
    }
    return error;
}

const char *access_format_check(const char *text)
{
    struct access_format *format;
    const char *error;

    if (is_word(text))
        return NULL;
    if (!strchr(text, '%') && strcmp(text, ACCESS_FORMAT_GUNICORN) != 0)
        return "must be \"text\", \"json\", \"gunicorn\" or a format with atoms such as "
               "%(h)s";
    format = calloc(1, sizeof(*format));
    if (!format)
        fatal("out of memory");
    error = read_format(format, text);
    access_format_free(format);
    return error;
}

struct access_format *access_format_new(const char *text)
{
    struct access_format *format;

    if (is_word(text))
        return NULL;
    format = calloc(1, sizeof(*format));
    if (!format)
        fatal("out of memory");
    if (read_format(format, text))
        fatal("log.access_format %s", access_format_check(text));
    return format;
}

void access_format_free(struct access_format *format)
{
    for (size_t i = 0; format && i < format->count; i++)
        free(format->parts[i].text);
    if (format)
        free(format->parts);
    free(format);
}
