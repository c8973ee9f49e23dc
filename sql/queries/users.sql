-- Accounts: who they are, signing in, the lock after wrong passwords.
-- Times are UTC without zone, as Fuze stores them.

-- name: user_by_login
-- route: primary
-- params: text login
-- tenant: all: finds the account by what its owner typed, before anybody is known
SELECT id, username, email, password_hash,
       coalesce(account_locked_until > (now() AT TIME ZONE 'UTC'), false) AS is_locked
FROM (
    SELECT u.*, 0 AS rank FROM users u WHERE lower(u.email) = lower($1)
    UNION ALL
    SELECT u.*, 1 AS rank FROM users u WHERE lower(u.username) = lower($1)
) found
ORDER BY rank
LIMIT 1;

-- Clears the counter and a lock that has ended. Nothing is changed, and the login
-- refused, when the account was locked or its password replaced while we hashed.
-- name: user_login_succeeded
-- route: primary
-- params: int id, text verified_hash, text new_hash
-- tenant: id
UPDATE users
SET failed_login_count = 0, account_locked_until = NULL, password_hash = $3
WHERE id = $1
  AND password_hash = $2
  AND (account_locked_until IS NULL
       OR account_locked_until <= (now() AT TIME ZONE 'UTC'))
RETURNING id;

-- One more wrong password. A lock that has ended starts the count anew; while a lock
-- holds, nothing is counted.
-- name: user_login_failed
-- route: primary
-- params: int id, int max_attempts, int lockout_seconds
-- tenant: id
UPDATE users
SET failed_login_count =
        CASE WHEN account_locked_until IS NULL THEN failed_login_count + 1 ELSE 1 END,
    last_failed_login = (now() AT TIME ZONE 'UTC'),
    account_locked_until =
        CASE WHEN (CASE WHEN account_locked_until IS NULL
                        THEN failed_login_count + 1 ELSE 1 END) >= $2
             THEN (now() AT TIME ZONE 'UTC') + make_interval(secs => $3)
        END
WHERE id = $1
  AND (account_locked_until IS NULL
       OR account_locked_until <= (now() AT TIME ZONE 'UTC'))
RETURNING failed_login_count, account_locked_until IS NOT NULL AS is_locked;

-- name: user_insert
-- route: primary
-- params: text username, text email, text password_hash
-- tenant: all: makes an account
INSERT INTO users (username, email, password_hash, created_at)
VALUES ($1, $2, $3, now() AT TIME ZONE 'UTC')
RETURNING id;

-- name: user_by_email
-- route: primary
-- params: text email
-- tenant: all: emails are unique over all accounts
SELECT id FROM users WHERE lower(email) = lower($1);

-- name: user_by_username
-- route: primary
-- params: text username
-- tenant: all: names are unique over all accounts
SELECT id, username FROM users WHERE lower(username) = lower($1);

-- Names made of this one and a number that nobody has: small numbers first, some
-- random ones for a name so common that those are gone.
-- name: username_suggest
-- route: primary
-- params: text base
-- tenant: all: names are unique over all accounts
SELECT c.name
FROM (
    SELECT lower($1) || n AS name, n FROM generate_series(1, 20) n
    UNION ALL
    SELECT lower($1) || r, r
    FROM (SELECT (1000 + floor(random() * 9000))::int AS r
          FROM generate_series(1, 5)) random_numbers
) c
WHERE NOT EXISTS (SELECT 1 FROM users u WHERE lower(u.username) = c.name)
GROUP BY c.name, c.n
ORDER BY c.n
LIMIT 3;

-- name: user_profile
-- route: replica
-- params: int id
-- tenant: id
SELECT id, username, email, technology_interests, provider_name, created_at
FROM users
WHERE id = $1;

-- name: user_rename
-- route: primary
-- params: int id, text username
-- tenant: id
UPDATE users SET username = $2 WHERE id = $1;

-- Who came by a provider and never chose a password has one that nobody knows.
-- name: user_password
-- route: primary
-- params: int id
-- tenant: id
SELECT password_hash,
       provider_name IS NOT NULL
           AND coalesce(user_metadata ->> 'password_chosen', '') <> 'true' AS is_unknown
FROM users
WHERE id = $1;

-- name: user_set_password
-- route: primary
-- params: int id, text verified_hash, text new_hash
-- tenant: id
UPDATE users
SET password_hash = $3,
    failed_login_count = 0,
    account_locked_until = NULL,
    user_metadata =
        CASE WHEN provider_name IS NULL THEN user_metadata
             ELSE (coalesce(user_metadata::jsonb, '{}'::jsonb)
                   || '{"password_chosen": true}'::jsonb)::json
        END
WHERE id = $1
  AND password_hash = $2;
