/* The hashed bag of words: the contract's values, and Python's idea of a word. */
#include "jobs/embedding.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct place {
    int index;
    double value;
};

static const struct {
    const char *text;
    struct place places[5]; /* ends with value 0 */
} known[] = {
    { "server", { { 134, 0.894427 }, { 366, 0.447214 } } },
    { "prefork server",
      { { 59, 0.316228 }, { 134, 0.632456 }, { 194, 0.632456 }, { 366, 0.316228 } } },
    { "Prefork Server, server!",
      { { 59, 0.2 }, { 134, 0.8 }, { 194, 0.4 }, { 366, 0.4 } } },
};

static double expected_at(const struct place *places, int index)
{
    for (; places->value > 0; places++) {
        if (places->index == index)
            return places->value;
    }
    return 0;
}

static void gives_the_contracts_values(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof(known) / sizeof(known[0]); k++) {
        float vector[EMBEDDING_SIZE];

        assert_true(embedding_make(known[k].text, strlen(known[k].text), vector));
        for (int i = 0; i < EMBEDDING_SIZE; i++) {
            if (fabs((double)vector[i] - expected_at(known[k].places, i)) > 5e-7)
                fail_msg("`%s` at %d: %f", known[k].text, i, (double)vector[i]);
        }
    }
}

static double cosine(const char *a, const char *b)
{
    float first[EMBEDDING_SIZE], second[EMBEDDING_SIZE];

    embedding_make(a, strlen(a), first);
    embedding_make(b, strlen(b), second);
    return embedding_cosine(first, second);
}

static void gives_the_contracts_cosines(void **state)
{
    (void)state;
    assert_true(fabs(cosine("prefork server", "server") - 0.707107) < 1e-6);
    assert_true(
        fabs(cosine("redis queue worker", "the worker takes a job from the redis queue") -
             0.522233) < 1e-6);
    assert_true(cosine("", "server") == 0);
}

/* Pairs that Python reads as the same words (checked with Python 3.11's re and lower). */
static void reads_words_as_python_does(void **state)
{
    static const struct {
        const char *a, *b;
    } same[] = {
        { "Größe ÄPFEL", "größe äpfel" },
        { "ΛΟΓΟΣ ΣΟΦΟΣ, ΑΣΒ",
          "λογος σοφος ασβ" }, /* a sigma at the end has its own form */
        { "ЖУРНАЛ", "журнал" },
        { "snake_case-and-dash", "snake_case and dash" },
        { "x² ½", "X² ½" },
        { "a\xCC\x81"
          "b",
          "a b" }, /* a combining accent stands between words */
        { "İstanbul", "i stanbul" },
        { "日本語、日本語", "日本語 日本語" },
        { "\xFFword\xC3", "word" },
        { "I\u2019m", "i m" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        if (fabs(cosine(same[i].a, same[i].b) - 1) > 1e-6)
            fail_msg("`%s` and `%s` differ", same[i].a, same[i].b);
    }
}

static void has_no_vector_without_words(void **state)
{
    static const char *const empty[] = { "", "   ", "--- !!! ...", "\xCC\x81",
                                         "\xFF\xFE" };
    float vector[EMBEDDING_SIZE];

    (void)state;
    for (size_t i = 0; i < sizeof(empty) / sizeof(empty[0]); i++) {
        memset(vector, 1, sizeof(vector));
        assert_false(embedding_make(empty[i], strlen(empty[i]), vector));
        for (int k = 0; k < EMBEDDING_SIZE; k++)
            assert_true(vector[k] == 0.0F);
    }
}

static void reads_ten_thousand_characters(void **state)
{
    static char text[3 * 10000 + 64];
    float whole[EMBEDDING_SIZE], cut[EMBEDDING_SIZE];

    (void)state;
    /* 9,995 characters of two bytes each, a blank, then "word" ends at 10,000. */
    for (int i = 0; i < 9995; i++)
        memcpy(text + (size_t)i * 2, "é", 2);
    strcpy(text + 9995 * 2, " word and no more");
    embedding_make(text, strlen(text), whole);
    embedding_make(text, (size_t)9995 * 2 + 5, cut);
    assert_memory_equal(whole, cut, sizeof(whole));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_the_contracts_values),
        cmocka_unit_test(gives_the_contracts_cosines),
        cmocka_unit_test(reads_words_as_python_does),
        cmocka_unit_test(has_no_vector_without_words),
        cmocka_unit_test(reads_ten_thousand_characters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
