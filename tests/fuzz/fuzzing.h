/*
 * fuzzing.h - what every fuzz target shares: its entry, and a check that counts.
 */
#ifndef FORKMARK_TESTS_FUZZ_FUZZING_H
#define FORKMARK_TESTS_FUZZ_FUZZING_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Unlike assert() it is there in every build; libFuzzer keeps the input. */
static inline void require(int truth)
{
    if (!truth)
        abort();
}

#endif
