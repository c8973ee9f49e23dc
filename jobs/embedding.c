/*
 * embedding.c - the hashed bag of words.
 *
 * Each word adds to two of 384 places chosen by SHA-256, so two texts are near
 * each other when they share words. Letters follow Python's str.lower() and \w,
 * because vectors made by Fuze stand in the same column as ours.
 */
#include "jobs/embedding.h"

#include "common/buf.h"
#include "common/ids.h"
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <wctype.h>

#define MAX_CHARACTERS 10000 /* after lower-casing, as in Fuze */
#define SALT           "_salt"

#define CAPITAL_SIGMA    0x03A3
#define SMALL_SIGMA      0x03C3
#define FINAL_SIGMA      0x03C2
#define CAPITAL_I_DOTTED 0x0130
#define REPLACEMENT      0xFFFD

static locale_t letters;

/* One locale for the process: the letters of Unicode, whatever LANG says. */
static void load_letters(void)
{
    letters = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    if (letters == (locale_t)0)
        letters = newlocale(LC_CTYPE_MASK, "C.utf8", (locale_t)0);
}

/* Superscripts, fractions, circled numbers: digits to Python, symbols to glibc. */
static bool is_number_sign(uint32_t c)
{
    static const struct {
        uint32_t first, last;
    } ranges[] = {
        { 0x00B2, 0x00B3 }, { 0x00B9, 0x00B9 }, { 0x00BC, 0x00BE }, { 0x2070, 0x2070 },
        { 0x2074, 0x2079 }, { 0x2080, 0x2089 }, { 0x2150, 0x215F }, { 0x2189, 0x2189 },
        { 0x2460, 0x249B }, { 0x24EA, 0x24FF }, { 0x2776, 0x2793 }, { 0x3220, 0x3229 },
    };

    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        if (c >= ranges[i].first && c <= ranges[i].last)
            return true;
    }
    return false;
}

/* Accents that stand alone are no part of a word for Python. */
static bool is_combining_mark(uint32_t c)
{
    return (c >= 0x0300 && c <= 0x036F) || (c >= 0x0483 && c <= 0x0489) ||
           (c >= 0x20D0 && c <= 0x20F0);
}

static bool is_word_character(uint32_t c)
{
    if (c < 0x80)
        return c == '_' || (c >= '0' && c <= '9') ||
               ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
    if (letters == (locale_t)0)
        return true;
    if (is_combining_mark(c) || (c >= 0x249C && c <= 0x24E9))
        return false;
    return iswalnum_l((wint_t)c, letters) != 0 || is_number_sign(c);
}

static uint32_t lower(uint32_t c)
{
    if (c < 0x80)
        return c >= 'A' && c <= 'Z' ? c + 0x20 : c;
    if (letters == (locale_t)0)
        return c;
    return (uint32_t)towlower_l((wint_t)c, letters);
}

