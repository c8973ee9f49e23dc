/*
 * test_exposition.c - Prometheus' text: heads, labels that need escapes, histograms.
 */
#include "tests/unit/testing.h"
#include "worker/exposition.h"

static struct buf out = BUF_HEAP;

static struct exposition *fresh(void)
{
    static struct exposition e;

    buf_done(&out);
    out = (struct buf)BUF_HEAP;
    e = (struct exposition){ .out = &out, .prefix = "x_" };
    return &e;
}

static void a_family_and_its_samples(void **state)
{
    struct exposition *e = fresh();
    (void)state;

    exposition_begin(e, "jobs_total", METRIC_COUNTER, "Jobs.");
    exposition_int(e, NULL, 18446744073709551615U);
    exposition_int(e, LABELS({ "a", "1" }, { "b", "2" }), 3);
    exposition_double(e, LABELS({ "a", "1" }), 0.25);
    assert_string_equal(buf_text(&out), "# HELP x_jobs_total Jobs.\n"
                                        "# TYPE x_jobs_total counter\n"
                                        "x_jobs_total 18446744073709551615\n"
                                        "x_jobs_total{a=\"1\",b=\"2\"} 3\n"
                                        "x_jobs_total{a=\"1\"} 0.250000\n");
}

static void no_value_ends_its_label(void **state)
{
    struct exposition *e = fresh();
    (void)state;

    exposition_begin(e, "g", METRIC_GAUGE, "G.");
    exposition_int(e, LABELS({ "q", "a\"} 1\nb\\c" }), 1);
    assert_non_null(strstr(buf_text(&out), "x_g{q=\"a\\\"} 1\\nb\\\\c\"} 1\n"));
}

static void buckets_add_up(void **state)
{
    static const double limits[] = { .005, 1 };
    static const uint64_t counts[] = { 2, 3, 4 };
    struct exposition *e = fresh();
    (void)state;

    exposition_begin(e, "h", METRIC_HISTOGRAM, "H.");
    exposition_histogram(e, limits, counts, 3, 7.5);
    assert_string_equal(buf_text(&out), "# HELP x_h H.\n# TYPE x_h histogram\n"
                                        "x_h_bucket{le=\"0.005\"} 2\n"
                                        "x_h_bucket{le=\"1\"} 5\n"
                                        "x_h_bucket{le=\"+Inf\"} 9\n"
                                        "x_h_sum 7.500000\nx_h_count 9\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_family_and_its_samples),
        cmocka_unit_test(no_value_ends_its_label),
        cmocka_unit_test(buckets_add_up),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    buf_done(&out);
    return failed;
}
