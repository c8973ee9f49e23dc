/*
 * json_value.c - JSON as RQ's JSON serializer writes it, into values.
 *
 * cJSON keeps numbers as doubles and recurses; payloads need exact integers and
 * hostile depth. One pass, containers on an explicit stack, the bounds of value.h. Texts
 * stay where they are: an escape is longer than what it stands for, and the closing quote
 * becomes their NUL.
 */
#include "common/arena.h"
#include "common/buf.h"
#include "common/utf8.h"
#include "jobs/rq/bigint.h"
#include "jobs/rq/payload.h"
#include <stdlib.h>
#include <string.h>

struct parser {
    struct arena *arena;
    char *text;
    size_t length, at;
    struct value *open[VALUE_MAX_DEPTH];
    uint64_t total;
    size_t depth;
    const char *error;
};

static bool refuse(struct parser *p, const char *error)
{
    if (!p->error)
        p->error = error;
    return false;
}

static void skip_space(struct parser *p)
{
    while (p->at < p->length && p->text[p->at] && strchr(" \t\r\n", p->text[p->at]))
        p->at++;
}

static char peek(const struct parser *p)
{
    return p->at < p->length ? p->text[p->at] : '\0';
}

static bool hex4(const struct parser *p, size_t at, uint32_t *ret)
{
    uint32_t number = 0;

    if (p->length - at < 4)
        return false;
    for (size_t i = at; i < at + 4; i++) {
        char c = p->text[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return false;
        number = number << 4 | (uint32_t)digit;
    }
    *ret = number;
    return true;
}

/* \uXXXX, behind the u; two of them make a character beyond U+FFFF. */
static bool unicode_escape(struct parser *p, size_t *out)
{
    uint32_t character;
    uint32_t low;

    if (!hex4(p, p->at, &character))
        return refuse(p, "bad escape");
    p->at += 4;
    if (character >= 0xd800 && character <= 0xdbff) {
        if (p->length - p->at < 6 || p->text[p->at] != '\\' ||
            p->text[p->at + 1] != 'u' || !hex4(p, p->at + 2, &low) || low < 0xdc00 ||
            low > 0xdfff)
            return refuse(p, "lone surrogate");
        p->at += 6;
        character = 0x10000 + ((character - 0xd800) << 10) + (low - 0xdc00);
    } else if (character >= 0xdc00 && character <= 0xdfff) {
        return refuse(p, "lone surrogate");
    }
    *out += utf8_put(p->text + *out, character);
    return true;
}

/* What stands behind a backslash, to p->text[*out]. */
static bool escape(struct parser *p, size_t *out)
{
    static const char names[] = "\"\\/bfnrt";
    static const char meanings[] = "\"\\/\b\f\n\r\t";
    char c = peek(p);

    p->at++;
    if (c == 'u')
        return unicode_escape(p, out);
    const char *found = c ? strchr(names, c) : NULL;
    if (!found)
        return refuse(p, "bad escape");
    p->text[(*out)++] = meanings[found - names];
    return true;
}

static struct value *parse_text(struct parser *p)
{
    size_t begin = ++p->at; /* behind the quote */
    size_t out = begin;

    for (;;) {
        size_t start = p->at;

        while (p->at < p->length && p->text[p->at] != '"' && p->text[p->at] != '\\' &&
               (unsigned char)p->text[p->at] >= 0x20)
            p->at++;
        if (out < start)
            memmove(p->text + out, p->text + start, p->at - start);
        out += p->at - start;
        char c = peek(p);
        if (c == '"')
            break;
        if (c != '\\') {
            refuse(p, "unterminated text");
            return NULL;
        }
        p->at++;
        if (!escape(p, &out))
            return NULL;
    }
    p->at++;
    p->text[out] = '\0';
    return value_view(p->arena, VALUE_TEXT, p->text + begin, out - begin);
}

/* JSON's grammar, so that "01", "1." and "+1" are refused as Python refuses them. */
static bool number_shape(const char *text, size_t length, bool *ret_is_float)
{
    size_t i = length > 0 && text[0] == '-';
    size_t digits = strspn(text + i, "0123456789");

    if (digits == 0 || (digits > 1 && text[i] == '0'))
        return false;
    i += digits;
    *ret_is_float = i < length;
    if (i < length && text[i] == '.') {
        digits = strspn(text + i + 1, "0123456789");
        if (digits == 0)
            return false;
        i += 1 + digits;
    }
    if (i < length && (text[i] == 'e' || text[i] == 'E')) {
        i++;
        if (i < length && (text[i] == '+' || text[i] == '-'))
            i++;
        digits = strspn(text + i, "0123456789");
        if (digits == 0)
            return false;
        i += digits;
    }
    return i == length;
}

static struct value *parse_number(struct parser *p)
{
    size_t start = p->at;
    bool is_float;
    struct value *value;

    while (peek(p) && strchr("0123456789+-.eE", peek(p)))
        p->at++;
    size_t length = p->at - start;
    if (length > BIGINT_MAX_DIGITS + 1) {
        refuse(p, "number too long");
        return NULL;
    }
    /* What stands behind it, if only the NUL, ends it for strspn() and strtod() too. */
    const char *text = p->text + start;
    if (!number_shape(text, length, &is_float)) {
        refuse(p, "bad number");
        return NULL;
    }
    value = is_float ? value_float(p->arena, strtod(text, NULL))
                     : bigint_read(p->arena, text, length);
    if (!value)
        refuse(p, "number too long");
    return value;
}

static struct value *parse_word(struct parser *p)
{
    static const char *const words[] = { "null", "true",     "false",
                                         "NaN",  "Infinity", "-Infinity" };

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        size_t length = strlen(words[i]);

        if (p->length - p->at < length || memcmp(p->text + p->at, words[i], length) != 0)
            continue;
        p->at += length;
        if (i == 0)
            return value_none(p->arena);
        if (i < 3)
            return value_bool(p->arena, i == 1);
        return value_float(p->arena, strtod(words[i], NULL));
    }
    return NULL;
}

