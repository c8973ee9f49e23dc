/*
 * fixtures.h - captured RQ data (tests/interop/fixtures) for the codec's tests.
 */
#ifndef FORKMARK_TESTS_UNIT_JOBS_RQ_FIXTURES_H
#define FORKMARK_TESTS_UNIT_JOBS_RQ_FIXTURES_H

#include "common/arena.h"
#include "common/buf.h"
#include "jobs/rq/base64.h"
#include "jobs/rq/payload.h"
#include <cjson/cJSON.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static inline cJSON *load(const char *name)
{
    char path[512];
    struct buf text = BUF_HEAP;
    char block[65536];
    size_t got;

    snprintf(path, sizeof(path), "%s/interop/fixtures/%s", TEST_DATA, name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while ((got = fread(block, 1, sizeof(block), file)) > 0)
        buf_add(&text, block, got);
    fclose(file);
    cJSON *json = cJSON_Parse(buf_text(&text));
    assert_non_null(json);
    buf_done(&text);
    return json;
}

static inline const char *text_of(const cJSON *row, const char *key)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(row, key));

    return text ? text : "";
}

static inline void unhex(struct buf *out, const char *hex)
{
    for (; hex[0] && hex[1]; hex += 2) {
        char pair[3] = { hex[0], hex[1], '\0' };
        buf_addc(out, (char)strtoul(pair, NULL, 16));
    }
}

/* The `data` field of a row. */
static inline void read_row(const cJSON *row, struct arena *arena, struct buf *out)
{
    struct buf plain = BUF_IN(arena);

    if (cJSON_HasObjectItem(row, "data_b64")) {
        const char *text = text_of(row, "data_b64");
        assert_true(base64_read(out, text, strlen(text)));
        return;
    }
    unhex(&plain, text_of(row, "inflated_hex"));
    payload_deflate(plain.data, plain.length, out);
}

#endif
