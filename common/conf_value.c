/*
 * conf_value.c - one option's value: from text to its field, and back.
 */
#include "common/buf.h"
#include "common/conf_internal.h"
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* A unit and what one of it is worth in the smallest one. */
struct unit {
    const char *name;
    double worth;
};
static const struct unit time_units[] = {
    { "", 1000 },     { "ms", 1 },      { "s", 1000 },     { "m", 60000 },
    { "min", 60000 }, { "h", 3600000 }, { "d", 86400000 }, { NULL, 0 },
};
static const struct unit size_units[] = {
    { "", 1 },        { "B", 1 },         { "K", 1024 },       { "KiB", 1024 },
    { "M", 1048576 }, { "MiB", 1048576 }, { "G", 1073741824 }, { "GiB", 1073741824 },
    { NULL, 0 },
};

/* "1.5h" by the table; false when it is no number or no known unit. */
static bool parse_with_unit(const char *text, const struct unit *units, double *ret)
{
    char *end;

    if (!isdigit((unsigned char)*text) && *text != '.' && *text != '-')
        return false;
    errno = 0;
    double number = strtod(text, &end);
    if (end == text || errno != 0 || !isfinite(number))
        return false;
    while (*end == ' ')
        end++;
    for (; units->name; units++) {
        if (strcasecmp(units->name, end) == 0) {
            *ret = number * units->worth;
            return true;
        }
    }
    return false;
}

bool conf_parse_duration(const char *text, uint64_t *ret_ms)
{
    double ms;

    if (!parse_with_unit(text, time_units, &ms) || ms < 0 || ms > 1e15)
        return false;
    *ret_ms = (uint64_t)llround(ms);
    return true;
}

static bool parse_int(const char *text, int64_t *ret)
{
    char *end;

    if (!isdigit((unsigned char)*text) && *text != '-')
        return false;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (end == text || *end || errno != 0)
        return false;
    *ret = number;
    return true;
}

static bool parse_bool(const char *text, bool *ret)
{
    static const struct {
        const char *word;
        bool value;
    } words[] = {
        { "true", true },   { "yes", true }, { "on", true },   { "1", true },
        { "false", false }, { "no", false }, { "off", false }, { "0", false },
    };

    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
        if (strcasecmp(words[i].word, text) == 0) {
            *ret = words[i].value;
            return true;
        }
    }
    return false;
}

/* "auto", "50%", "4". */
static bool parse_amount(const char *text, struct conf_count *ret)
{
    struct conf_count count = { 0 };
    char *end;

    if (strcasecmp(text, "auto") == 0) {
        *ret = (struct conf_count){ .is_auto = true };
        return true;
    }
    if (!isdigit((unsigned char)*text))
        return false;
    long number = strtol(text, &end, 10);
    if (strcmp(end, "%") == 0 && number >= 1 && number <= 400)
        count.percent = (int)number;
    else if (*end == '\0' && number <= 1024)
        count.number = (int)number;
    else
        return false;
    *ret = count;
    return true;
}

struct conf_list conf_parse_list(struct arena *arena, const char *text)
{
    const char separator[] = { strchr(text, CONF_ITEM_END) ? CONF_ITEM_END : ',', '\0' };
    struct conf_list list = { 0 };
    size_t most = 1;

    for (const char *c = text; *c; c++)
        most += *c == *separator;
    list.items = arena_array(arena, most + 1, sizeof(*list.items));
    for (const char *at = text; *at;) {
        size_t length = strcspn(at, separator);
        const char *start = at, *end = at + length;

        at = *end ? end + 1 : end;
        while (start < end && isspace((unsigned char)*start))
            start++;
        while (end > start && isspace((unsigned char)end[-1]))
            end--;
        if (end > start)
            list.items[list.count++] = arena_strndup(arena, start, (size_t)(end - start));
    }
    return list;
}

/* ---- one function a type: NULL, or what is wrong ---- */

static const char *range_error(struct arena *arena, const struct conf_key *key,
                               double value)
{
    struct buf error = BUF_IN(arena);

    if (!conf_has_range(key) || (value >= key->min && value <= key->max))
        return NULL;
    buf_adds(&error, "must be between ");
    conf_print_range(&error, key, " and ");
    return error.data;
}

static const char *set_bool(struct arena *arena, void *base, const struct conf_key *key,
                            const char *text)
{
    (void)arena;
    return parse_bool(text, CONF_FIELD(base, key, bool)) ? NULL : "must be true or false";
}

