/*
 * redis_slot.h - which of a Redis Cluster's 16,384 slots a key belongs to.
 *
 * CRC16 (XMODEM) of the key, or of what stands between its first `{` and the `}`
 * behind it when that is not empty: so all keys with {u12} in them share a slot.
 */
#ifndef FORKMARK_COMMON_REDIS_SLOT_H
#define FORKMARK_COMMON_REDIS_SLOT_H

#include <stddef.h>
#include <stdint.h>

#define REDIS_SLOTS 16384

uint16_t redis_slot_of(const char *key, size_t length);

/*
 * The key by which a command finds its node: the first one, as far as our commands go.
 * NULL: it has none, and any node will do. lengths NULL: strlen.
 */
const char *redis_key_of(size_t argc, const char *const *argv, const size_t *lengths,
                         size_t *ret_length);

#endif
