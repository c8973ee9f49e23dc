/*
 * token.h - JSON Web Tokens as the clients know them (RFC 7519, HS256 only).
 *
 * Claims and lifetimes: contract 1.2. The header is exactly
 * {"alg":"HS256","typ":"JWT"}; any other algorithm is a bad token.
 */
#ifndef FORKMARK_COMMON_TOKEN_H
#define FORKMARK_COMMON_TOKEN_H

#include "common/ids.h"
#include <stdbool.h>
#include <stdint.h>

struct arena;

enum token_type { TOKEN_ACCESS, TOKEN_REFRESH };

struct token {
    enum token_type type;
    int32_t user_id;
    char jti[UUID_SIZE];
    char csrf[UUID_SIZE];
    char family_id[UUID_SIZE];     /* "" in tokens of older servers */
    int64_t issued_at, expires_at; /* Unix seconds */
};

enum token_state { TOKEN_OK, TOKEN_EXPIRED, TOKEN_BAD };

/* Fills a new token: random jti and csrf, times from now. */
void token_make(struct token *ret, enum token_type type, int32_t user_id,
                const char *family_id, int64_t lifetime_s);
/* The signed text. */
char *token_write(struct arena *arena, const struct token *token, const char *secret);
/* TOKEN_BAD leaves `ret` untouched; TOKEN_EXPIRED fills it. `nbf` is honoured. */
enum token_state token_read(const char *text, size_t length, const char *secret,
                            struct token *ret);

#endif