static struct value *parse_scalar(struct parser *p)
{
    struct value *value;

    if (peek(p) == '"')
        return parse_text(p);
    if ((value = parse_word(p)) != NULL)
        return value;
    if (peek(p) == '-' || (peek(p) >= '0' && peek(p) <= '9'))
        return parse_number(p);
    refuse(p, "no JSON value");
    return NULL;
}

/* "key": in front of a dict's value. */
static bool parse_key(struct parser *p, struct value *dict)
{
    skip_space(p);
    if (peek(p) != '"')
        return refuse(p, "dict key is no text");
    struct value *key = parse_text(p);
    if (!key)
        return false;
    value_add(p->arena, dict, key);
    p->total++;
    skip_space(p);
    if (peek(p) != ':')
        return refuse(p, "no colon behind a dict's key");
    p->at++;
    return true;
}

/* A container that opens here and is not at once empty stays open. */
static struct value *open_container(struct parser *p)
{
    bool is_list = peek(p) == '[';
    struct value *container;

    if (p->depth == VALUE_MAX_DEPTH) {
        refuse(p, "nested too deeply");
        return NULL;
    }
    container = value_container(p->arena, is_list ? VALUE_LIST : VALUE_DICT);
    p->at++;
    skip_space(p);
    if (peek(p) == (is_list ? ']' : '}'))
        return container; /* the closing bracket is read by close_containers() */
    if (!is_list && !parse_key(p, container))
        return NULL;
    return container;
}

/*
 * Behind a complete value: closes what closes here and goes to the next item.
 * False when the outermost value is complete, or on an error.
 */
static bool next_item(struct parser *p, struct value **value)
{
    while (p->depth > 0) {
        struct value *container = p->open[p->depth - 1];
        bool is_list = container->kind == VALUE_LIST;

        if (*value)
            value_add(p->arena, container, *value);
        skip_space(p);
        char c = peek(p);
        if (c == ',' && *value) {
            p->at++;
            return is_list || parse_key(p, container);
        }
        if (c != (is_list ? ']' : '}'))
            return refuse(p, "no comma and no bracket behind a value");
        p->at++;
        p->depth--;
        *value = container;
    }
    return false;
}

static struct value *parse(struct parser *p)
{
    struct value *value = NULL;

    do {
        skip_space(p);
        if (++p->total > VALUE_MAX_NODES) {
            refuse(p, "too many values");
            return NULL;
        }
        if (peek(p) == '[' || peek(p) == '{') {
            value = open_container(p);
            if (!value)
                return NULL;
            p->open[p->depth++] = value;
            value = NULL;
            if (peek(p) != ']' && peek(p) != '}')
                continue;
            if (p->open[p->depth - 1]->list.count > 0)
                continue;
        } else if (!(value = parse_scalar(p))) {
            return NULL;
        }
        if (!next_item(p, &value))
            break;
    } while (!p->error);
    return p->error ? NULL : value;
}

struct value *value_from_json_in_place(struct arena *arena, char *text, size_t length,
                                       const char **ret_error)
{
    struct parser *p = arena_alloc(arena, sizeof(*p));
    struct value *value = NULL;

    p->arena = arena;
    p->text = text;
    p->length = length;
    if (utf8_is_valid(text, length))
        value = parse(p);
    else
        refuse(p, "text is not valid UTF-8");
    skip_space(p);
    if (value && p->at < length)
        refuse(p, "something behind the value");
    if (!p->error)
        return value;
    *ret_error = arena_printf(arena, "DeserializationError: bad JSON: %s", p->error);
    return NULL;
}

struct value *value_from_json(struct arena *arena, const char *text, size_t length,
                              const char **ret_error)
{
    return value_from_json_in_place(arena, arena_strndup(arena, text, length), length,
                                    ret_error);
}
