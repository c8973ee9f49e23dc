/*
 * bookmark_form.c - see bookmark_form.h.
 */
#include "worker/handlers/bookmark_form.h"
#include "common/arena.h"
#include "common/buf.h"
#include "common/url.h"
#include "common/utf8.h"
#include "worker/handlers/forms.h"

#include <string.h>

#define TITLE_MAX    200 /* the column's width */
#define TITLE_CUT    197
#define TITLE_WORD   150 /* a space behind this is a good place to cut */
#define CATEGORY_MAX 100
#define TEXT_MAX     10000
#define NOTES_MAX    100000

#define MISSING_URL "{\"error\":\"Missing required fields\",\"missing_fields\":[\"url\"]}"
#define EMPTY_URL   "{\"message\":\"URL is required\"}"
#define BAD_URL     "{\"message\":\"" BOOKMARK_BAD_URL "\"}"

/* {"error":"Field title exceeds maximum length"} */
static const char *field_problem(struct arena *arena, const char *key, const char *what)
{
    return arena_printf(arena, "{\"error\":\"Field %s %s\"}", key, what);
}

/* Trimmed; NULL when absent or blank. False when it is no text or too long. */
static bool read_text(struct arena *arena, const cJSON *body, const char *key, size_t max,
                      const char **ret, const char **ret_problem)
{
    const char *text;

    *ret = NULL;
    switch (form_field(body, key, &text)) {
    case FORM_ABSENT:
        return true;
    case FORM_OTHER:
        *ret_problem = field_problem(arena, key, "must be a text");
        return false;
    case FORM_TEXT:
        break;
    }
    if (utf8_count(text) > max) {
        *ret_problem = field_problem(arena, key, "exceeds maximum length");
        return false;
    }
    text = form_trim(arena, text);
    if (text[0] != '\0')
        *ret = text;
    return true;
}

const char *bookmark_title(struct arena *arena, const char *text)
{
    if (utf8_count(text) <= TITLE_MAX)
        return text;

    const char *cut = form_cut(arena, text, TITLE_CUT);
    const char *space = strrchr(cut, ' ');
    size_t length = strlen(cut);
    /* Compared in characters, as the cut itself is. */
    if (space &&
        utf8_count(arena_strndup(arena, cut, (size_t)(space - cut))) > TITLE_WORD)
        length = (size_t)(space - cut);
    return arena_printf(arena, "%.*s...", (int)length, cut);
}

static void add_tag(struct arena *arena, struct buf *out, const char *text, size_t length)
{
    const char *tag = form_trim(arena, arena_strndup(arena, text, length));

    if (tag[0] == '\0')
        return;
    if (out->length > 0)
        buf_addc(out, ',');
    buf_adds(out, tag);
}

static void add_tags(struct arena *arena, struct buf *out, const char *text)
{
    while (*text) {
        size_t length = strcspn(text, ",");

        add_tag(arena, out, text, length);
        text += length + (text[length] == ',');
    }
}

const char *bookmark_tags(struct arena *arena, const cJSON *tags)
{
    struct buf joined = BUF_IN(arena);
    const cJSON *item;

    if (cJSON_IsString(tags))
        add_tags(arena, &joined, tags->valuestring);
    if (cJSON_IsArray(tags)) {
        cJSON_ArrayForEach(item, tags)
        {
            if (cJSON_IsString(item))
                add_tags(arena, &joined, item->valuestring);
        }
    }
    return joined.length > 0 ? buf_text(&joined) : NULL;
}

void bookmark_tags_put(struct json_writer *w, const char *key, const char *tags)
{
    json_begin_array(w, key);
    while (*tags) {
        size_t length = strcspn(tags, ",");
        size_t blank = strspn(tags, " ");

        if (length > blank)
            json_put_textn(w, NULL, tags + blank, length - blank);
        tags += length + (tags[length] == ',');
    }
    json_end_array(w);
}

bool bookmark_form_read_url(struct arena *arena, const cJSON *body,
                            struct bookmark_form *ret)
{
    const char *text = json_text(body, "url");

    ret->problem = EMPTY_URL;
    if (!text)
        return false;
    ret->url = url_clean(arena, text, strlen(text));
    if (ret->url[0] == '\0')
        return false;
    ret->url_norm = url_normalise(arena, ret->url);
    ret->page_key = url_page_key(arena, ret->url);
    ret->problem = NULL;
    return true;
}

static bool read_tags(struct arena *arena, const cJSON *body, struct bookmark_form *ret)
{
    ret->has_tags = json_get(body, "tags") != NULL;
    ret->tags = bookmark_tags(arena, json_get(body, "tags"));
    if (ret->tags && utf8_count(ret->tags) > TEXT_MAX) {
        ret->problem = field_problem(arena, "tags", "exceeds maximum length");
        return false;
    }
    return true;
}

bool bookmark_form_read(struct arena *arena, const cJSON *body, struct bookmark_form *ret)
{
    const cJSON *url = json_get(body, "url");

    *ret = (struct bookmark_form){ .problem = url ? BAD_URL : MISSING_URL };
    if (!cJSON_IsString(url) || !bookmark_form_read_url(arena, body, ret))
        return false;
    ret->problem = BAD_URL;
    if (!url_is_saveable(ret->url))
        return false;

    const char *title;
    if (!read_text(arena, body, "title", TEXT_MAX, &title, &ret->problem) ||
        !read_text(arena, body, "description", NOTES_MAX, &ret->notes, &ret->problem) ||
        !read_text(arena, body, "category", TEXT_MAX, &ret->category, &ret->problem) ||
        !read_tags(arena, body, ret))
        return false;
    if (title)
        ret->title = bookmark_title(arena, title);
    ret->category =
        form_cut(arena, ret->category ? ret->category : "other", CATEGORY_MAX);
    ret->problem = NULL;
    return true;
}
