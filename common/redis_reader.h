/*
 * redis_reader.h - hiredis' reader of replies, which believes no absurd length.
 *
 * An array's head alone makes hiredis allocate the whole of it: what is no Redis, or a
 * broken one, would ask for gigabytes with a dozen bytes.
 */
#ifndef FORKMARK_COMMON_REDIS_READER_H
#define FORKMARK_COMMON_REDIS_READER_H

#include <hiredis/hiredis.h>

/* Replies have no arrays longer than this; reading one is an error. */
#define REDIS_READER_ITEMS (16 << 20)

/* Never NULL; end it with redisReaderFree(). */
redisReader *redis_reader_new(void);

#endif
