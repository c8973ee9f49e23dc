/*
 * json_check.c - the pass before the parser: see json_check() in json.h.
 *
 * cJSON recurses and allocates for every value, so nothing reaches it that was not
 * counted first. One pass without recursion bounds both, and finds what cJSON would take
 * though it is no JSON.
 */
#include "common/json.h"
#include <errno.h>
#include <string.h>

/* One bit per open bracket. */
#define DEPTH_BITS 1024

struct check {
    const char *at, *end;
    int depth, values, max_depth, max_values;
    bool after_text;                         /* a colon would make it a key */
    unsigned char is_object[DEPTH_BITS / 8]; /* of each open bracket */
};

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

    while (check->at < check->end && !json_is_blank(*check->at) &&
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

    if (json_is_blank(c))
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