static const char *set_int(struct arena *arena, void *base, const struct conf_key *key,
                           const char *text)
{
    int64_t value;

    if (!parse_int(text, &value))
        return "must be a whole number";
    const char *error = range_error(arena, key, (double)value);
    if (!error)
        *CONF_FIELD(base, key, int64_t) = value;
    return error;
}

static const char *set_seconds(struct arena *arena, void *base,
                               const struct conf_key *key, const char *text)
{
    uint64_t ms;

    if (!conf_parse_duration(text, &ms))
        return "must be a time such as 30, \"500ms\", \"5m\", \"2h\" or \"7d\"";
    const char *error = range_error(arena, key, (double)ms / 1000);
    if (!error)
        *CONF_FIELD(base, key, uint64_t) = ms;
    return error;
}

static const char *set_bytes(struct arena *arena, void *base, const struct conf_key *key,
                             const char *text)
{
    double bytes;

    if (!parse_with_unit(text, size_units, &bytes) || bytes < 0 || bytes > 1e15)
        return "must be a size such as 4096, \"16K\" or \"1M\"";
    const char *error = range_error(arena, key, bytes);
    if (!error)
        *CONF_FIELD(base, key, uint64_t) = (uint64_t)bytes;
    return error;
}

static const char *set_text(struct arena *arena, void *base, const struct conf_key *key,
                            const char *text)
{
    *CONF_FIELD(base, key, char *) = arena_strdup(arena, text);
    return NULL;
}

/* What is checked is the secret, not the name of the file that holds it. */
static const char *keep_secret(struct arena *arena, void *base,
                               const struct conf_key *key, const char *text)
{
    const char *error = key->check ? key->check(text) : NULL;

    return error ? error : set_text(arena, base, key, text);
}

/* "file:/run/secrets/x" stands for what is in that file, less its last line end. NULL, or
 * what is wrong. */
static const char *read_secret(struct arena *arena, const char *text, const char **ret)
{
    char content[4097];

    *ret = text;
    if (strncmp(text, "file:", 5) != 0)
        return NULL;

    FILE *file = fopen(text + 5, "r");
    if (!file)
        return arena_printf(arena, "cannot read %s: %s", text + 5, strerror(errno));
    size_t length = fread(content, 1, sizeof(content), file);
    fclose(file);
    if (length == sizeof(content))
        return arena_printf(arena, "%s is too long for a secret", text + 5);
    while (length > 0 && (content[length - 1] == '\n' || content[length - 1] == '\r'))
        length--;
    if (length == 0)
        return arena_printf(arena, "%s is empty", text + 5);
    *ret = arena_strndup(arena, content, length);
    return NULL;
}

static const char *set_secret(struct arena *arena, void *base, const struct conf_key *key,
                              const char *text)
{
    const char *error = read_secret(arena, text, &text);

    return error ? error : keep_secret(arena, base, key, text);
}

/* What separates two URLs: blanks, or a comma that another one follows. (Its hosts may
 * stand with commas between them, too.) */
static size_t length_of_url(const char *text)
{
    size_t length = 0;

    for (; text[length] && !isspace((unsigned char)text[length]); length++) {
        if (text[length] == ',' &&
            (!text[length + 1] || isspace((unsigned char)text[length + 1]) ||
             strncmp(text + length + 1, "postgres", 8) == 0))
            break;
    }
    return length;
}

#define MOST_SECRETS 31

/* An array's items are kept as they are; those of one text, or of a file, are split. */
static const char *add_secrets(struct arena *arena, const struct conf_key *key,
                               const char *text, bool is_item, struct conf_list *list)
{
    bool is_file = strncmp(text, "file:", 5) == 0;
    const char *error = read_secret(arena, text, &text);

    if (error)
        return error;
    while (*text) {
        size_t length = is_item && !is_file ? strlen(text) : length_of_url(text);

        if (length > 0) {
            char *item = arena_strndup(arena, text, length);

            if (list->count == MOST_SECRETS)
                return "may hold 31 at most";
            error = key->check ? key->check(item) : NULL;
            if (error)
                return error;
            list->items[list->count++] = item;
        }
        text += length + (text[length] != '\0');
    }
    return NULL;
}

