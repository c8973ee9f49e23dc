/*
 * fuzz_redis_cluster.c - any bytes as replies of a cluster's node: each is read as a map
 * of the slots and as a redirection. What is taken holds what its readers rely on.
 */
#include "common/arena.h"
#include "common/redis_reader.h"
#include "common/redis_redirect.h"
#include "common/redis_slot.h"
#include "common/redis_slots.h"
#include "tests/fuzz/fuzzing.h"
#include <stdlib.h>
#include <string.h>

static void check_port(const char *port)
{
    long number = strtol(port, NULL, 10);

    require(number >= 1 && number <= 65535);
}

static void check_map(const struct slots_map *map)
{
    require(map->range_count > 0);
    for (size_t i = 0; i < map->range_count; i++) {
        const struct slots_range *range = &map->ranges[i];

        require(range->first <= range->last && range->last < REDIS_SLOTS);
        require(range->place_count > 0);
        for (size_t k = 0; k < range->place_count; k++) {
            require(strlen(range->places[k].host) < 256 && *range->places[k].host);
            check_port(range->places[k].port);
        }
    }
}

static void check_reply(const redisReply *reply)
{
    struct arena *arena = arena_new(0);
    struct slots_map map;
    struct redirect redirect = { 0 };

    if (redis_slots_read(reply, "asked", arena, &map))
        check_map(&map);
    redis_redirect_read(reply, &redirect);
    if (redirect.kind == REDIRECT_MOVED || redirect.kind == REDIRECT_ASK) {
        require(redirect.slot < REDIS_SLOTS && strlen(redirect.host) < 256);
        check_port(redirect.port);
    }
    arena_free(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    redisReader *reader = redis_reader_new();
    void *reply = NULL;

    redisReaderFeed(reader, (const char *)data, size);
    while (redisReaderGetReply(reader, &reply) == REDIS_OK && reply) {
        check_reply(reply);
        freeReplyObject(reply);
    }
    redisReaderFree(reader);
    if (size > 0)
        require(redis_slot_of((const char *)data, size) < REDIS_SLOTS);
    return 0;
}
