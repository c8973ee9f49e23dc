/*
 * value_text.c - values for people and for JSON: what logs, descriptions and
 * JSON queues show.
 */
#include "common/arena.h"
#include "common/buf.h"
#include "common/json.h"
#include "common/utf8.h"
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

/* Python's rule: an exponent below -4 or above 15 is written as one. `point`: what a
 * whole number ends in. */
static void write_finite(struct buf *out, double real, const char *point)
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
        buf_addf(out, "%s%.*s%s", digits, exponent + 1 - count, "000000000000000", point);
    } else {
        buf_addf(out, "%.*s.%s", exponent + 1, digits, digits + exponent + 1);
    }
}

struct float_words {
    const char *nan, *infinite, *minus_infinite, *point;
};

static void write_float(struct buf *out, double real, const struct float_words *words)
{
    if (isnan(real))
        buf_adds(out, words->nan);
    else if (isinf(real))
        buf_adds(out, real > 0 ? words->infinite : words->minus_infinite);
    else
        write_finite(out, real, words->point);
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
static const struct float_words json_words = { "NaN", "Infinity", "-Infinity", ".0" };

static void json_separator(struct buf *out, const struct value *parent, size_t index)
{
    if (!parent || index == 0)
        return;
    buf_addc(out, parent->kind == VALUE_DICT && index % 2 == 1 ? ':' : ',');
}

static void json_bytes(struct buf *out, const char *data, size_t length)
{
    buf_addc(out, '"');
    base64_write(out, data, length);
    buf_addc(out, '"');
}

/* 12345678-1234-5678-1234-567812345678 */
static void write_uuid(struct buf *out, const char *data)
{
    for (size_t i = 0; i < VALUE_UUID_SIZE; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            buf_addc(out, '-');
        buf_addf(out, "%02x", (unsigned)(unsigned char)data[i]);
    }
}

/* The seconds of a time span as a decimal number, exactly. */
static void write_seconds(struct buf *out, const struct value_delta *delta)
{
    int64_t seconds = (int64_t)delta->days * 86400 + delta->seconds;
    int microseconds = delta->microseconds;
    int places = 6;

    if (seconds < 0 && microseconds > 0) { /* both parts of one sign */
        seconds++;
        microseconds = 1000000 - microseconds;
    }
    buf_addf(out, "%s%lld", seconds == 0 && delta->days < 0 ? "-" : "",
             (long long)seconds);
    if (microseconds == 0)
        return;
    for (; microseconds % 10 == 0; places--)
        microseconds /= 10;
    buf_addf(out, ".%0*d", places, microseconds);
}

/* Kinds that JSON knows only as texts or numbers. False: another kind. */
static bool json_typed(struct buf *out, const struct value *value)
{
    switch (value->kind) {
    case VALUE_BYTES:
    case VALUE_BYTEARRAY:
        json_bytes(out, value->bytes.data, value->bytes.length);
        return true;
    case VALUE_COMPLEX:
        buf_addc(out, '[');
        write_float(out, value->complex.real, &json_words);
        buf_addc(out, ',');
        write_float(out, value->complex.imaginary, &json_words);
        buf_addc(out, ']');
        return true;
    case VALUE_DECIMAL: /* of letters, digits and signs: nothing to escape */
        buf_addf(out, "\"%s\"", value->bytes.data);
        return true;
    case VALUE_UUID:
        buf_addc(out, '"');
        write_uuid(out, value->bytes.data);
        buf_addc(out, '"');
        return true;
    case VALUE_DATE:
    case VALUE_TIME:
    case VALUE_DATETIME:
        buf_addc(out, '"');
        value_write_iso(value, out);
        buf_addc(out, '"');
        return true;
    case VALUE_TIMEDELTA:
        write_seconds(out, &value->delta);
        return true;
    case VALUE_TIMEZONE:
        write_seconds(out, &value->zone.offset->delta);
        return true;
    default:
        return false;
    }
}

static void json_scalar(struct buf *out, const struct value *value)
{
    if (value->kind == VALUE_NONE)
        buf_adds(out, "null");
    else if (value->kind == VALUE_BOOL)
        buf_adds(out, value->boolean ? "true" : "false");
    else if (value->kind == VALUE_TEXT)
        json_quote(out, value->bytes.data, value->bytes.length);
    else if (!write_number(out, value, &json_words))
        json_typed(out, value);
}

/* JSON has text keys only. Those of other kinds are written as Python's json writes them;
 * what it refuses (tuples) as its repr. */
static void json_key(struct buf *out, const struct value *key)
{
    struct buf text = BUF_HEAP;

    if (key->kind == VALUE_TEXT) {
        json_quote(out, key->bytes.data, key->bytes.length);
        return;
    }
    if (value_is_container(key))
        value_repr(key, &text, SIZE_MAX);
    else
        json_scalar(&text, key);
    if (text.length > 0 && text.data[0] == '"')
        buf_add(out, text.data, text.length);
    else
        json_quote(out, buf_text(&text), text.length);
    buf_done(&text);
}

static enum value_step json_enter(void *arg, const struct value *value,
                                  const struct value *parent, size_t index)
{
    struct buf *out = arg;

    json_separator(out, parent, index);
    if (parent && parent->kind == VALUE_DICT && index % 2 == 0) {
        json_key(out, value);
        return VALUE_PASS;
    }
    if (value_is_container(value))
        buf_addc(out, value->kind == VALUE_DICT ? '{' : '[');
    else
        json_scalar(out, value);
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

/* Whether json.dumps() takes a value of that kind, as a key (not a container) or else. */
static enum value_step is_json_enter(void *arg, const struct value *value,
                                     const struct value *parent, size_t index)
{
    bool is_key = parent && parent->kind == VALUE_DICT && index % 2 == 0;
    bool *is_json = arg;

    switch (value->kind) {
    case VALUE_NONE:
    case VALUE_BOOL:
    case VALUE_INT:
    case VALUE_FLOAT:
        return VALUE_PASS;
    case VALUE_BIGINT: /* Python refuses to read or write more digits */
        *is_json = value->bytes.length * 2409 / 1000 < BIGINT_MAX_DIGITS;
        break;
    case VALUE_TEXT:
        *is_json = utf8_is_valid(value->bytes.data, value->bytes.length);
        break;
    case VALUE_LIST:
    case VALUE_TUPLE:
    case VALUE_DICT:
        *is_json = !is_key;
        break;
    default:
        *is_json = false;
        break;
    }
    return *is_json ? VALUE_DESCEND : VALUE_STOP;
}

bool value_is_json(const struct value *value)
{
    static const struct value_visitor visitor = { .enter = is_json_enter };
    bool is_json = true;

    value_walk(value, &visitor, &is_json);
    return is_json;
}

/* repr() stops once it has more than it needs: a payload may be megabytes. */
struct repr {
    struct buf text;
    size_t enough; /* bytes */
};

static const struct float_words repr_words = { "nan", "inf", "-inf", ".0" };
static const struct float_words complex_words = { "nan", "inf", "-inf", "" };

/* U+0080 to U+00A0 and U+00AD, which terminals obey and nobody sees: escaped as Python
 * does. (Of what is beyond Latin-1, Python escapes more.) 0: another character. */
static unsigned char latin1_control(const char *data, size_t left, bool is_bytes)
{
    unsigned char second;

    if (is_bytes || left < 2 || data[0] != '\xc2')
        return 0;
    second = (unsigned char)data[1];
    return second <= 0xa0 || second == 0xad ? second : 0;
}

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
        else if (latin1_control(data + i, length - i, is_bytes))
            buf_addf(out, "\\x%02x", (unsigned char)data[++i]);
        else
            buf_addc(out, (char)c);
    }
    buf_addc(out, quote);
}

