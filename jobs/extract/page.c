/*
 * page.c - libxml2's HTML parser, fed in small chunks under limits.
 *
 * The parser keeps a stack of open elements that it searches for every end tag,
 * and compares each attribute of a tag with all before it: a page of 5 MiB made
 * for that would keep a thread busy for minutes. So it is fed 4 KiB at a time,
 * and between chunks we look at what it has built so far.
 */
#include "jobs/extract/page.h"

#include "common/buf.h"
#include <ctype.h>
#include <libxml/parser.h>
#include <pthread.h>
#include <string.h>

#define CHUNK          4096
#define MAX_DEPTH      512
#define MAX_NODES      400000    /* about 50 MB of tree; real pages have some thousands */
#define MAX_TAG        (1 << 20) /* inline images are long */
#define MAX_TAG_BLANKS 2000      /* in a tag longer than a chunk: about its attributes */

/* What one parse has counted; hangs on the parser's context. */
struct limits {
    int nodes;
    bool is_cut;
};

static void cut(htmlParserCtxtPtr parser)
{
    struct limits *limits = parser->_private;

    limits->is_cut = true;
    xmlStopParser(parser);
}

static void start_element(void *context, const xmlChar *name, const xmlChar **attributes)
{
    htmlParserCtxtPtr parser = context;
    struct limits *limits = parser->_private;

    xmlSAX2StartElement(context, name, attributes);
    limits->nodes++;
    for (int i = 0; attributes && attributes[i]; i += 2)
        limits->nodes++;
    if (parser->nodeNr > MAX_DEPTH || limits->nodes > MAX_NODES)
        cut(parser);
}

static void comment(void *context, const xmlChar *text)
{
    (void)context; /* nobody reads comments: no node for them */
    (void)text;
}

/* A tag that is not complete yet and already has too many words in it. */
static bool is_hostile_tag(const htmlParserCtxtPtr parser)
{
    const char *at = parser->input ? (const char *)parser->input->cur : NULL;
    const char *end = at ? (const char *)parser->input->end : NULL;
    int blanks = 0;

    if (!at || end - at < CHUNK || at[0] != '<' || !isalpha((unsigned char)at[1]))
        return false;
    if (end - at > MAX_TAG)
        return true;
    for (char quote = '\0'; at < end; at++) {
        if (quote)
            quote = *at == quote ? '\0' : quote;
        else if ((*at == '"' || *at == '\'') && at[-1] == '=')
            quote = *at;
        else if (isspace((unsigned char)*at))
            blanks++;
    }
    return blanks > MAX_TAG_BLANKS;
}

static void feed(htmlParserCtxtPtr parser, const char *text, size_t length)
{
    const struct limits *limits = parser->_private;

    for (size_t at = 0; at < length && !limits->is_cut; at += CHUNK) {
        size_t size = length - at < CHUNK ? length - at : CHUNK;

        htmlParseChunk(parser, text + at, (int)size, 0);
        if (is_hostile_tag(parser))
            cut(parser);
    }
    htmlParseChunk(parser, "", 0, 1);
}

void page_parse(struct page *page, const char *text, size_t length)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct limits limits = { 0 };
    htmlSAXHandler sax;

    pthread_once(&once, xmlInitParser);
    *page = (struct page){ 0 };
    memset(&sax, 0, sizeof(sax));
    xmlSAX2InitHtmlDefaultSAXHandler(&sax);
    sax.startElement = start_element;
    sax.comment = comment;

    htmlParserCtxtPtr parser =
        htmlCreatePushParserCtxt(&sax, NULL, NULL, 0, NULL, XML_CHAR_ENCODING_UTF8);
    if (!parser)
        return;
    /* The text is UTF-8 by now, whatever its <meta> says. */
    htmlCtxtUseOptions(parser, HTML_PARSE_RECOVER | HTML_PARSE_NOERROR |
                                   HTML_PARSE_NOWARNING | HTML_PARSE_NONET |
                                   HTML_PARSE_IGNORE_ENC);
    parser->_private = &limits;
    feed(parser, text, length);
    page->doc = parser->myDoc;
    page->is_cut = limits.is_cut;
    page->root = page->doc ? xmlDocGetRootElement(page->doc) : NULL;
    htmlFreeParserCtxt(parser);
}

void page_done(struct page *page)
{
    if (page->doc)
        xmlFreeDoc(page->doc);
    page->doc = NULL;
    page->root = NULL;
}

xmlNode *page_skip(xmlNode *node, const xmlNode *top)
{
    while (node && node != top) {
        if (node->next)
            return node->next;
        node = node->parent;
    }
    return NULL;
}

xmlNode *page_next(xmlNode *node, const xmlNode *top)
{
    /* Only elements have children of this tree; an entity's belong to the DTD. */
    if (node->type == XML_ELEMENT_NODE && node->children)
        return node->children;
    return page_skip(node, top);
}

bool page_is(const xmlNode *node, const char *element)
{
    return node->type == XML_ELEMENT_NODE &&
           xmlStrcmp(node->name, (const xmlChar *)element) == 0;
}

xmlNode *page_find(xmlNode *top, const char *element)
{
    for (xmlNode *node = top; node; node = page_next(node, top)) {
        if (page_is(node, element))
            return node;
    }
    return NULL;
}

int page_count(xmlNode *top, const char *element, int most)
{
    int count = 0;

    for (xmlNode *node = top; node && count < most; node = page_next(node, top))
        count += page_is(node, element);
    return count;
}

const char *page_attribute(const xmlNode *node, const char *name)
{
    if (node->type != XML_ELEMENT_NODE)
        return NULL;
    for (const xmlAttr *attribute = node->properties; attribute;
         attribute = attribute->next) {
        if (xmlStrcmp(attribute->name, (const xmlChar *)name) != 0)
            continue;
        const xmlNode *value = attribute->children;
        return value && value->content ? (const char *)value->content : "";
    }
    return NULL;
}

void page_add_collapsed(struct buf *out, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (!isspace((unsigned char)text[i]))
            buf_addc(out, text[i]);
        else if (out->length > 0 && out->data[out->length - 1] != ' ')
            buf_addc(out, ' ');
    }
}

void page_text(xmlNode *top, struct buf *out, size_t max)
{
    for (xmlNode *node = top; node; node = page_next(node, top)) {
        if (node->type != XML_TEXT_NODE && node->type != XML_CDATA_SECTION_NODE)
            continue;
        if (node->content)
            page_add_collapsed(out, (const char *)node->content,
                               strlen((const char *)node->content));
        if (out->length > max)
            break;
    }
    /* Cut at the start of a character. */
    size_t length = out->length < max ? out->length : max;
    while (length > 0 && length < out->length &&
           ((unsigned char)out->data[length] & 0xC0) == 0x80)
        length--;
    while (length > 0 && out->data[length - 1] == ' ')
        length--;
    if (length < out->length) {
        out->length = length;
        out->data[length] = '\0';
    }
}
