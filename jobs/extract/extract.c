/*
 * extract.c - a page from bytes to what a bookmark keeps.
 *
 * The steps in order: what kind of content, which charset, the tree, what it says
 * about itself, what there is to read, and what follows from that.
 */
#include "jobs/extract/extract.h"

#include "common/buf.h"
#include "common/ids.h"
#include "common/utf8.h"
#include "jobs/extract/charset.h"
#include "jobs/extract/metadata.h"
#include "jobs/extract/page.h"
#include "jobs/extract/payload.h"
#include "jobs/extract/quality.h"
#include "jobs/extract/text.h"
#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define WORDS_PER_MINUTE 200
#define MAX_HEADINGS     200
/* Larger than any article; what a database row and its index can reasonably hold. */
#define MAX_TEXT ((size_t)2 << 20)

enum content_kind { CONTENT_OTHER, CONTENT_HTML, CONTENT_TEXT };

static const struct {
    const char *type;
    enum content_kind kind;
} kinds[] = {
    { "text/html", CONTENT_HTML },       { "application/xhtml+xml", CONTENT_HTML },
    { "text/plain", CONTENT_TEXT },      { "text/markdown", CONTENT_TEXT },
    { "text/x-markdown", CONTENT_TEXT },
};

static const char *skip_space(const char *body, const char *end)
{
    if (end - body >= 3 && memcmp(body, "\xEF\xBB\xBF", 3) == 0)
        body += 3;
    while (body < end && isspace((unsigned char)*body))
        body++;
    return body;
}

/* A server that does not say: a tag is HTML, text without NUL bytes is text. */
static enum content_kind guess_kind(const char *body, size_t length)
{
    const char *start = skip_space(body, body + length);

    if (start < body + length && *start == '<')
        return CONTENT_HTML;
    return memchr(body, '\0', length) == NULL && utf8_is_valid(body, length)
               ? CONTENT_TEXT
               : CONTENT_OTHER;
}

static enum content_kind kind_of(const char *content_type, const char *body,
                                 size_t length)
{
    content_type += strspn(content_type, " \t");
    size_t size = strcspn(content_type, "; \t");

    if (size == 0)
        return guess_kind(body, length);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (size == strlen(kinds[i].type) &&
            strncasecmp(content_type, kinds[i].type, size) == 0)
            return kinds[i].kind;
    }
    return CONTENT_OTHER;
}

/* Cuts to `max` bytes at a character's start, and takes white space off both ends. */
static char *finish_text(struct buf *text, size_t max)
{
    const char *data = buf_text(text);
    size_t length = text->length;

    if (length > max) {
        length = max;
        while (length > 0 && ((unsigned char)data[length] & 0xC0) == 0x80)
            length--;
    }
    while (length > 0 && isspace((unsigned char)data[length - 1]))
        length--;
    while (length > 0 && isspace((unsigned char)*data)) {
        data++;
        length--;
    }
    char *result = strndup(data, length);
    buf_done(text);
    return result;
}

static char **split_lines(const char *text)
{
    char **lines = calloc(MAX_HEADINGS + 1, sizeof(*lines));

    for (size_t count = 0; lines && *text && count < MAX_HEADINGS; count++) {
        size_t length = strcspn(text, "\n");
        lines[count] = strndup(text, length);
        text += length + (text[length] == '\n');
    }
    return lines;
}

static void take_fields(struct extract *extract, const struct metadata *metadata)
{
    extract->title = strdup(metadata_text(metadata, META_TITLE));
    extract->author = strdup(metadata_text(metadata, META_AUTHOR));
    extract->description = strdup(metadata_text(metadata, META_DESCRIPTION));
    extract->canonical_url = strdup(metadata_text(metadata, META_CANONICAL));
    extract->image = strdup(metadata_text(metadata, META_IMAGE));
    extract->language = strdup(metadata_text(metadata, META_LANGUAGE));
    extract->published_at = strdup(metadata_text(metadata, META_PUBLISHED));
}

/* What follows from title and text; `page` NULL for plain text. */
static void derive(struct extract *extract, xmlNode *root, const char *source,
                   size_t source_length)
{
    extract->text_length = strlen(extract->text);
    sha256_hex(extract->text, extract->text_length, extract->content_hash);
    extract->words = quality_count_words(extract->text);
    extract->reading_time = extract->words / WORDS_PER_MINUTE;
    if (extract->reading_time == 0 && extract->words > 0)
        extract->reading_time = 1;
    extract->quality_score =
        quality_score(&(struct quality){ .title = extract->title,
                                         .text = extract->text,
                                         .words = extract->words,
                                         .root = root,
                                         .page = source,
                                         .page_length = source_length });
}

static void read_html(struct extract *extract, const char *source, size_t length,
                      const char *url)
{
    struct buf text = BUF_HEAP, headings = BUF_HEAP, payload = BUF_HEAP;
    struct metadata metadata;
    struct page page;

    page_parse(&page, source, length);
    metadata_read(&metadata, page.root, url);
    take_fields(extract, &metadata);
    text_of_page(page.root, &text, &headings);
    extract->text = finish_text(&text, MAX_TEXT);
    extract->headings = split_lines(buf_text(&headings));
    payload_of_page(&metadata, page.root, url, &payload);
    extract->metadata = strdup(buf_text(&payload));
    derive(extract, page.root, source, length);
    buf_done(&headings);
    buf_done(&payload);
    metadata_done(&metadata);
    page_done(&page);
}

/* Only a text, or not even that. */
static void read_bare(struct extract *extract, const char *text, size_t length)
{
    struct metadata none = { 0 };
    struct buf copy = BUF_HEAP;

    buf_add(&copy, text, length);
    take_fields(extract, &none);
    extract->text = finish_text(&copy, MAX_TEXT);
    extract->headings = split_lines("");
    extract->metadata = strdup(PAYLOAD_EMPTY);
    derive(extract, NULL, "", 0);
}

struct extract *extract_page(const char *body, size_t length, const char *content_type,
                             const char *url)
{
    struct extract *extract = calloc(1, sizeof(*extract));
    enum content_kind kind = kind_of(content_type, body, length);
    size_t size = 0;

    if (!extract)
        abort();
    if (kind == CONTENT_OTHER) {
        read_bare(extract, "", 0);
        extract->quality_score = 0;
        return extract;
    }
    char *source =
        charset_to_utf8(body, length, content_type, kind == CONTENT_HTML, &size);
    if (kind == CONTENT_HTML)
        read_html(extract, source, size, url);
    else
        read_bare(extract, source, size);
    free(source);
    return extract;
}

void extract_free(struct extract *extract)
{
    if (!extract)
        return;
    free(extract->title);
    free(extract->text);
    free(extract->description);
    free(extract->author);
    free(extract->language);
    free(extract->canonical_url);
    free(extract->image);
    free(extract->published_at);
    free(extract->metadata);
    for (char **line = extract->headings; line && *line; line++)
        free(*line);
    free(extract->headings);
    free(extract);
}
