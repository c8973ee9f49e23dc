/*
 * redis_resp.c - see redis_resp.h.
 */
#include "common/redis_resp.h"
#include "common/buf.h"
#include <stdbool.h>
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
