/*
 * pickle_classes.h - the few classes whose pickles are data: dates and times, Decimal,
 * UUID, complex, and what protocols below 4 need for bytes and sets.
 *
 * Pickle says "look this class up and call it"; here the name is looked up in a table
 * of this file, and what is "called" is one of its builders. Nothing else has a name.
 */
#ifndef FORKMARK_JOBS_RQ_PICKLE_CLASSES_H
#define FORKMARK_JOBS_RQ_PICKLE_CLASSES_H

#include "jobs/rq/value.h"

/* What building costs, over one whole pickle. */
struct pickle_build {
    struct arena *arena;
    size_t budget;     /* bytes that may still be looked at or copied */
    const char *error; /* set when a builder returns NULL */
};

/* A class as the reader keeps it on its stack: `internal`, never part of a value. NULL:
 * not one of ours. */
struct value *pickle_class(const char *module, size_t module_length, const char *name,
                           size_t name_length);

/* REDUCE: `callable`(*args). NULL and build->error when that is no value. */
struct value *pickle_call(struct pickle_build *build, const struct value *callable,
                          struct value *args);
/* NEWOBJ: only a UUID, `internal` until pickle_set_state(). */
struct value *pickle_new(struct pickle_build *build, const struct value *class,
                         const struct value *args);
/* BUILD: the object's fields. False and build->error. */
bool pickle_set_state(struct pickle_build *build, struct value *object,
                      const struct value *state);

#endif
