/*
 * Any bytes as a page: the first byte chooses what the server said they are.
 * What comes out must be UTF-8 that a database takes, and the raw data JSON.
 */
#include "common/utf8.h"
#include "jobs/extract/charset.h"
#include "jobs/extract/extract.h"

#include <cjson/cJSON.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const content_types[] = {
    "text/html",
    "",
    "text/html; charset=utf-8",
    "text/html; charset=shift_jis",
    "text/html; charset=gb2312",
    "text/plain",
    "text/html; charset=utf-16",
    "image/png",
};

static void must(int is_true)
{
    if (!is_true)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;

    struct extract *extract =
        extract_page((const char *)data + 1, size - 1, content_types[data[0] & 7],
                     "http://example.org/a?b");
    must(strlen(extract->text) == extract->text_length);
    must(utf8_is_valid(extract->text, extract->text_length));
    must(utf8_is_valid(extract->title, strlen(extract->title)));
    must(extract->quality_score >= 0 && extract->quality_score <= 100);
    cJSON *metadata = cJSON_Parse(extract->metadata);
    must(metadata != NULL);
    cJSON_Delete(metadata);
    extract_free(extract);
    return 0;
}
