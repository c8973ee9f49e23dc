/*
 * redis_resp.c - see redis_resp.h.
 */
#include "common/redis_resp.h"
#include "common/buf.h"
#include "common/redis_slot.h"
#include <assert.h>
#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_SIZE 24

/* Writes `number` so that it ends at `end`; returns where it begins. */
static char *write_number(char *end, unsigned long long number)
{
    do {
        *--end = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    return end;
}

static void add_prefix(struct buf *out, char kind, size_t number)
{
    char text[NUMBER_SIZE + 3], *end = text + NUMBER_SIZE;
    char *start = write_number(end, number);

    *--start = kind;
    end[0] = '\r';
    end[1] = '\n';
    buf_add(out, start, (size_t)(end + 2 - start));
}

void redis_resp_head(struct buf *out, size_t argc)
{
    add_prefix(out, '*', argc);
}

void redis_resp_arg(struct buf *out, const char *data, size_t length)
{
    add_prefix(out, '$', length);
    buf_add(out, data, length);
    buf_add(out, "\r\n", 2);
}

void redis_resp_int(struct buf *out, long long number)
{
    char text[NUMBER_SIZE], *end = text + sizeof(text);
    bool is_negative = number < 0;
    unsigned long long size =
        is_negative ? 0ULL - (unsigned long long)number : (unsigned long long)number;
    char *start = write_number(end, size);

    if (is_negative)
        *--start = '-';
    redis_resp_arg(out, start, (size_t)(end - start));
}

void redis_resp_argv(struct buf *out, size_t argc, const char *const *argv,
                     const size_t *lengths)
{
    redis_resp_head(out, argc);
    for (size_t i = 0; i < argc; i++)
        redis_resp_arg(out, argv[i], lengths ? lengths[i] : strlen(argv[i]));
}

void redis_resp_format(struct buf *out, const char *format, va_list args)
{
    char *command;
    int length = redisvFormatCommand(&command, format, args);

    assert(length > 0);
    /* The arena may end the task here; the command would leak, a few bytes once. */
    buf_reserve(out, (size_t)length);
    buf_add(out, command, (size_t)length);
    redisFreeCommand(command);
}

#define KEY_ARGS 4 /* EVALSHA sha 1 key */

/* What is read here was written above: its form is right. */
const char *redis_resp_key(const struct buf *text, size_t offset, size_t *ret_length)
{
    const char *argv[KEY_ARGS], *at = text->data + offset + 1;
    size_t lengths[KEY_ARGS], argc = strtoul(at, NULL, 10);

    if (argc > KEY_ARGS)
        argc = KEY_ARGS;
    for (size_t i = 0; i < argc; i++) {
        at = strchr(at, '\n') + 2; /* past "\r\n$" */
        lengths[i] = strtoul(at, NULL, 10);
        argv[i] = strchr(at, '\n') + 1;
        at = argv[i] + lengths[i];
    }
    return redis_key_of(argc, argv, lengths, ret_length);
}
