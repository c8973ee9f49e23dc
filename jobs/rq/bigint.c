/*
 * bigint.c - decimal digits to two's complement and back, by schoolbook arithmetic.
 *
 * Quadratic. Reading is part of a reader's time, so it takes 18 digits a step: a number
 * at the bound of bigint.h costs about 20 us. Writing one costs about a millisecond.
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

/* ---- reading: larger limbs ---- */

#define WIDE_LIMBS  (BIGINT_MAX_BYTES / 8 + 1)
#define STEP_DIGITS 18 /* as many as surely fit a limb */

/* limbs = limbs * factor + more. The new count of limbs. */
static size_t multiply_add(uint64_t limbs[WIDE_LIMBS], size_t count, uint64_t factor,
                           uint64_t more)
{
    unsigned __int128 carry = more;

    for (size_t i = 0; i < count; i++) {
        carry += (unsigned __int128)limbs[i] * factor;
        limbs[i] = (uint64_t)carry;
        carry >>= 64;
    }
    if (carry > 0)
        limbs[count++] = (uint64_t)carry;
    return count;
}

/* Up to STEP_DIGITS digits and the power of ten behind them. False: something else. */
static bool read_step(const char *digits, size_t length, uint64_t *ret_number,
                      uint64_t *ret_power)
{
    uint64_t number = 0;
    uint64_t power = 1;

    for (size_t i = 0; i < length; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            return false;
        number = number * 10 + (uint64_t)(digits[i] - '0');
        power *= 10;
    }
    *ret_number = number;
    *ret_power = power;
    return true;
}

struct value *bigint_read(struct arena *arena, const char *digits, size_t length)
{
    bool is_negative = length > 0 && digits[0] == '-';
    uint64_t limbs[WIDE_LIMBS];
    size_t count = 0;
    uint64_t number;
    uint64_t power;

    if (length > 0 && (digits[0] == '-' || digits[0] == '+')) {
        digits++;
        length--;
    }
    if (length == 0 || length > BIGINT_MAX_DIGITS)
        return NULL;
    for (size_t at = 0; at < length; at += STEP_DIGITS) {
        size_t step = length - at < STEP_DIGITS ? length - at : STEP_DIGITS;

        if (!read_step(digits + at, step, &number, &power))
            return NULL;
        count = multiply_add(limbs, count, power, number);
    }
    /* With a byte more for the sign. */
    uint8_t bytes[WIDE_LIMBS * 8 + 1];
    for (size_t i = 0; i < count * 8; i++)
        bytes[i] = (uint8_t)(limbs[i / 8] >> (8 * (i % 8)));
    bytes[count * 8] = 0;
    if (is_negative)
        negate(bytes, count * 8 + 1);
    return value_integer(arena, bytes, count * 8 + 1);
}
