/*
 * redis_slots.c - see redis_slots.h.
 *
 * [[first, last, [host, port, id, more ...] for the primary and each replica] ...]
 */
#include "common/redis_slots.h"
#include "common/arena.h"
#include "common/redis_slot.h"
#include <stdio.h>
#include <string.h>

#define MOST_PLACES  64 /* of one range */
#define LONGEST_HOST 255

static bool is_number(const redisReply *reply, long long least, long long most)
{
    return reply->type == REDIS_REPLY_INTEGER && reply->integer >= least &&
           reply->integer <= most;
}

/* False: this node is of no use. */
static bool read_place(const redisReply *node, const char *asked_host,
                       struct slots_place *ret)
{
    if (node->type != REDIS_REPLY_ARRAY || node->elements < 2 ||
        !is_number(node->element[1], 1, 65535))
        return false;

    const redisReply *host = node->element[0];
    if (host->type == REDIS_REPLY_NIL || (host->type == REDIS_REPLY_STRING && !host->len))
        ret->host = asked_host;
    else if (host->type == REDIS_REPLY_STRING && host->len <= LONGEST_HOST &&
             strlen(host->str) == host->len && strcmp(host->str, "?") != 0)
        ret->host = host->str;
    else
        return false;
    snprintf(ret->port, sizeof(ret->port), "%u", (unsigned)node->element[1]->integer);
    return true;
}

/* False: the reply is no list of ranges. A range without a primary counts as nobody's. */
static bool read_range(const redisReply *range, const char *asked_host,
                       struct arena *arena, struct slots_range *ret)
{
    if (range->type != REDIS_REPLY_ARRAY || range->elements < 2 ||
        range->elements > 2 + MOST_PLACES ||
        !is_number(range->element[0], 0, REDIS_SLOTS - 1) ||
        !is_number(range->element[1], range->element[0]->integer, REDIS_SLOTS - 1))
        return false;

    struct slots_place *places =
        arena_array(arena, range->elements, sizeof(places[0])); /* never empty */
    ret->first = (uint16_t)range->element[0]->integer;
    ret->last = (uint16_t)range->element[1]->integer;
    ret->places = places;
    ret->place_count = 0;
    for (size_t i = 2; i < range->elements; i++) {
        if (read_place(range->element[i], asked_host, &places[ret->place_count]))
            ret->place_count++;
        else if (i == 2)
            break; /* its replicas are not to be taken for the primary */
    }
    return true;
}

bool redis_slots_read(const redisReply *reply, const char *asked_host,
                      struct arena *arena, struct slots_map *ret)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements == 0 ||
        reply->elements > REDIS_SLOTS)
        return false;

    struct slots_range *ranges = arena_array(arena, reply->elements, sizeof(ranges[0]));
    *ret = (struct slots_map){ .ranges = ranges };
    for (size_t i = 0; i < reply->elements; i++) {
        struct slots_range *range = &ranges[ret->range_count];

        if (!read_range(reply->element[i], asked_host, arena, range))
            return false;
        if (range->place_count == 0)
            continue;
        ret->slot_count += (size_t)(range->last - range->first) + 1;
        ret->range_count++;
    }
    return ret->range_count > 0;
}
