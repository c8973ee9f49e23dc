-- What access.c asks when Redis cannot tell.

-- A replica may lag behind a logout; the mark in Redis covers that, and without
-- Redis the user's own writes choose the replica.
-- name: family_is_good
-- route: replica
-- params: int user_id, text family_id
-- tenant: user_id
-- index: uq_token_families_user_family
SELECT 1
FROM token_families
WHERE user_id = $1 AND family_id = $2 AND NOT revoked
  AND (expires_at IS NULL OR expires_at > (now() AT TIME ZONE 'UTC'));
