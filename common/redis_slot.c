/*
 * redis_slot.c - see redis_slot.h.
 */
#include "common/redis_slot.h"
#include <stdbool.h>
#include <string.h>
#include <strings.h>

/* ---- CRC16 (XMODEM): polynomial 1021, a byte at a time ---- */

static uint16_t remainders[256];

static void fill_remainders(void)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        unsigned crc = byte << 8;

        for (int bit = 0; bit < 8; bit++)
            crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1;
        remainders[byte] = (uint16_t)crc;
    }
}

static uint16_t crc16(const char *data, size_t length)
{
    unsigned crc = 0;

    if (remainders[1] == 0)
        fill_remainders();
    for (size_t i = 0; i < length; i++)
        crc =
            (crc << 8 ^ remainders[(crc >> 8 ^ (unsigned char)data[i]) & 0xff]) & 0xffff;
    return (uint16_t)crc;
}

uint16_t redis_slot_of(const char *key, size_t length)
{
    const char *open = memchr(key, '{', length);

    if (open) {
        const char *tag = open + 1;
        const char *close = memchr(tag, '}', length - (size_t)(tag - key));

        if (close && close > tag)
            return crc16(tag, (size_t)(close - tag)) % REDIS_SLOTS;
    }
    return crc16(key, length) % REDIS_SLOTS;
}

/* ---- commands ---- */

static bool is_one_of(const char *word, size_t length, const char *const *names)
{
    for (; *names; names++) {
        if (strlen(*names) == length && strncasecmp(*names, word, length) == 0)
            return true;
    }
    return false;
}

const char *redis_key_of(size_t argc, const char *const *argv, const size_t *lengths,
                         size_t *ret_length)
{
    static const char *const keyless[] = { "PING",   "INFO",     "TIME",   "CLUSTER",
                                           "CLIENT", "CONFIG",   "SCRIPT", "PUBLISH",
                                           "KEYS",   "DBSIZE",   "SCAN",   "COMMAND",
                                           "WAIT",   "FLUSHALL", NULL };
    static const char *const scripts[] = { "EVAL", "EVALSHA", NULL };
    size_t verb = argc == 0 ? 0 : lengths ? lengths[0] : strlen(argv[0]), at = 1;

    if (argc < 2 || is_one_of(argv[0], verb, keyless))
        return NULL;
    if (is_one_of(argv[0], verb, scripts)) {
        if (argc < 4 || argv[2][0] == '0')
            return NULL;
        at = 3;
    }
    *ret_length = lengths ? lengths[at] : strlen(argv[at]);
    return argv[at];
}