static const char *set_secrets(struct arena *arena, void *base,
                               const struct conf_key *key, const char *text)
{
    static const char separator[] = { CONF_ITEM_END, '\0' };
    struct conf_list list = { .items = arena_array(arena, MOST_SECRETS + 1,
                                                   sizeof(*list.items)) };
    bool is_array = strchr(text, CONF_ITEM_END) != NULL;
    const char *error = NULL;

    while (*text && !error) {
        size_t length = is_array ? strcspn(text, separator) : strlen(text);

        error =
            add_secrets(arena, key, arena_strndup(arena, text, length), is_array, &list);
        text += length + (text[length] != '\0');
    }
    if (!error)
        *CONF_FIELD(base, key, struct conf_list) = list;
    return error;
}

bool conf_is_list(const struct conf_key *key)
{
    return key->type == CONF_LIST || key->type == CONF_WORDS ||
           key->type == CONF_VARIABLES || key->type == CONF_SECRETS;
}

/* Nothing is trimmed or left out: " " and "" are arguments, too. */
static struct conf_list parse_words(struct arena *arena, const char *text)
{
    static const char separator[] = { CONF_ITEM_END, '\0' };
    struct conf_list list = { 0 };
    size_t most = 1;

    for (const char *c = text; *c; c++)
        most += *c == CONF_ITEM_END;
    list.items = arena_array(arena, most + 1, sizeof(*list.items));
    while (*text) {
        size_t length = strcspn(text, separator);

        list.items[list.count++] = arena_strndup(arena, text, length);
        text += length + (text[length] == CONF_ITEM_END);
    }
    return list;
}

static const char *set_list(struct arena *arena, void *base, const struct conf_key *key,
                            const char *text)
{
    struct conf_list list =
        key->type == CONF_LIST ? conf_parse_list(arena, text) : parse_words(arena, text);

    for (size_t i = 0; i < list.count && key->check; i++) {
        const char *error = key->check(list.items[i]);
        if (error)
            return error;
    }
    *CONF_FIELD(base, key, struct conf_list) = list;
    return NULL;
}

bool conf_parse_count(const char *text, struct conf_count *ret)
{
    const char *dots = strstr(text, "..");
    struct conf_count least, most;
    char left[16];

    if (!dots)
        return parse_amount(text, ret);
    snprintf(left, sizeof(left), "%.*s", (int)(dots - text), text);
    if (!parse_amount(left, &least) || !parse_amount(dots + 2, &most))
        return false;
    *ret = least;
    ret->is_range = true;
    ret->most.is_auto = most.is_auto;
    ret->most.percent = most.percent;
    ret->most.number = most.number;
    return true;
}

static const char *set_count(struct arena *arena, void *base, const struct conf_key *key,
                             const char *text)
{
    struct conf_count count;

    if (!conf_parse_count(text, &count))
        return strstr(text, "..")
                   ? "must be a range of two counts such as \"2..8\""
                   : "must be a number up to 1024, \"auto\", or a share of the CPUs such "
                     "as \"50%\"";
    int least = conf_count_value(&count), most = conf_count_most(&count);
    if (most < least)
        return arena_printf(arena, "has a `min` of %d, but a `max` of %d", least, most);
    *CONF_FIELD(base, key, struct conf_count) = count;
    return NULL;
}

static const char *set_enum(struct arena *arena, void *base, const struct conf_key *key,
                            const char *text)
{
    struct buf words = BUF_IN(arena);

    for (int i = 0; key->words[i]; i++) {
        if (strcasecmp(key->words[i], text) == 0) {
            *CONF_FIELD(base, key, int) = i;
            return NULL;
        }
        buf_addf(&words, "%s%s", i ? ", " : "", key->words[i]);
    }
    /* Python's names for two levels of the log. */
    if (strcasecmp(text, "warning") == 0)
        return set_enum(arena, base, key, "warn");
    if (strcasecmp(text, "critical") == 0)
        return set_enum(arena, base, key, "error");
    return arena_printf(arena, "must be one of: %s", words.data);
}

static const char *(*const setters[])(struct arena *, void *, const struct conf_key *,
                                      const char *) = {
    [CONF_BOOL] = set_bool,   [CONF_INT] = set_int,        [CONF_SECONDS] = set_seconds,
    [CONF_BYTES] = set_bytes, [CONF_TEXT] = set_text,      [CONF_SECRET] = set_secret,
    [CONF_LIST] = set_list,   [CONF_COUNT] = set_count,    [CONF_ENUM] = set_enum,
    [CONF_WORDS] = set_list,  [CONF_VARIABLES] = set_list, [CONF_SECRETS] = set_secrets,
};

