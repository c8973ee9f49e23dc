/*
 * split.c - the statements of an SQL script, so that an error can name its line.
 */
#include "sql/split.h"
#include <ctype.h>
#include <stdbool.h>
#include <string.h>

static const char *end_of_line(const char *at)
{
    return at + strcspn(at, "\n");
}

/* Block comments nest in SQL. */
static const char *end_of_comment(const char *at)
{
    int depth = 0;

    do {
        if (strncmp(at, "/*", 2) == 0) {
            depth++;
            at += 2;
        } else if (strncmp(at, "*/", 2) == 0) {
            depth--;
            at += 2;
        } else {
            at++;
        }
    } while (*at && depth > 0);
    return at;
}

/* A doubled quote is two quoted texts in a row to us, which comes to the same. */
static const char *end_of_quoted(const char *at)
{
    const char *end = strchr(at + 1, *at);

    return end ? end + 1 : at + strlen(at);
}

/* "E'it\'s'": only here a backslash hides a quote. */
static const char *end_of_escaped(const char *at)
{
    for (at++; *at && *at != '\''; at++) {
        if (*at == '\\' && at[1])
            at++;
    }
    return *at ? at + 1 : at;
}

/* The length of "$tag$" at `at`; 0: no dollar quote begins there. */
static size_t dollar_tag(const char *at)
{
    size_t length = 1;

    if (isdigit((unsigned char)at[1]))
        return 0; /* a parameter */
    while (isalnum((unsigned char)at[length]) || at[length] == '_')
        length++;
    return at[length] == '$' ? length + 1 : 0;
}

static const char *end_of_dollars(const char *at, size_t tag)
{
    for (const char *end = at + tag; *end; end++) {
        if (strncmp(end, at, tag) == 0)
            return end + tag;
    }
    return at + strlen(at);
}

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '$';
}

/* Past one comment, quoted text, word or other character. */
static const char *skip_piece(const char *at)
{
    size_t tag;

    if (strncmp(at, "--", 2) == 0)
        return end_of_line(at);
    if (strncmp(at, "/*", 2) == 0)
        return end_of_comment(at);
    if ((at[0] == 'e' || at[0] == 'E') && at[1] == '\'')
        return end_of_escaped(at + 1);
    if (at[0] == '\'' || at[0] == '"')
        return end_of_quoted(at);
    if (at[0] == '$' && (tag = dollar_tag(at)) > 0)
        return end_of_dollars(at, tag);
    do
        at++;
    while (is_word(at[-1]) && is_word(at[0]));
    return at;
}

static bool is_empty(const char *at)
{
    return isspace((unsigned char)*at) || *at == ';' || strncmp(at, "--", 2) == 0 ||
           strncmp(at, "/*", 2) == 0;
}

static int lines_between(const char *from, const char *to)
{
    int count = 0;

    for (; from < to; from++)
        count += *from == '\n';
    return count;
}

static void move_to(struct split *split, const char *to)
{
    split->line += lines_between(split->at, to);
    split->at = to;
}

int split_next(struct split *split, struct statement *ret)
{
    while (*split->at && is_empty(split->at))
        move_to(split, skip_piece(split->at));
    if (!*split->at)
        return 0;

    const char *end = split->at;
    while (*end && *end != ';')
        end = skip_piece(end);
    *ret = (struct statement){ .text = split->at,
                               .length = (size_t)(end - split->at),
                               .line = split->line };
    move_to(split, end);
    return 1;
}

int split_line_of(const char *text, size_t length, long position)
{
    int line = 1;

    for (size_t i = 0; i < length && position > 1; i++) {
        bool starts_character = ((unsigned char)text[i] & 0xC0) != 0x80;

        if (starts_character)
            position--;
        line += text[i] == '\n';
    }
    return line;
}
