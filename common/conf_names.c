/*
 * conf_names.c - finding options and groups by name, and the name that was meant.
 */
#include "common/conf_internal.h"
#include <string.h>

#define NOT_NEAR 4

/*
 * Second names. Beside database.replicas one speaks of the primary; alone it is "the
 * database", as it has always been in DATABASE_URL and in every file there is: nobody
 * has to rename anything when the first replica comes.
 */
static const struct {
    const char *alias, *path;
} aliases[] = {
    { "database.primary", "database.url" },
};

static const char *canonical(const char *path)
{
    for (size_t i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++) {
        if (strcmp(aliases[i].alias, path) == 0)
            return aliases[i].path;
    }
    return path;
}

const struct conf_key *conf_find(const char *path)
{
    size_t count;
    const struct conf_key *keys = conf_keys(&count);

    path = canonical(path);

    for (size_t i = 0; i < count; i++) {
        if (strcmp(keys[i].path, path) == 0)
            return &keys[i];
    }
    return NULL;
}

bool conf_is_group(const char *path)
{
    size_t count, length = strlen(path);
    const struct conf_key *keys = conf_keys(&count);
    size_t group_count;
    const struct conf_group *groups = conf_groups(&group_count);
    const struct conf_group *of = conf_group_of(path);

    for (size_t i = 0; i < group_count; i++) {
        if (strcmp(path, groups[i].path) == 0)
            return true;
    }
    for (size_t i = 0; i < count; i++) {
        if (strncmp(keys[i].path, path, length) == 0 && keys[i].path[length] == '.')
            return true;
    }
    return of && !strchr(path + strlen(of->path) + 1, '.');
}

static size_t least(size_t a, size_t b, size_t c)
{
    size_t ab = a < b ? a : b;

    return ab < c ? ab : c;
}

size_t conf_distance(const char *a, const char *b)
{
    size_t rows[3][128], a_length = strlen(a), b_length = strlen(b);

    if (a_length > 127 || b_length > 127)
        return 127;
    for (size_t j = 0; j <= b_length; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        size_t *now = rows[i % 3], *last = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];

        now[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            now[j] =
                least(last[j] + 1, now[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = least(now[j], before[j - 2] + 1, now[j]);
        }
    }
    return rows[a_length % 3][b_length];
}

static const char *last_part(const char *path)
{
    const char *dot = strrchr(path, '.');

    return dot ? dot + 1 : path;
}

/* The better part of a short name must be right, or any name would suggest another. */
static size_t limit_for(const char *path)
{
    size_t half = strlen(last_part(path)) / 2 + 1;

    return half < NOT_NEAR ? half : NOT_NEAR;
}

static const char *suggestion(struct arena *arena, const char *name)
{
    return *name ? arena_printf(arena, "; did you mean `%s`?", name) : "";
}

const char *conf_nearest(struct arena *arena, const char *path)
{
    size_t count, best = limit_for(path);
    const struct conf_key *keys = conf_keys(&count);
    const char *nearest = "";

    for (size_t i = 0; i < count; i++) {
        size_t far = conf_distance(path, keys[i].path);

        /* The right name in the wrong group is near, too. */
        if (far > 2 && strcmp(last_part(path), last_part(keys[i].path)) == 0)
            far = 2;
        if (far < best) {
            best = far;
            nearest = keys[i].path;
        }
    }
    return suggestion(arena, nearest);
}

const char *conf_nearest_group(struct arena *arena, const char *path)
{
    size_t count, best = limit_for(path);
    const struct conf_key *keys = conf_keys(&count);
    const char *nearest = "";
    size_t group_count;
    const struct conf_group *groups = conf_groups(&group_count);

    for (size_t i = 0; i < group_count; i++) {
        if (conf_distance(path, groups[i].path) >= best)
            continue;
        best = conf_distance(path, groups[i].path);
        nearest = groups[i].path;
    }
    for (size_t i = 0; i < count; i++) {
        const char *group =
            arena_strndup(arena, keys[i].path, strcspn(keys[i].path, "."));

        if (conf_distance(path, group) < best) {
            best = conf_distance(path, group);
            nearest = group;
        }
    }
    return suggestion(arena, nearest);
}
