/*
 * metadata.c - candidates for each field, the best one wins.
 *
 * Every source offers what it has with a rank; a smaller rank replaces a greater
 * one, and of equals the first stays. What is no use (an error page's title, a
 * date nobody can read, a link to nowhere) is not taken at all.
 */
#include "jobs/extract/metadata.h"

#include "common/json.h"
#include "jobs/extract/page.h"
#include "jobs/extract/published.h"
#include "jobs/extract/quality.h"
#include <libxml/uri.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_LINK       2048
#define MAX_RAW        (64 * 1024) /* of each kind of raw data */
#define MAX_RAW_VALUE  2048
#define MAX_BLOCKS     20 /* of JSON-LD on a page */
#define MAX_BLOCK_SIZE (256 * 1024)

/* In the order of enum metadata_field: the most characters the field may hold. */
static const int field_sizes[META_FIELDS] = {
    [META_TITLE] = 200,
    [META_AUTHOR] = 255,
    [META_DESCRIPTION] = 1000,
    [META_CANONICAL] = MAX_LINK,
    [META_IMAGE] = MAX_LINK,
    [META_LANGUAGE] = 10,
    [META_PUBLISHED] = PUBLISHED_SIZE,
};

/* What a source's name stands for, and how much we believe it. */
struct source {
    const char *name;
    enum metadata_field field;
    int rank;
};

/* <meta property=... or name=..., content=...> */
static const struct source metas[] = {
    { "og:title", META_TITLE, 2 },
    { "twitter:title", META_TITLE, 3 },
    { "article:author", META_AUTHOR, 1 },
    { "author", META_AUTHOR, 2 },
    { "og:description", META_DESCRIPTION, 0 },
    { "description", META_DESCRIPTION, 1 },
    { "twitter:description", META_DESCRIPTION, 2 },
    { "og:url", META_CANONICAL, 1 },
    { "og:image", META_IMAGE, 0 },
    { "og:image:url", META_IMAGE, 1 },
    { "twitter:image", META_IMAGE, 2 },
    { "content-language", META_LANGUAGE, 1 },
    { "article:published_time", META_PUBLISHED, 1 },
    { "date", META_PUBLISHED, 2 },
    { "dc.date", META_PUBLISHED, 3 },
    { "dcterms.created", META_PUBLISHED, 4 },
};

/* Members of a JSON-LD object. */
static const struct source members[] = {
    { "headline", META_TITLE, 0 },
    { "name", META_TITLE, 1 },
    { "author", META_AUTHOR, 0 },
    { "description", META_DESCRIPTION, 3 },
    { "image", META_IMAGE, 3 },
    { "inLanguage", META_LANGUAGE, 2 },
    { "datePublished", META_PUBLISHED, 0 },
};

/* JSON-LD objects that describe the site, a person or a part, not the page. */
static const char *const foreign_types[] = {
    "BreadcrumbList", "Corporation",           "ImageObject",  "ListItem",
    "LocalBusiness",  "NewsMediaOrganization", "Organization", "Person",
    "SearchAction",   "SiteNavigationElement", "WebSite",      "WPFooter",
    "WPHeader",
};

#define RANK_ARTICLE_HEADING 4
#define RANK_TITLE_ELEMENT   5
#define RANK_ANY_HEADING     6

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

const char *metadata_text(const struct metadata *metadata, enum metadata_field field)
{
    return buf_text(&metadata->fields[field].text);
}

char *metadata_link(const char *link, const char *url)
{
    char *result = NULL;

    if (link[0] == '\0' || strlen(link) > MAX_LINK || strncasecmp(link, "data:", 5) == 0)
        return NULL;
    xmlChar *absolute = xmlBuildURI((const xmlChar *)link, (const xmlChar *)url);
    if (absolute && xmlStrlen(absolute) <= MAX_LINK &&
        (xmlStrncasecmp(absolute, (const xmlChar *)"http://", 7) == 0 ||
         xmlStrncasecmp(absolute, (const xmlChar *)"https://", 8) == 0))
        result = strdup((const char *)absolute);
    xmlFree(absolute);
    return result;
}

