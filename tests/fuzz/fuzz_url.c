/*
 * fuzz_url.c - any bytes as a web address.
 */
#include "common/arena.h"
#include "common/url.h"
#include "tests/fuzz/fuzzing.h"
#include <string.h>

static void check_parts(const char *text)
{
    size_t length = strlen(text);
    const char *end = text + length;
    struct url url;

    if (!url_parse(text, length, &url))
        return;
    require(url.scheme == text && url.scheme_length > 0 && url.host_length > 0);
    require(url.host > url.scheme && url.host + url.host_length <= url.path);
    require(url.path + url.path_length <= url.query);
    require(url.query + url.query_length <= url.fragment);
    require(url.fragment + url.fragment_length <= end);
    require(url.port >= -1 && url.port <= 65535);
}

/* Normalising twice changes nothing, nor does it make a saveable URL another page. */
static void check_forms(struct arena *arena, const char *text)
{
    char *normal = url_normalise(arena, text);
    char *key = url_page_key(arena, text);

    require(strlen(normal) <= strlen(text) && strlen(key) <= strlen(text));
    require(strcmp(url_normalise(arena, normal), normal) == 0);
    require(strcmp(url_page_key(arena, key), key) == 0);
    if (url_is_saveable(text)) {
        require(url_is_saveable(normal));
        require(strcmp(url_page_key(arena, normal), key) == 0);
    }
}

static void check_escapes(struct arena *arena, const char *text)
{
    char *encoded = url_encode(arena, text);

    require(strcmp(url_decode(arena, encoded, strlen(encoded)), text) == 0);
    require(strlen(url_decode(arena, text, strlen(text))) <= strlen(text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_new(0);
    char *text = url_clean(arena, (const char *)data, size);

    require(strcmp(url_clean(arena, text, strlen(text)), text) == 0);
    check_parts(text);
    check_forms(arena, text);
    check_escapes(arena, text);
    arena_free(arena);
    return 0;
}