/* The next character of UTF-8 text, one byte for what is none. */
static uint32_t next_character(const char *text, size_t length, size_t *at)
{
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    const unsigned char *bytes = (const unsigned char *)text + *at;
    size_t left = length - *at;
    uint32_t c = bytes[0];
    size_t size = c < 0x80   ? 1
                  : c < 0xC2 ? 0
                  : c < 0xE0 ? 2
                  : c < 0xF0 ? 3
                  : c < 0xF5 ? 4
                             : 0;

    *at += 1;
    if (size == 1)
        return c;
    if (size == 0 || size > left)
        return REPLACEMENT;
    c &= 0x7FU >> size;
    for (size_t i = 1; i < size; i++) {
        if ((bytes[i] & 0xC0) != 0x80)
            return REPLACEMENT;
        c = c << 6 | (bytes[i] & 0x3FU);
    }
    if (c < least[size] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
        return REPLACEMENT;
    *at += size - 1;
    return c;
}

static void add_character(struct buf *word, uint32_t c)
{
    if (c < 0x80) {
        buf_addc(word, (char)c);
    } else if (c < 0x800) {
        buf_addc(word, (char)(0xC0 | c >> 6));
        buf_addc(word, (char)(0x80 | (c & 0x3F)));
    } else if (c < 0x10000) {
        buf_addc(word, (char)(0xE0 | c >> 12));
        buf_addc(word, (char)(0x80 | (c >> 6 & 0x3F)));
        buf_addc(word, (char)(0x80 | (c & 0x3F)));
    } else {
        buf_addc(word, (char)(0xF0 | c >> 18));
        buf_addc(word, (char)(0x80 | (c >> 12 & 0x3F)));
        buf_addc(word, (char)(0x80 | (c >> 6 & 0x3F)));
        buf_addc(word, (char)(0x80 | (c & 0x3F)));
    }
}

/* The digest as one big-endian number, modulo the vector's size. */
static size_t place_of(const char *text, size_t length)
{
    uint8_t digest[32];
    size_t place = 0;

    sha256(text, length, digest);
    for (size_t i = 0; i < sizeof(digest); i++)
        place = (place * 256 + digest[i]) % EMBEDDING_SIZE;
    return place;
}

/* Ends the word: `n` times the same word is `n` times this. */
static void count_word(double sums[EMBEDDING_SIZE], struct buf *word)
{
    sums[place_of(word->data, word->length)] += 0.1;
    buf_adds(word, SALT);
    sums[place_of(word->data, word->length)] += 0.05;
    buf_clear(word);
}

/* Python's rule for the Greek S: at a word's end it has a form of its own. */
static uint32_t lower_sigma(const char *text, size_t length, size_t next, bool in_word)
{
    if (!in_word)
        return SMALL_SIGMA;
    if (next < length && is_word_character(next_character(text, length, &next)))
        return SMALL_SIGMA;
    return FINAL_SIGMA;
}

/* Adds all words of the text; how many there were. */
static size_t count_words(const char *text, size_t length, double sums[EMBEDDING_SIZE])
{
    struct buf word = BUF_HEAP;
    size_t at = 0, words = 0;

    for (int characters = 0; at < length && characters < MAX_CHARACTERS; characters++) {
        uint32_t c = next_character(text, length, &at);

        if (c == CAPITAL_SIGMA)
            c = lower_sigma(text, length, at, word.length > 0);
        /* This one letter becomes two in lower case: an i, and a dot that ends the word.
         */
        bool ends_word = c == CAPITAL_I_DOTTED;
        if (ends_word)
            characters++;
        c = ends_word ? 'i' : lower(c);
        if (is_word_character(c))
            add_character(&word, c);
        else
            ends_word = true;
        if (ends_word && word.length > 0) {
            count_word(sums, &word);
            words++;
        }
    }
    if (word.length > 0) {
        count_word(sums, &word);
        words++;
    }
    buf_done(&word);
    return words;
}

bool embedding_make(const char *text, size_t length, float ret[EMBEDDING_SIZE])
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    double sums[EMBEDDING_SIZE] = { 0 };
    double squares = 0;

    pthread_once(&once, load_letters);
    memset(ret, 0, sizeof(float) * EMBEDDING_SIZE);
    if (count_words(text, length, sums) == 0)
        return false;
    for (size_t i = 0; i < EMBEDDING_SIZE; i++)
        squares += sums[i] * sums[i];
    for (size_t i = 0; i < EMBEDDING_SIZE; i++)
        ret[i] = (float)(sums[i] / sqrt(squares));
    return true;
}

double embedding_cosine(const float a[EMBEDDING_SIZE], const float b[EMBEDDING_SIZE])
{
    double product = 0, squares_a = 0, squares_b = 0;

    for (size_t i = 0; i < EMBEDDING_SIZE; i++) {
        product += (double)a[i] * (double)b[i];
        squares_a += (double)a[i] * (double)a[i];
        squares_b += (double)b[i] * (double)b[i];
    }
    if (squares_a <= 0 || squares_b <= 0)
        return 0;
    return product / sqrt(squares_a * squares_b);
}
