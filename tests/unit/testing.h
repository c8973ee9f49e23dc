/*
 * testing.h - cmocka with what it needs included first, in the order it needs.
 */
#ifndef FORKMARK_TESTS_UNIT_TESTING_H
#define FORKMARK_TESTS_UNIT_TESTING_H

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#endif
