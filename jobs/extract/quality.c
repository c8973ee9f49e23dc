/*
 * quality.c - the score table, and the pages that are no pages.
 */
#include "jobs/extract/quality.h"

#include "common/buf.h"
#include "jobs/extract/page.h"
#include <ctype.h>
#include <string.h>
#include <strings.h>

/* Below this a page may be a challenge; an article that quotes one is longer. */
#define CHALLENGE_WORDS 300
/* Below this its hidden parts are searched too, and it may be an empty shell. */
#define SHELL_WORDS 100

#define SCORE_CHALLENGE 10
#define SCORE_SHELL     25

static const char *const unusable_titles[] = {
    "access denied",       "403 forbidden", "404 not found", "just a moment...",
    "attention required!", "untitled",      "site error",    "security check",
};

static const char *const challenges[] = {
    "checking your browser before accessing",
    "please enable javascript to view",
    "please enable javascript and cookies to continue",
    "enable javascript and cookies to continue",
    "cf-browser-verification",
    "cf-challenge-running",
    "just a moment...",
    "verifying you are human",
    "verify you are human",
    "are you a robot?",
    "access denied",
    "403 forbidden",
    "pardon our interruption",
    "attention required! | cloudflare",
    "ddos protection by",
};

/* What client-rendered pages leave in their source. */
static const char *const shells[] = { "__NEXT_DATA__", "__NUXT__", "data-reactroot",
                                      "ng-version=" };

static const char *const shell_roots[] = { "root", "app", "__next", "__nuxt",
                                           "app-root" };

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

int quality_count_words(const char *text)
{
    int words = 0;
    bool has_letter = false;

    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (isspace(c)) {
            words += has_letter;
            has_letter = false;
        } else if (c >= 0x80 || isalnum(c)) {
            has_letter = true;
        }
    }
    return words + has_letter;
}

bool quality_is_usable_title(const char *title)
{
    if (title[0] == '\0')
        return false;
    for (size_t i = 0; i < COUNT(unusable_titles); i++) {
        if (strcasecmp(title, unusable_titles[i]) == 0)
            return false;
    }
    return true;
}

/* Searches `text` (lower-cased) for each of the challenges. */
static bool has_challenge(const char *text)
{
    for (size_t i = 0; i < COUNT(challenges); i++) {
        if (strstr(text, challenges[i]))
            return true;
    }
    return false;
}

static void add_lower(struct buf *out, const char *text, size_t length)
{
    buf_reserve(out, length);
    for (size_t i = 0; i < length; i++)
        buf_addc(out, (char)tolower((unsigned char)text[i]));
    buf_addc(out, '\n');
}

static bool is_challenge(const struct quality *quality)
{
    struct buf text = BUF_HEAP;

    add_lower(&text, quality->title, strlen(quality->title));
    if (quality->words < CHALLENGE_WORDS)
        add_lower(&text, quality->text, strlen(quality->text));
    if (quality->words < SHELL_WORDS && quality->root)
        add_lower(&text, quality->page, quality->page_length);
    bool found = has_challenge(buf_text(&text));
    buf_done(&text);
    return found;
}

/* <div id="root"></div> and its like, without an element or a word in it. */
static bool is_empty_root(xmlNode *node)
{
    struct buf text = BUF_HEAP;
    const char *id = page_attribute(node, "id");
    bool is_root = false;

    if (!page_is(node, "div") || !id)
        return false;
    for (size_t i = 0; i < COUNT(shell_roots); i++)
        is_root = is_root || strcmp(id, shell_roots[i]) == 0;
    if (!is_root)
        return false;
    page_text(node, &text, 16);
    is_root = text.length == 0;
    buf_done(&text);
    return is_root;
}

static bool is_shell(const struct quality *quality)
{
    if (!quality->root || quality->words >= SHELL_WORDS)
        return false;
    for (size_t i = 0; i < COUNT(shells); i++) {
        if (memmem(quality->page, quality->page_length, shells[i], strlen(shells[i])))
            return true;
    }
    for (xmlNode *node = quality->root; node; node = page_next(node, quality->root)) {
        if (is_empty_root(node))
            return true;
    }
    return false;
}

static int density(int words)
{
    return words > 300 ? 100 : words > 150 ? 80 : words > 50 ? 50 : 10;
}

static int structure(xmlNode *root)
{
    if (!root)
        return 30;
    bool has_article = page_find(root, "article") || page_find(root, "main");
    bool has_heading = page_find(root, "h1") != NULL;
    bool has_paragraphs = page_count(root, "p", 3) > 2;

    if (has_article || (has_heading && has_paragraphs))
        return 100;
    return has_heading || has_paragraphs ? 70 : 30;
}

int quality_score(const struct quality *quality)
{
    int metadata = quality_is_usable_title(quality->title) ? 100 : 30;

    if (is_challenge(quality))
        return SCORE_CHALLENGE;
    if (is_shell(quality))
        return SCORE_SHELL;
    /* 0.4, 0.3 and 0.3, in whole numbers. */
    return (4 * density(quality->words) + 3 * metadata + 3 * structure(quality->root)) /
           10;
}
