/*
 * families.c - see families.h.
 *
 * The memory is a table of fixed size in which a newer family replaces an older
 * one of the same slot: losing an entry costs a query, never a wrong answer.
 */
#include "worker/families.h"
#include "common/clock.h"
#include "common/ids.h"
#include "queries.h"
#include <errno.h>
#include <string.h>

#define SLOTS       4096 /* a power of two; 240 KiB, touched only while Redis is away */
#define REMEMBER_MS 5000

static struct memory {
    char family_id[UUID_SIZE];
    int32_t user_id;
    bool is_good;
    uint64_t until_ms;
} memory[SLOTS];

static struct memory *slot_of(const char *family_id)
{
    uint32_t hash = 2166136261U;

    for (const char *c = family_id; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 16777619U;
    return &memory[hash & (SLOTS - 1)];
}

static void remember(int32_t user_id, const char *family_id, bool is_good)
{
    struct memory *slot = slot_of(family_id);

    slot->user_id = user_id;
    slot->is_good = is_good;
    slot->until_ms = clock_ms() + REMEMBER_MS;
    strncpy(slot->family_id, family_id, sizeof(slot->family_id) - 1);
}

/*
 * A replica's "no" is worth nothing: it may have lost its link, and its user all
 * sessions. 1, 0, or a negative errno.
 */
static int ask(struct pg *pg, const struct pg_reader *reader, int32_t user_id,
               const char *family_id)
{
    struct pg_reader first = *reader, primary = { .freshness = PG_FRESH_PRIMARY };
    struct pg_rows rows;
    int rc = pg_read(pg, &first, &sql_family_is_good,
                     PG_ARGS(pg_int(user_id), pg_text(family_id)), &rows);

    if (rc == 0 && rows.count == 0 &&
        (first.was_behind || first.freshness != PG_FRESH_PRIMARY))
        rc = pg_read(pg, &primary, &sql_family_is_good,
                     PG_ARGS(pg_int(user_id), pg_text(family_id)), &rows);
    if (rc == 0 && rows.count == 0 && (first.was_behind || primary.was_behind))
        rc = -EAGAIN;
    return rc < 0 ? rc : rows.count > 0;
}

int family_check(struct pg *pg, const struct pg_reader *reader, int32_t user_id,
                 const char *family_id, bool may_remember)
{
    const struct memory *slot = slot_of(family_id);

    if (may_remember && slot->until_ms > clock_ms() && slot->user_id == user_id &&
        strcmp(slot->family_id, family_id) == 0)
        return slot->is_good;

    int rc = ask(pg, reader, user_id, family_id);
    if (rc >= 0 && may_remember)
        remember(user_id, family_id, rc > 0);
    return rc;
}

void family_forget(const char *family_id)
{
    struct memory *slot = slot_of(family_id);

    if (strcmp(slot->family_id, family_id) == 0)
        slot->is_good = false;
}
