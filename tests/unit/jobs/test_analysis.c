/* Technologies by name, and what else the rules say. */
#include "jobs/analysis.h"

#include "common/arena.h"
#include "tests/unit/testing.h"
#include <string.h>

static struct arena *arena;

static int setup(void **state)
{
    (void)state;
    arena = arena_new(0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

static const struct {
    const char *text, *technologies;
} texts[] = {
    { "", "General" },
    { "Nothing of interest", "General" },
    { "python javascript typescript react node sql docker aws",
      "python,javascript,typescript,react,node,sql,docker,aws" },
    { "Python, PYTHON and python!", "python" },
    { "pythonic reactive nodes mysqld", "General" },
    { "C++ and C# but not C+ or #", "c++,c#" },
    { "Node.js, Vue.js and d3.js on k8s", "node,vue,kubernetes" },
    { "python-based (postgres)", "python,postgresql" },
    { "golang beats go", "go" },
    { "Swift and Rust", "swift,rust" },
    { "a swift answer to rust, an express train in spring", "General" },
    { "pythoné épython", "General" },
    { "AWS/GCP|Azure", "aws,gcp,azure" },
};

static void finds_technologies(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct analysis analysis;

        analysis_make(arena, "", "", texts[i].text, &analysis);
        if (strcmp(analysis_technologies_text(arena, &analysis), texts[i].technologies) !=
            0)
            fail_msg("`%s`: %s", texts[i].text,
                     analysis_technologies_text(arena, &analysis));
    }
}

/* Every name of the table can be found: so it is sorted. */
static void finds_each_of_many(void **state)
{
    static const char *const names[] = { "airflow",    "angular", "ansible", "bash",
                                         "django",     "git",     "java",    "linux",
                                         "lua",        "nginx",   "numpy",   "php",
                                         "postgresql", "redis",   "sqlite",  "webpack",
                                         "yaml" };
    struct analysis analysis;

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        analysis_make(arena, names[i], "", "", &analysis);
        assert_string_equal(analysis.technologies[0], names[i]);
    }
}

static void reads_title_notes_and_text(void **state)
{
    struct analysis analysis;

    (void)state;
    analysis_make(arena, "Redis", "with Docker", "and Redis on Linux", &analysis);
    assert_string_equal(analysis_technologies_text(arena, &analysis),
                        "redis,docker,linux");
    assert_string_equal(analysis_technologies_json(arena, &analysis),
                        "[\"redis\",\"docker\",\"linux\"]");
}

static void keeps_no_more_than_it_has_room_for(void **state)
{
    struct analysis analysis;

    (void)state;
    analysis_make(
        arena, "", "",
        "airflow angular ansible aws azure bash bigquery bootstrap cassandra celery "
        "clojure css cuda debian django docker elixir erlang fastapi figma firebase "
        "git github graphql",
        &analysis);
    assert_int_equal(analysis.technology_count, ANALYSIS_MAX_TECHNOLOGIES);
}

static void cuts_by_characters(void **state)
{
    struct analysis analysis;

    (void)state;
    analysis_make(arena, "éééééééééé éééééééééé éééééééééé", "", "", &analysis);
    assert_int_equal(strlen(analysis.key_concept), 28 * 2 + 2);
    assert_string_equal(analysis.summary, "éééééééééé éééééééééé éééééééééé");
    analysis_make(arena, "title", "the notes", "", &analysis);
    assert_string_equal(analysis.summary, "the notes");
}

static void writes_the_contracts_object(void **state)
{
    struct analysis analysis;

    (void)state;
    analysis_make(arena, "", "", "", &analysis);
    assert_string_equal(analysis_json(arena, &analysis),
                        "{\"technologies\":[\"General\"],\"content_type\":\"article\","
                        "\"difficulty\":\"intermediate\",\"intent\":\"learning\","
                        "\"key_concepts\":[],\"relevance_score\":75,\"summary\":\"\","
                        "\"basic_summary\":\"\"}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(finds_technologies, setup, teardown),
        cmocka_unit_test_setup_teardown(finds_each_of_many, setup, teardown),
        cmocka_unit_test_setup_teardown(reads_title_notes_and_text, setup, teardown),
        cmocka_unit_test_setup_teardown(keeps_no_more_than_it_has_room_for, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(cuts_by_characters, setup, teardown),
        cmocka_unit_test_setup_teardown(writes_the_contracts_object, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