const char *conf_field_parse(struct arena *arena, void *base, const struct conf_key *key,
                             const char *text)
{
    bool is_plain = !conf_is_list(key) && key->type != CONF_SECRET;
    const char *error = key->check && is_plain ? key->check(text) : NULL;

    return error ? error : setters[key->type](arena, base, key, text);
}

const char *conf_value_parse(struct options *options, const struct conf_key *key,
                             const char *text)
{
    return conf_field_parse(options->state->arena, options, key, text);
}

/* ---- printing ---- */

static void print_in_unit(struct buf *out, uint64_t value, const struct unit *units,
                          size_t first, size_t last)
{
    for (size_t i = last; i > first; i--) {
        uint64_t worth = (uint64_t)units[i].worth;

        if (value >= worth && value % worth == 0) {
            buf_addf(out, "\"%" PRIu64 "%s\"", value / worth, units[i].name);
            return;
        }
    }
    buf_addf(out, "\"%" PRIu64 "%s\"", value, units[first].name);
}

static void print_duration(struct buf *out, uint64_t ms)
{
    static const struct unit units[] = {
        { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 }, { "d", 86400000 },
    };

    if (ms == 0)
        buf_adds(out, "0");
    else if (ms % 1000 == 0 && ms < 120000)
        buf_addf(out, "%" PRIu64, ms / 1000);
    else
        print_in_unit(out, ms, units, 0, 4);
}

static void print_size(struct buf *out, uint64_t bytes)
{
    static const struct unit units[] = {
        { "", 1 },
        { "K", 1024 },
        { "M", 1048576 },
        { "G", 1073741824 },
    };

    if (bytes % 1024 != 0 || bytes == 0)
        buf_addf(out, "%" PRIu64, bytes);
    else
        print_in_unit(out, bytes, units, 0, 3);
}

bool conf_has_range(const struct conf_key *key)
{
    return key->min != 0 || key->max != 0;
}

/* A bound as one would write it, but without the quotes. */
static void print_bound(struct buf *out, const struct conf_key *key, double bound)
{
    struct buf text = BUF_HEAP;

    if (key->type == CONF_SECONDS)
        print_duration(&text, (uint64_t)llround(bound * 1000));
    else if (key->type == CONF_BYTES)
        print_size(&text, (uint64_t)bound);
    else
        buf_addf(&text, "%.15g", bound);
    for (const char *c = buf_text(&text); *c; c++) {
        if (*c != '"')
            buf_addc(out, *c);
    }
    if (key->type == CONF_SECONDS && bound > 0 &&
        strspn(buf_text(&text), "0123456789") == text.length)
        buf_addc(out, 's');
    buf_done(&text);
}

void conf_print_range(struct buf *out, const struct conf_key *key, const char *word)
{
    bool is_plain = key->type != CONF_SECONDS && key->type != CONF_BYTES;

    print_bound(out, key, key->min);
    buf_adds(out, word);
    print_bound(out, key, key->max);
    if (is_plain && key->unit)
        buf_addf(out, " %s", key->unit);
}

void conf_print_text(struct buf *out, const char *text)
{
    buf_addc(out, '"');
    for (; *text; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f) {
            buf_addf(out, "\\x%02x", *text);
            continue;
        }
        if (*text == '"' || *text == '\\')
            buf_addc(out, '\\');
        buf_addc(out, *text);
    }
    buf_addc(out, '"');
}

void conf_print_list(struct buf *out, const struct conf_list *list)
{
    buf_adds(out, "[ ");
    for (size_t i = 0; i < list->count; i++) {
        if (i)
            buf_adds(out, ", ");
        conf_print_text(out, list->items[i]);
    }
    buf_adds(out, list->count ? " ]" : "]");
}

static void print_amount(struct buf *out, bool is_auto, int percent, int number,
                         const char *quote)
{
    if (is_auto)
        buf_addf(out, "%sauto%s", quote, quote);
    else if (percent)
        buf_addf(out, "%s%d%%%s", quote, percent, quote);
    else
        buf_addf(out, "%d", number);
}

