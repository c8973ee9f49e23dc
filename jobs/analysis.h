/*
 * analysis.h - what a bookmark is about, by rules (contract 3.5).
 */
#ifndef FORKMARK_JOBS_ANALYSIS_H
#define FORKMARK_JOBS_ANALYSIS_H

#include <stddef.h>

struct arena;

#define ANALYSIS_MAX_TECHNOLOGIES 20

struct analysis {
    /* Names in lower case, in the order of their first mention; "General" when none. */
    const char *technologies[ANALYSIS_MAX_TECHNOLOGIES];
    size_t technology_count;
    const char *content_type, *difficulty, *intent;
    const char *key_concept, *summary; /* "" when there is nothing to say */
    int relevance_score;
};

/* Always succeeds. Any text may be "". Texts of the result live in `arena`. */
void analysis_make(struct arena *arena, const char *title, const char *notes,
                   const char *text, struct analysis *ret);

/* The object kept in content_analysis.analysis_data. */
const char *analysis_json(struct arena *arena, const struct analysis *analysis);
/* The list as a JSON array, and joined with commas. */
const char *analysis_technologies_json(struct arena *arena,
                                       const struct analysis *analysis);
const char *analysis_technologies_text(struct arena *arena,
                                       const struct analysis *analysis);

#endif
