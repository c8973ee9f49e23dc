/*
 * request_id.c - see request_id.h.
 *
 * xoshiro256** by David Blackman and Sebastiano Vigna (public domain algorithm).
 */
#include "worker/request_id.h"
#include <stdbool.h>

static uint64_t state[4];

static uint64_t rotate(uint64_t x, int by)
{
    return (x << by) | (x >> (64 - by));
}

static uint64_t next_number(void)
{
    uint64_t result = rotate(state[1] * 5, 7) * 9;
    uint64_t t = state[1] << 17;

    state[2] ^= state[0];
    state[3] ^= state[1];
    state[1] ^= state[2];
    state[0] ^= state[3];
    state[2] ^= t;
    state[3] = rotate(state[3], 45);
    return result;
}

/* After the fork: a worker is one process for all its life. */
static void seed_once(void)
{
    static bool is_seeded;

    if (!is_seeded)
        id_random(state, sizeof(state));
    is_seeded = true;
}

void request_id_new(char ret[UUID_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    static const char form[] = "xxxxxxxx-xxxx-4xxx-yxxx-xxxxxxxxxxxx";
    uint64_t bits = 0;
    int left = 0;

    seed_once();
    for (size_t i = 0; form[i]; i++) {
        if (form[i] != 'x' && form[i] != 'y') {
            ret[i] = form[i];
            continue;
        }
        if (left == 0) {
            bits = next_number();
            left = 16;
        }
        unsigned digit = bits & 15;
        ret[i] = digits[form[i] == 'y' ? (digit & 3) | 8 : digit];
        bits >>= 4;
        left--;
    }
    ret[UUID_SIZE - 1] = '\0';
}