void conf_print_count(struct buf *out, const struct conf_count *count)
{
    if (count->is_range)
        buf_adds(out, "{ min = ");
    print_amount(out, count->is_auto, count->percent, count->number, "\"");
    if (!count->is_range)
        return;
    buf_adds(out, "; max = ");
    print_amount(out, count->most.is_auto, count->most.percent, count->most.number, "\"");
    buf_adds(out, "; }");
}

void conf_count_text(const struct conf_count *count, struct buf *out)
{
    print_amount(out, count->is_auto, count->percent, count->number, "");
    if (!count->is_range)
        return;
    buf_adds(out, "..");
    print_amount(out, count->most.is_auto, count->most.percent, count->most.number, "");
}

bool conf_count_same(const struct conf_count *a, const struct conf_count *b)
{
    struct buf one = BUF_HEAP, other = BUF_HEAP;

    conf_count_text(a, &one);
    conf_count_text(b, &other);
    bool is_same = strcmp(buf_text(&one), buf_text(&other)) == 0;
    buf_done(&one);
    buf_done(&other);
    return is_same;
}

/* Names alone: a value may be a password. */
static void print_variables(struct buf *out, const struct conf_list *list)
{
    struct buf text = BUF_HEAP;

    buf_adds(out, "[ ");
    for (size_t i = 0; i < list->count; i++) {
        size_t length = strcspn(list->items[i], "=");

        buf_clear(&text);
        buf_add(&text, list->items[i], length);
        if (list->items[i][length])
            buf_adds(&text, "=(set)");
        buf_adds(out, i > 0 ? ", " : "");
        conf_print_text(out, buf_text(&text));
    }
    buf_adds(out, list->count > 0 ? " ]" : "]");
    buf_done(&text);
}

void conf_value_print(const void *base, const struct conf_key *key, struct buf *out)
{
    const struct conf_list *list;

    switch (key->type) {
    case CONF_BOOL:
        buf_adds(out, *CONF_FIELD(base, key, bool) ? "true" : "false");
        break;
    case CONF_INT:
        buf_addf(out, "%" PRId64, *CONF_FIELD(base, key, int64_t));
        break;
    case CONF_SECONDS:
        print_duration(out, *CONF_FIELD(base, key, uint64_t));
        break;
    case CONF_BYTES:
        print_size(out, *CONF_FIELD(base, key, uint64_t));
        break;
    case CONF_TEXT:
        conf_print_text(out, *CONF_FIELD(base, key, char *));
        break;
    case CONF_SECRET:
        buf_adds(out, **CONF_FIELD(base, key, char *) ? "(set)" : "\"\"");
        break;
    case CONF_LIST:
    case CONF_WORDS:
        conf_print_list(out, CONF_FIELD(base, key, struct conf_list));
        break;
    case CONF_VARIABLES:
        print_variables(out, CONF_FIELD(base, key, struct conf_list));
        break;
    case CONF_SECRETS:
        list = CONF_FIELD(base, key, struct conf_list);
        for (size_t i = 0; i < list->count; i++)
            buf_adds(out, i ? ", (set)" : "[ (set)");
        buf_adds(out, list->count ? " ]" : "[ ]");
        break;
    case CONF_COUNT:
        conf_print_count(out, CONF_FIELD(base, key, struct conf_count));
        break;
    case CONF_ENUM:
        conf_print_text(out, key->words[*CONF_FIELD(base, key, int)]);
        break;
    }
}

void conf_field_write(const void *base, const struct conf_key *key, struct buf *out)
{
    const struct conf_list *list;
    struct buf value = BUF_HEAP;

    switch (key->type) {
    case CONF_TEXT:
    case CONF_SECRET:
        buf_adds(out, *CONF_FIELD(base, key, char *));
        break;
    case CONF_LIST:
    case CONF_WORDS:
    case CONF_VARIABLES:
    case CONF_SECRETS:
        list = CONF_FIELD(base, key, struct conf_list);
        for (size_t i = 0; i < list->count; i++)
            buf_addf(out, "%s%c", list->items[i], CONF_ITEM_END);
        break;
    case CONF_COUNT:
        conf_count_text(CONF_FIELD(base, key, struct conf_count), out);
        break;
    default: /* quotes or not: that is all that differs */
        conf_value_print(base, key, &value);
        for (const char *c = buf_text(&value); *c; c++) {
            if (*c != '"')
                buf_addc(out, *c);
        }
        break;
    }
    buf_done(&value);
}
