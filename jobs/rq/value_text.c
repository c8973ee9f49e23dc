/*
 * value_text.c - values for people and for JSON: what logs, descriptions and
 * JSON queues show.
 */
#include "common/arena.h"
#include "common/buf.h"
#include "common/json.h"
#include "jobs/rq/base64.h"
#include "jobs/rq/bigint.h"
#include "jobs/rq/value.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The shortest digits that read back as the same double, as Python's repr finds them. */
static void shortest_digits(double real, char digits[40], int *ret_exponent)
{
    char text[40];
    size_t length = 0;

    for (int precision = 0; precision < 17; precision++) {
        snprintf(text, sizeof(text), "%.*e", precision, fabs(real));
        if (strtod(text, NULL) == fabs(real))
            break;
    }
    const char *mark = strchr(text, 'e');
    for (const char *c = text; c < mark; c++) {
        if (*c != '.')
            digits[length++] = *c;
    }
    digits[length] = '\0';
    *ret_exponent = (int)strtol(mark + 1, NULL, 10);
}

/* Python's rule: an exponent below -4 or above 15 is written as one. */
static void write_finite(struct buf *out, double real)
{
    char digits[40];
    int exponent;

    if (signbit(real))
        buf_addc(out, '-');
    shortest_digits(real, digits, &exponent);
    int count = (int)strlen(digits);
    if (exponent < -4 || exponent > 15) {
        buf_addc(out, digits[0]);
        if (count > 1)
            buf_addf(out, ".%s", digits + 1);
        buf_addf(out, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
    } else if (exponent < 0) {
        buf_addf(out, "0.%.*s%s", -exponent - 1, "0000", digits);
    } else if (count <= exponent + 1) {
        buf_addf(out, "%s%.*s.0", digits, exponent + 1 - count, "000000000000000");
    } else {
        buf_addf(out, "%.*s.%s", exponent + 1, digits, digits + exponent + 1);
    }
}

struct float_words {
    const char *nan, *infinite, *minus_infinite;
};

static void write_float(struct buf *out, double real, const struct float_words *words)
{
    if (isnan(real))
        buf_adds(out, words->nan);
    else if (isinf(real))
        buf_adds(out, real > 0 ? words->infinite : words->minus_infinite);
    else
        write_finite(out, real);
}

/* What both notations share: numbers. False: something else. */
static bool write_number(struct buf *out, const struct value *value,
                         const struct float_words *words)
{
    switch (value->kind) {
    case VALUE_INT:
        buf_addf(out, "%lld", (long long)value->integer);
        return true;
    case VALUE_BIGINT:
        bigint_write(out, value->bytes.data, value->bytes.length);
        return true;
    case VALUE_FLOAT:
        write_float(out, value->real, words);
        return true;
    default:
        return false;
    }
}

/* Python's json module writes and reads these three words too. */
static const struct float_words json_words = { "NaN", "Infinity", "-Infinity" };

static void json_separator(struct buf *out, const struct value *parent, size_t index)
{
    if (!parent || index == 0)
        return;
    buf_addc(out, parent->kind == VALUE_DICT && index % 2 == 1 ? ':' : ',');
}

static enum value_step json_enter(void *arg, const struct value *value,
                                  const struct value *parent, size_t index)
{
    struct buf *out = arg;
    bool is_key = parent && parent->kind == VALUE_DICT && index % 2 == 0;

    json_separator(out, parent, index);
    if (value->kind == VALUE_TEXT) {
        json_quote(out, value->bytes.data, value->bytes.length);
        return VALUE_PASS;
    }
    if (is_key) { /* JSON has text keys only */
        struct buf key = BUF_HEAP;

        value_repr(value, &key, SIZE_MAX);
        json_quote(out, buf_text(&key), key.length);
        buf_done(&key);
        return VALUE_PASS;
    }
    if (write_number(out, value, &json_words))
        return VALUE_PASS;
    if (value->kind == VALUE_NONE)
        buf_adds(out, "null");
    else if (value->kind == VALUE_BOOL)
        buf_adds(out, value->boolean ? "true" : "false");
    else if (value->kind == VALUE_BYTES) {
        buf_addc(out, '"');
        base64_write(out, value->bytes.data, value->bytes.length);
        buf_addc(out, '"');
    } else
        buf_addc(out, value->kind == VALUE_DICT ? '{' : '[');
    return VALUE_DESCEND;
}

static void json_leave(void *arg, const struct value *container)
{
    buf_addc(arg, container->kind == VALUE_DICT ? '}' : ']');
}

void value_to_json(const struct value *value, struct buf *out)
{
    static const struct value_visitor visitor = { json_enter, json_leave };

    value_walk(value, &visitor, out);
}

/* repr() stops once it has more than it needs: a payload may be megabytes. */
struct repr {
    struct buf text;
    size_t enough; /* bytes */
};

static const struct float_words repr_words = { "nan", "inf", "-inf" };

/* Quotes as Python chooses them; control characters escaped. */
static void repr_quoted(struct repr *repr, const char *data, size_t length, bool is_bytes)
{
    bool has_single = memchr(data, '\'', length) != NULL;
    bool has_double = memchr(data, '"', length) != NULL;
    char quote = has_single && !has_double ? '"' : '\'';
    struct buf *out = &repr->text;

    buf_addc(out, quote);
    for (size_t i = 0; i < length && out->length <= repr->enough; i++) {
        unsigned char c = (unsigned char)data[i];

        if (c == (unsigned char)quote || c == '\\')
            buf_addf(out, "\\%c", c);
        else if (c == '\n')
            buf_adds(out, "\\n");
        else if (c == '\r')
            buf_adds(out, "\\r");
        else if (c == '\t')
            buf_adds(out, "\\t");
        else if (c < 0x20 || c == 0x7f || (is_bytes && c > 0x7f))
            buf_addf(out, "\\x%02x", c);
        else
            buf_addc(out, (char)c);
    }
    buf_addc(out, quote);
}

static const struct {
    const char *open, *close, *empty;
} repr_brackets[] = {
    [VALUE_LIST] = { "[", "]", "[]" },
    [VALUE_TUPLE] = { "(", ")", "()" },
    [VALUE_DICT] = { "{", "}", "{}" },
    [VALUE_SET] = { "{", "}", "set()" },
    [VALUE_FROZENSET] = { "frozenset({", "})", "frozenset()" },
};

static enum value_step repr_enter(void *arg, const struct value *value,
                                  const struct value *parent, size_t index)
{
    struct repr *repr = arg;
    struct buf *out = &repr->text;

    if (out->length > repr->enough)
        return VALUE_STOP;
    if (parent && index > 0)
        buf_adds(out, parent->kind == VALUE_DICT && index % 2 == 1 ? ": " : ", ");
    if (write_number(out, value, &repr_words))
        return VALUE_PASS;
    if (value->kind == VALUE_NONE)
        buf_adds(out, "None");
    else if (value->kind == VALUE_BOOL)
        buf_adds(out, value->boolean ? "True" : "False");
    else if (value->kind == VALUE_TEXT)
        repr_quoted(repr, value->bytes.data, value->bytes.length, false);
    else if (value->kind == VALUE_BYTES) {
        buf_addc(out, 'b');
        repr_quoted(repr, value->bytes.data, value->bytes.length, true);
    } else if (value->list.count == 0) {
        buf_adds(out, repr_brackets[value->kind].empty);
        return VALUE_PASS;
    } else
        buf_adds(out, repr_brackets[value->kind].open);
    return VALUE_DESCEND;
}

static void repr_leave(void *arg, const struct value *container)
{
    struct repr *repr = arg;

    if (container->kind == VALUE_TUPLE && container->list.count == 1)
        buf_addc(&repr->text, ',');
    buf_adds(&repr->text, repr_brackets[container->kind].close);
}

void value_repr(const struct value *value, struct buf *out, size_t max)
{
    static const struct value_visitor visitor = { repr_enter, repr_leave };
    struct repr repr = { .text = BUF_HEAP, .enough = max < SIZE_MAX / 4 ? max * 4 : max };
    size_t characters = 0;
    size_t cut = 0;

    value_walk(value, &visitor, &repr);
    const char *text = buf_text(&repr.text);
    for (; cut < repr.text.length; cut++) {
        /* A continuation byte belongs to the character before it. */
        if (((unsigned char)text[cut] & 0xc0) != 0x80 && characters++ == max)
            break;
    }
    buf_add(out, text, cut);
    if (cut < repr.text.length)
        buf_adds(out, "...");
    buf_done(&repr.text);
}