/* ", name" and the number, after the first without the comma. */
static const char *repr_part(struct buf *out, const char *comma, const char *name,
                             int number)
{
    buf_addf(out, "%s%s%d", comma, name, number);
    return ", ";
}

static void repr_timedelta(struct buf *out, const struct value_delta *delta)
{
    const char *comma = "";

    buf_adds(out, "datetime.timedelta(");
    if (delta->days != 0)
        comma = repr_part(out, comma, "days=", delta->days);
    if (delta->seconds != 0)
        comma = repr_part(out, comma, "seconds=", delta->seconds);
    if (delta->microseconds != 0)
        comma = repr_part(out, comma, "microseconds=", delta->microseconds);
    buf_adds(out, *comma ? ")" : "0)");
}

static void repr_timezone(struct repr *repr, const struct value *zone)
{
    const struct value_delta *delta = &zone->zone.offset->delta;
    const struct value *name = zone->zone.name;
    struct buf *out = &repr->text;

    if (!name && delta->days == 0 && delta->seconds == 0 && delta->microseconds == 0) {
        buf_adds(out, "datetime.timezone.utc");
        return;
    }
    buf_adds(out, "datetime.timezone(");
    repr_timedelta(out, delta);
    if (name) {
        buf_adds(out, ", ");
        repr_quoted(repr, name->bytes.data, name->bytes.length, false);
    }
    buf_addc(out, ')');
}

