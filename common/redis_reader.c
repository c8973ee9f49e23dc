/*
 * redis_reader.c - see redis_reader.h.
 */
#include "common/redis_reader.h"
#include "common/log.h"

#if HIREDIS_MAJOR >= 1

static void limit(redisReader *reader)
{
    reader->maxelements = REDIS_READER_ITEMS;
}

#else /* which has no such limit: an array that is too long finds no memory */

static redisReplyObjectFunctions limited, unlimited;

static void *create_array(const redisReadTask *task, int count)
{
    return count > REDIS_READER_ITEMS ? NULL : unlimited.createArray(task, count);
}

static void limit(redisReader *reader)
{
    unlimited = limited = *reader->fn;
    limited.createArray = create_array;
    reader->fn = &limited;
}

#endif

redisReader *redis_reader_new(void)
{
    redisReader *reader = redisReaderCreate();

    if (!reader)
        fatal("out of memory");
    limit(reader);
    return reader;
}
