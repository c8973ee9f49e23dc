/*
 * forms.c - see forms.h.
 */
#include "worker/handlers/forms.h"
#include "common/arena.h"
#include "common/utf8.h"

#include <string.h>

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* How many bytes at the front of `text` are ASCII letters, digits or in `extra`. */
static size_t span(const char *text, const char *extra)
{
    size_t length = 0;

    while (text[length] && (is_letter(text[length]) || is_digit(text[length]) ||
                            strchr(extra, text[length])))
        length++;
    return length;
}

enum form_field form_field(const cJSON *form, const char *key, const char **ret)
{
    const cJSON *item = json_get(form, key);

    if (!item)
        return FORM_ABSENT;
    if (!cJSON_IsString(item))
        return FORM_OTHER;
    if (item->valuestring[0] == '\0')
        return FORM_ABSENT;
    *ret = item->valuestring;
    return FORM_TEXT;
}

/* ^[a-zA-Z0-9_-]{3,50}$ */
bool form_is_username(const char *text)
{
    size_t length = span(text, "_-");

    return text[length] == '\0' && length >= 3 && length <= 50;
}

/* ^[a-zA-Z0-9._%+-]+@[a-zA-Z0-9.-]+\.[a-zA-Z]{2,}$ */
bool form_is_email(const char *text)
{
    size_t local = span(text, "._%+-");

    if (local == 0 || text[local] != '@' || strlen(text) > FORM_EMAIL_MAX)
        return false;
    const char *domain = text + local + 1;
    if (domain[span(domain, ".-")] != '\0')
        return false;

    const char *dot = strrchr(domain, '.');
    if (!dot || dot == domain)
        return false;
    size_t letters = 0;
    while (is_letter(dot[1 + letters]))
        letters++;
    return letters >= 2 && dot[1 + letters] == '\0';
}

const char *form_password_problem(struct arena *arena, const char *password,
                                  int64_t min_length)
{
    bool has_letter = false, has_digit = false;

    for (const char *c = password; *c; c++) {
        has_letter |= is_letter(*c);
        has_digit |= is_digit(*c);
    }
    if ((int64_t)utf8_count(password) < min_length)
        return arena_printf(arena, "Password must be at least %lld characters long",
                            (long long)min_length);
    if (!has_letter)
        return "Password must contain at least one letter";
    if (!has_digit)
        return "Password must contain at least one number";
    return NULL;
}

const char *form_cut(struct arena *arena, const char *text, size_t max)
{
    size_t kept = utf8_offset(text, max);

    return text[kept] ? arena_strndup(arena, text, kept) : text;
}

const char *form_trim(struct arena *arena, const char *text)
{
    while (is_space(*text))
        text++;
    size_t length = strlen(text);
    size_t kept = length;
    while (kept > 0 && is_space(text[kept - 1]))
        kept--;
    return kept == length ? text : arena_strndup(arena, text, kept);
}

char *form_lower(struct arena *arena, const char *text)
{
    char *lower = arena_strdup(arena, text);

    for (char *c = lower; *c; c++) {
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c + ('a' - 'A'));
    }
    return lower;
}

char *form_like(struct arena *arena, const char *text)
{
    char *pattern = arena_alloc(arena, 2 * strlen(text) + 3);
    char *at = pattern;

    *at++ = '%';
    for (; *text; text++) {
        if (strchr("%_\\", *text))
            *at++ = '\\';
        *at++ = *text;
    }
    *at++ = '%';
    *at = '\0';
    return pattern;
}
