/*
 * embedding.h - the hashed bag of words: 384 numbers per text (contract 3.5).
 */
#ifndef FORKMARK_JOBS_EMBEDDING_H
#define FORKMARK_JOBS_EMBEDDING_H

#include <stdbool.h>
#include <stddef.h>

#define EMBEDDING_SIZE 384

/* False, and all zeros, when the text has no words. CPU only; does not yield. */
bool embedding_make(const char *text, size_t length, float ret[EMBEDDING_SIZE]);
double embedding_cosine(const float a[EMBEDDING_SIZE], const float b[EMBEDDING_SIZE]);

#endif
