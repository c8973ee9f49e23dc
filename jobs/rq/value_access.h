/*
 * value_access.h - typed access to a job's values, with an error that says what is wrong.
 *
 *     if (!call_int(arena, &call, "args[0]", &number, &job->error))
 *         return JOB_FAILED;   ->  "TypeError: args[0] is str, not int"
 *
 * A path begins with `args` or `kwargs`; [n] is an item of a list or tuple, .name or
 * ["name"] the value of a dict's text key. Outputs stay untouched on failure.
 */
#ifndef FORKMARK_JOBS_RQ_VALUE_ACCESS_H
#define FORKMARK_JOBS_RQ_VALUE_ACCESS_H

#include "jobs/rq/payload.h"

/* As Python names the type: "int", "str", "datetime.date". */
const char *value_type_name(const struct value *value);

/* Nothing is converted: True is no integer, 1.0 neither. A number is an integer of 64
 * bits or a float; a text holds no NUL, so it can be read as a C string. */
bool value_as_bool(const struct value *value, bool *ret);
bool value_as_int(const struct value *value, int64_t *ret);
bool value_as_number(const struct value *value, double *ret);
bool value_as_text(const struct value *value, const char **ret);

/* What stands at a path. NULL and "IndexError: ...", "KeyError: ..." or "TypeError: ...".
 */
const struct value *call_value(struct arena *arena, const struct call *call,
                               const char *path, const char **ret_error);
/* The same with its type. */
bool call_bool(struct arena *arena, const struct call *call, const char *path, bool *ret,
               const char **ret_error);
bool call_int(struct arena *arena, const struct call *call, const char *path,
              int64_t *ret, const char **ret_error);
bool call_number(struct arena *arena, const struct call *call, const char *path,
                 double *ret, const char **ret_error);
bool call_text(struct arena *arena, const struct call *call, const char *path,
               const char **ret, const char **ret_error);

#endif
