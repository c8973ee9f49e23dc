/*
 * forms.h - reading and checking the fields that people and clients fill in.
 *
 * The rules are contract 1.1 (null is absent), 1.7 and 2.2. Lengths count
 * characters, as the clients and the columns do, not bytes. Texts live in the arena
 * given, or in the JSON tree they were read from.
 */
#ifndef FORKMARK_WORKER_HANDLERS_FORMS_H
#define FORKMARK_WORKER_HANDLERS_FORMS_H

#include "common/json.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;

#define FORM_USERNAME_TEXT                                        \
    "Username must be 3-50 characters and contain only letters, " \
    "numbers, underscores, and hyphens"
#define FORM_EMAIL_MAX 120 /* the column's width */

enum form_field {
    FORM_ABSENT, /* missing, null or "" */
    FORM_TEXT,
    FORM_OTHER, /* a number, a list, ...: nothing a text field can hold */
};
/* `ret` is set for FORM_TEXT only. */
enum form_field form_field(const cJSON *form, const char *key, const char **ret);

bool form_is_username(const char *text);
bool form_is_email(const char *text);
/* What is wrong with a new password, as the user is to read it; NULL: nothing. */
const char *form_password_problem(struct arena *arena, const char *password,
                                  int64_t min_length);

/* At most `max` characters of `text`; the same text when it is short enough. */
const char *form_cut(struct arena *arena, const char *text, size_t max);
const char *form_trim(struct arena *arena, const char *text);
/* ASCII letters only: what usernames and emails are made of. */
char *form_lower(struct arena *arena, const char *text);
/* For LIKE: % _ \ stand for themselves; with % before and behind. */
char *form_like(struct arena *arena, const char *text);

#endif
