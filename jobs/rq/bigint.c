/*
 * bigint.c - decimal digits to two's complement and back, by schoolbook division.
 *
 * Quadratic, which the bounds of bigint.h keep to well under a millisecond.
 */
#include "jobs/rq/bigint.h"
#include "common/buf.h"
#include "jobs/rq/value.h"
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define LIMBS   (BIGINT_MAX_BYTES / 4 + 1)
#define BILLION 1000000000U

/* A magnitude, least significant limb first. */
struct magnitude {
    uint32_t limbs[LIMBS];
    size_t count; /* without leading zeros */
};

static void trim(struct magnitude *number)
{
    while (number->count > 0 && number->limbs[number->count - 1] == 0)
        number->count--;
}

/* Two's complement: invert and add one. */
static void negate(uint8_t *bytes, size_t length)
{
    unsigned carry = 1;

    for (size_t i = 0; i < length; i++) {
        unsigned sum = (uint8_t)~bytes[i] + carry;

        bytes[i] = (uint8_t)sum;
        carry = sum >> 8;
    }
}

/* The number's remainder by a billion; the number becomes its quotient. */
static uint32_t divide_by_billion(struct magnitude *number)
{
    uint64_t rest = 0;

    for (size_t i = number->count; i-- > 0;) {
        uint64_t part = rest << 32 | number->limbs[i];

        number->limbs[i] = (uint32_t)(part / BILLION);
        rest = part % BILLION;
    }
    trim(number);
    return (uint32_t)rest;
}

void bigint_write(struct buf *out, const void *bytes, size_t length)
{
    uint8_t copy[LIMBS * 4] = { 0 };
    uint32_t parts[LIMBS * 32 / 29 + 2];
    struct magnitude number = { .count = LIMBS };
    size_t part_count = 0;

    assert(length <= BIGINT_MAX_BYTES);
    memcpy(copy, bytes, length);
    if (length > 0 && copy[length - 1] & 0x80) {
        buf_addc(out, '-');
        negate(copy, length);
    }
    for (size_t i = 0; i < LIMBS; i++)
        number.limbs[i] = (uint32_t)copy[i * 4] | (uint32_t)copy[i * 4 + 1] << 8 |
                          (uint32_t)copy[i * 4 + 2] << 16 |
                          (uint32_t)copy[i * 4 + 3] << 24;
    trim(&number);
    do {
        parts[part_count++] = divide_by_billion(&number);
    } while (number.count > 0);
    buf_addf(out, "%u", parts[--part_count]);
    while (part_count > 0)
        buf_addf(out, "%09u", parts[--part_count]);
}

/* number = number * 10 + digit. */
static void push_digit(struct magnitude *number, uint32_t digit)
{
    uint64_t carry = digit;

    for (size_t i = 0; i < number->count; i++) {
        uint64_t part = (uint64_t)number->limbs[i] * 10 + carry;

        number->limbs[i] = (uint32_t)part;
        carry = part >> 32;
    }
    if (carry > 0)
        number->limbs[number->count++] = (uint32_t)carry;
}

struct value *bigint_read(struct arena *arena, const char *digits, size_t length)
{
    bool is_negative = length > 0 && digits[0] == '-';
    struct magnitude number = { .count = 0 };
    uint8_t bytes[LIMBS * 4 + 1] = { 0 };

    if (length > 0 && (digits[0] == '-' || digits[0] == '+')) {
        digits++;
        length--;
    }
    if (length == 0 || length > BIGINT_MAX_DIGITS)
        return NULL;
    for (size_t i = 0; i < length; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            return NULL;
        push_digit(&number, (uint32_t)(digits[i] - '0'));
    }
    for (size_t i = 0; i < number.count; i++) {
        for (size_t k = 0; k < 4; k++)
            bytes[i * 4 + k] = (uint8_t)(number.limbs[i] >> (8 * k));
    }
    if (is_negative)
        negate(bytes, number.count * 4 + 1);
    return value_integer(arena, bytes, number.count * 4 + 1);
}
