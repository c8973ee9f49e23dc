-- Token families: one row per login session, with the only refresh token that is good.

-- name: family_insert
-- route: primary
-- params: int user_id, text family_id, text jti, int lifetime_seconds
-- tenant: user_id
INSERT INTO token_families
    (user_id, family_id, current_jti, created_at, last_used_at, expires_at)
VALUES ($1, $2, $3, now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC',
        (now() AT TIME ZONE 'UTC') + make_interval(secs => $4));

-- `is_recent`: replaced so lately that a second tab may still hold the old token.
-- name: family_lock
-- route: primary
-- params: int user_id, text family_id, int grace_seconds
-- tenant: user_id
-- index: uq_token_families_user_family
SELECT current_jti, previous_jti, revoked,
       coalesce(rotated_at > (now() AT TIME ZONE 'UTC') - make_interval(secs => $3),
                false) AS is_recent
FROM token_families
WHERE user_id = $1 AND family_id = $2
FOR UPDATE;

-- name: family_rotate
-- route: primary
-- params: int user_id, text family_id, text jti, int lifetime_seconds
-- tenant: user_id
-- index: uq_token_families_user_family
UPDATE token_families
SET previous_jti = current_jti,
    current_jti = $3,
    rotated_at = now() AT TIME ZONE 'UTC',
    last_used_at = now() AT TIME ZONE 'UTC',
    expires_at = (now() AT TIME ZONE 'UTC') + make_interval(secs => $4)
WHERE user_id = $1 AND family_id = $2;

-- name: family_revoke
-- route: primary
-- params: int user_id, text family_id, text reason
-- tenant: user_id
-- index: uq_token_families_user_family
UPDATE token_families
SET revoked = true, revoked_reason = $3
WHERE user_id = $1 AND family_id = $2 AND NOT revoked;

-- name: family_revoke_others
-- route: primary
-- params: int user_id, text family_id, text reason
-- tenant: user_id
-- index: uq_token_families_user_family
UPDATE token_families
SET revoked = true, revoked_reason = $3
WHERE user_id = $1 AND family_id <> $2 AND NOT revoked
RETURNING family_id;