/* Cuts after `most` characters. */
static void cut_characters(struct buf *text, int most)
{
    int characters = 0;

    for (size_t at = 0; at < text->length; at++) {
        if (((unsigned char)text->data[at] & 0xC0) != 0x80 && ++characters > most) {
            text->length = at;
            text->data[at] = '\0';
        }
    }
    while (text->length > 0 && text->data[text->length - 1] == ' ')
        text->data[--text->length] = '\0';
}

/* Turns the candidate into the field's form; false: no use. */
static bool prepare(struct buf *text, enum metadata_field field, const char *url)
{
    char moment[PUBLISHED_SIZE];
    char *link;

    switch (field) {
    case META_TITLE:
        return quality_is_usable_title(buf_text(text));
    case META_AUTHOR: /* many sites put the author's page there */
        return text->length > 0 && !strstr(text->data, "://");
    case META_CANONICAL:
    case META_IMAGE:
        link = metadata_link(buf_text(text), url);
        buf_clear(text);
        buf_adds(text, link ? link : "");
        free(link);
        return text->length > 0;
    case META_PUBLISHED:
        if (!published_read(buf_text(text), moment))
            return false;
        buf_clear(text);
        buf_adds(text, moment);
        return true;
    case META_DESCRIPTION:
    case META_LANGUAGE:
    case META_FIELDS:
        break;
    }
    return text->length > 0;
}

static void offer(struct metadata *metadata, enum metadata_field field, int rank,
                  const char *text, const char *url)
{
    struct buf candidate = BUF_HEAP;

    if (!text || rank >= metadata->fields[field].rank)
        return;
    page_add_collapsed(&candidate, text, strnlen(text, (size_t)MAX_LINK * 4));
    if (candidate.length > 0)
        cut_characters(&candidate, field_sizes[field]);
    if (!prepare(&candidate, field, url)) {
        buf_done(&candidate);
        return;
    }
    buf_done(&metadata->fields[field].text);
    metadata->fields[field].text = candidate;
    metadata->fields[field].rank = rank;
}

/* Adds "name":"value" to the inside of an object; the first of a name stays. */
static void add_raw(struct buf *out, const char *name, const char *value)
{
    struct buf key = BUF_HEAP;

    json_quote(&key, name, strlen(name));
    buf_addc(&key, ':');
    if (out->length < MAX_RAW && (!out->data || !strstr(out->data, key.data))) {
        if (out->length > 0)
            buf_addc(out, ',');
        buf_add(out, key.data, key.length);
        json_quote(out, value, strnlen(value, MAX_RAW_VALUE));
    }
    buf_done(&key);
}

static void read_meta(struct metadata *metadata, const xmlNode *node, const char *url)
{
    const char *name = page_attribute(node, "property");
    const char *content = page_attribute(node, "content");

    if (!name)
        name = page_attribute(node, "name");
    if (!name)
        name = page_attribute(node, "http-equiv");
    if (!name || !content || strlen(name) > 100)
        return;
    if (strncasecmp(name, "og:", 3) == 0 || strncasecmp(name, "article:", 8) == 0)
        add_raw(&metadata->open_graph, name, content);
    else if (strncasecmp(name, "twitter:", 8) == 0)
        add_raw(&metadata->twitter_card, name, content);
    for (size_t i = 0; i < COUNT(metas); i++) {
        if (strcasecmp(name, metas[i].name) == 0)
            offer(metadata, metas[i].field, metas[i].rank, content, url);
    }
}

/* The text of a JSON-LD value: itself, its name or url, or the first of a list's. */
static const char *value_text(const cJSON *value)
{
    static const char *const keys[] = { "name", "url", "@id" };

    if (cJSON_IsArray(value))
        value = value->child;
    if (cJSON_IsString(value))
        return value->valuestring;
    for (size_t i = 0; i < COUNT(keys) && cJSON_IsObject(value); i++) {
        const cJSON *member = cJSON_GetObjectItemCaseSensitive(value, keys[i]);
        if (cJSON_IsString(member))
            return member->valuestring;
    }
    return NULL;
}

static bool is_foreign(const cJSON *object)
{
    const char *type = value_text(cJSON_GetObjectItemCaseSensitive(object, "@type"));

    for (size_t i = 0; type && i < COUNT(foreign_types); i++) {
        if (strcmp(type, foreign_types[i]) == 0)
            return true;
    }
    return false;
}

