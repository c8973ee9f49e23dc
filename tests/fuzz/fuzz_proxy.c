/*
 * fuzz_proxy.c - any bytes as a PROXY header.
 *
 * A header is what it is however it comes: every cut of a good one waits for more, what
 * follows does not matter, and the parser answers `more` only while there may be more.
 */
#include "tests/fuzz/fuzzing.h"
#include "worker/proxy_protocol.h"
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

static bool is_same(const struct proxy_header *a, const struct proxy_header *b)
{
    return a->length == b->length && a->is_local == b->is_local &&
           a->address_length == b->address_length &&
           memcmp(&a->address, &b->address, sizeof(a->address)) == 0;
}

static void check_good(const uint8_t *data, size_t size,
                       const struct proxy_header *header)
{
    struct proxy_header other;

    require(header->length > 0 && header->length <= size);
    require(header->length <= PROXY_HEADER_MAX);
    require(header->is_local || header->address_length <= sizeof(header->address));
    if (!header->is_local)
        require(header->address.ss_family == AF_INET ||
                header->address.ss_family == AF_INET6 ||
                header->address.ss_family == AF_UNIX);
    require(proxy_parse(data, header->length, &other) == PROXY_GOOD);
    require(is_same(header, &other));
    for (size_t cut = 0; cut < header->length; cut++)
        require(proxy_parse(data, cut, &other) == PROXY_MORE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proxy_header header;
    /* Of exactly that size: a byte read past it is found. */
    uint8_t *copy = malloc(size > 0 ? size : 1);

    require(copy != NULL);
    memcpy(copy, data, size);
    enum proxy_state state = proxy_parse(copy, size, &header);
    if (state == PROXY_GOOD)
        check_good(copy, size, &header);
    else
        require(state == PROXY_BAD || size < PROXY_HEADER_MAX);
    free(copy);
    return 0;
}