/* Trailing zero seconds and microseconds are left out, but not the minute. */
static void repr_moment(struct repr *repr, const struct value *value)
{
    static const char *const names[] = {
        [VALUE_DATE] = "date", [VALUE_TIME] = "time", [VALUE_DATETIME] = "datetime"
    };
    const struct value_moment *moment = value->moment;
    struct buf *out = &repr->text;

    buf_addf(out, "datetime.%s(", names[value->kind]);
    if (value->kind != VALUE_TIME)
        buf_addf(out, "%d, %d, %d", moment->year, moment->month, moment->day);
    if (value->kind != VALUE_DATE)
        buf_addf(out, "%s%d, %d", value->kind == VALUE_TIME ? "" : ", ", moment->hour,
                 moment->minute);
    if (moment->second != 0 || moment->microsecond != 0)
        buf_addf(out, ", %d", moment->second);
    if (moment->microsecond != 0)
        buf_addf(out, ", %u", moment->microsecond);
    /* Python's own order. */
    if (moment->fold && value->kind == VALUE_DATETIME)
        buf_adds(out, ", fold=1");
    if (moment->zone) {
        buf_adds(out, ", tzinfo=");
        repr_timezone(repr, moment->zone);
    }
    if (moment->fold && value->kind == VALUE_TIME)
        buf_adds(out, ", fold=1");
    buf_addc(out, ')');
}

/* 2j, or (1+2j) where there is a real part, be it -0.0. */
static void repr_complex(struct buf *out, double real, double imaginary)
{
    bool has_real = real != 0 || signbit(real);

    if (has_real) {
        buf_addc(out, '(');
        write_float(out, real, &complex_words);
        if (isnan(imaginary) || !signbit(imaginary))
            buf_addc(out, '+');
    }
    write_float(out, imaginary, &complex_words);
    buf_adds(out, has_real ? "j)" : "j");
}

static void repr_bytes(struct repr *repr, const struct value *value)
{
    bool is_array = value->kind == VALUE_BYTEARRAY;

    buf_adds(&repr->text, is_array ? "bytearray(b" : "b");
    repr_quoted(repr, value->bytes.data, value->bytes.length, true);
    if (is_array)
        buf_addc(&repr->text, ')');
}

static void repr_typed(struct repr *repr, const struct value *value)
{
    struct buf *out = &repr->text;

    switch (value->kind) {
    case VALUE_COMPLEX:
        repr_complex(out, value->complex.real, value->complex.imaginary);
        break;
    case VALUE_DECIMAL:
        buf_addf(out, "Decimal('%s')", value->bytes.data);
        break;
    case VALUE_UUID:
        buf_adds(out, "UUID('");
        write_uuid(out, value->bytes.data);
        buf_adds(out, "')");
        break;
    case VALUE_TIMEDELTA:
        repr_timedelta(out, &value->delta);
        break;
    case VALUE_TIMEZONE:
        repr_timezone(repr, value);
        break;
    default:
        repr_moment(repr, value);
        break;
    }
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
    else if (value->kind == VALUE_BYTES || value->kind == VALUE_BYTEARRAY)
        repr_bytes(repr, value);
    else if (!value_is_container(value))
        repr_typed(repr, value);
    else if (value->list.count == 0) {
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