static void read_object(struct metadata *metadata, const cJSON *object, const char *url)
{
    if (!cJSON_IsObject(object) || is_foreign(object))
        return;
    for (size_t i = 0; i < COUNT(members); i++)
        offer(metadata, members[i].field, members[i].rank,
              value_text(cJSON_GetObjectItemCaseSensitive(object, members[i].name)), url);
}

/* One object, a list of them, or the list under @graph. */
static void read_json_ld(struct metadata *metadata, const cJSON *tree, const char *url)
{
    const cJSON *list =
        cJSON_IsArray(tree) ? tree : cJSON_GetObjectItemCaseSensitive(tree, "@graph");

    for (const cJSON *object = cJSON_IsArray(list) ? list->child : NULL; object;
         object = object->next)
        read_object(metadata, object, url);
    read_object(metadata, tree, url);
}

/* True when it was a block of JSON-LD, readable or not. */
static bool read_script(struct metadata *metadata, const xmlNode *node, const char *url)
{
    const char *type = page_attribute(node, "type");
    const char *text = node->children ? (const char *)node->children->content : NULL;

    if (!type || strcasecmp(type, "application/ld+json") != 0 || !text)
        return false;
    size_t length = strlen(text);
    if (length > MAX_BLOCK_SIZE ||
        json_check(text, length, JSON_MAX_DEPTH, JSON_MAX_VALUES) < 0)
        return true;
    cJSON *tree = cJSON_ParseWithLength(text, length);
    if (!tree)
        return true;
    read_json_ld(metadata, tree, url);
    char *raw = cJSON_PrintUnformatted(tree);
    if (raw && metadata->schema_org.length + strlen(raw) < MAX_RAW) {
        if (metadata->schema_org.length > 0)
            buf_addc(&metadata->schema_org, ',');
        buf_adds(&metadata->schema_org, raw);
    }
    cJSON_free(raw);
    cJSON_Delete(tree);
    return true;
}

static void offer_element(struct metadata *metadata, xmlNode *node, int rank)
{
    struct buf text = BUF_HEAP;

    if (!node)
        return;
    page_text(node, &text, 2000);
    offer(metadata, META_TITLE, rank, buf_text(&text), "");
    buf_done(&text);
}

/* The article's heading, else <title>, else any heading. */
static void read_headings(struct metadata *metadata, xmlNode *root)
{
    xmlNode *article = page_find(root, "article");

    if (!article)
        article = page_find(root, "main");
    if (article)
        offer_element(metadata, page_find(article, "h1"), RANK_ARTICLE_HEADING);
    offer_element(metadata, page_find(root, "title"), RANK_TITLE_ELEMENT);
    offer_element(metadata, page_find(root, "h1"), RANK_ANY_HEADING);
}

static void read_element(struct metadata *metadata, const xmlNode *node, const char *url,
                         int *blocks)
{
    if (page_is(node, "meta")) {
        read_meta(metadata, node, url);
    } else if (page_is(node, "script") && *blocks < MAX_BLOCKS) {
        *blocks += read_script(metadata, node, url);
    } else if (page_is(node, "link")) {
        const char *rel = page_attribute(node, "rel");
        if (rel && strcasecmp(rel, "canonical") == 0)
            offer(metadata, META_CANONICAL, 0, page_attribute(node, "href"), url);
    } else if (page_is(node, "html")) {
        offer(metadata, META_LANGUAGE, 0, page_attribute(node, "lang"), url);
    }
}

void metadata_read(struct metadata *metadata, xmlNode *root, const char *url)
{
    int blocks = 0;

    *metadata = (struct metadata){ 0 };
    for (int i = 0; i < META_FIELDS; i++)
        metadata->fields[i].rank = INT_MAX;
    for (xmlNode *node = root; node; node = page_next(node, root))
        read_element(metadata, node, url, &blocks);
    read_headings(metadata, root);
}

void metadata_done(struct metadata *metadata)
{
    for (int i = 0; i < META_FIELDS; i++)
        buf_done(&metadata->fields[i].text);
    buf_done(&metadata->open_graph);
    buf_done(&metadata->twitter_card);
    buf_done(&metadata->schema_org);
}
