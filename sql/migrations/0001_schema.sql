-- The schema: Fuze's tables and column names (contract 4), forkmark's additions.
--
-- Rules of all tenant tables: user_id is not null and stands first in every key,
-- unique and foreign keys included, so that each could be distributed by user
-- later. `timestamp` columns hold UTC. Vectors are real[]: no extension needed.
-- An index lands with the query that needs it; its comment names that query.

-- 1. Tables that Fuze left in this schema step aside, into the schema `fuze`. They
--    are copied at the end of this file and then kept, as they were, as the way back.
DO $$
DECLARE
    name text;
BEGIN
    IF to_regclass(format('%I.saved_content', current_schema())) IS NULL
       AND to_regclass(format('%I.users', current_schema())) IS NULL THEN
        RETURN;
    END IF;
    IF (SELECT count(*) FROM information_schema.columns
        WHERE table_schema = current_schema()
          AND (table_name, column_name) IN (('users', 'password_hash'),
               ('saved_content', 'url'), ('saved_content', 'saved_at'))) < 3 THEN
        RAISE EXCEPTION 'schema % holds tables named users or saved_content that are not Fuze''s', current_schema()
            USING HINT = 'Give forkmark a database or a schema (search_path) of its own.';
    END IF;
    IF to_regnamespace('fuze') IS NOT NULL THEN
        RAISE EXCEPTION 'cannot move Fuze''s tables aside: a schema named fuze exists already'
            USING HINT = 'Rename or drop it, then run `forkmark migrate` again.';
    END IF;
    CREATE SCHEMA fuze;
    FOREACH name IN ARRAY ARRAY['users', 'projects', 'saved_content', 'bookmark_metadata',
        'content_analysis', 'tasks', 'subtasks', 'feedback', 'user_feedback',
        'token_families', 'bookmark_events', 'outbox'] LOOP
        EXECUTE format('ALTER TABLE IF EXISTS %I.%I SET SCHEMA fuze', current_schema(), name);
    END LOOP;
END $$;

-- 2. The tables.
CREATE TABLE users (
    id serial PRIMARY KEY,
    username varchar(80) NOT NULL,
    email varchar(120) NOT NULL,
    password_hash varchar(256) NOT NULL,
    technology_interests text,
    user_metadata json,
    provider_name varchar(50),
    provider_user_id varchar(200),
    created_at timestamp DEFAULT (now() AT TIME ZONE 'utc'),
    failed_login_count integer NOT NULL DEFAULT 0,
    last_failed_login timestamp,
    account_locked_until timestamp
);
-- user_by_login, user_by_username, user_by_email, user_insert: unique whatever the case.
CREATE UNIQUE INDEX idx_users_username_lower ON users (lower(username));
CREATE UNIQUE INDEX idx_users_email_lower ON users (lower(email));

CREATE TABLE projects (
    id serial,
    user_id integer NOT NULL REFERENCES users ON DELETE CASCADE,
    title varchar(200) NOT NULL,
    description text,
    technologies text,
    created_at timestamp DEFAULT (now() AT TIME ZONE 'utc'),
    intent_analysis json,
    intent_analysis_updated timestamp,
    embedding real[],
    embedding_metadata json,
    PRIMARY KEY (user_id, id)
);

-- What a bookmark's text search finds: title, tags, notes, URL, text, in this order of
-- weight. to_tsvector and || fail above 1 MiB of lexemes, so the text is cut to its
-- first 256 KiB; should it fail all the same, the bookmark is saved and found by less.
CREATE FUNCTION bookmark_search_vector(title text, tags text, notes text, url text,
                                       body text) RETURNS tsvector
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    part text := left(coalesce(body, ''), 262144);
    head tsvector;
BEGIN
    IF octet_length(part) > 262144 THEN
        part := left(part, (262144::bigint * length(part) / octet_length(part))::int);
    END IF;
    head := setweight(to_tsvector('pg_catalog.english', left(coalesce(title, ''), 1000)), 'A')
         || setweight(to_tsvector('pg_catalog.english',
                translate(left(coalesce(tags, ''), 10000), ',', ' ')), 'B')
         || setweight(to_tsvector('pg_catalog.english',
                regexp_replace(left(coalesce(url, ''), 2048), '[^[:alnum:]]+', ' ', 'g')), 'C');
    BEGIN
        RETURN head
            || setweight(to_tsvector('pg_catalog.english', left(coalesce(notes, ''), 65536)), 'B')
            || setweight(to_tsvector('pg_catalog.english', part), 'D');
    EXCEPTION WHEN program_limit_exceeded THEN
        RETURN head;
    END;
END $$;

-- What the list shows stands first, numbers before texts: a row is read from its beginning,
-- and only as far as needed.
CREATE TABLE saved_content (
    id serial,
    user_id integer NOT NULL REFERENCES users ON DELETE CASCADE,
    saved_at timestamp DEFAULT (now() AT TIME ZONE 'utc'),
    quality_score integer DEFAULT 10,
    reading_time integer DEFAULT 0,
    has_content boolean GENERATED ALWAYS AS (coalesce(extracted_text <> '', false)) STORED,
    scrape_status varchar(20) DEFAULT 'PENDING',
    url text NOT NULL,
    title varchar(200) NOT NULL,
    category varchar(100),
    tags text,
    notes text,
    url_norm text NOT NULL, -- url_normalise(): two forms of one address are equal
    page_key text NOT NULL, -- url_page_key(): scheme, host and path
    source varchar(50),
    extracted_text text,
    embedding real[],
    embedding_metadata json,
    embedding_status varchar(20) DEFAULT 'PENDING',
    analysis_status varchar(20) DEFAULT 'PENDING',
    scraped_at timestamptz,
    embedded_at timestamptz,
    analyzed_at timestamptz,
    pipeline_version integer DEFAULT 1,
    author varchar(255),
    published_at timestamptz,
    language varchar(10),
    content_hash varchar(64),
    strategy_used varchar(20),
    scrapling_version varchar(20),
    extractor_version varchar(20),
    -- Stored; computed again only when one of the five is written.
    search_vector tsvector GENERATED ALWAYS AS
        (bookmark_search_vector(title, tags, notes, url, extracted_text)) STORED,
    PRIMARY KEY (user_id, id),
    -- bookmark_insert, duplicate check `exact`. A b-tree entry ends at 2704 bytes,
    -- hence the limit of 2048 on a URL.
    CONSTRAINT uq_saved_content_user_url UNIQUE (user_id, url)
);
-- bookmark_list.
CREATE INDEX idx_saved_content_user_saved_at
    ON saved_content (user_id, saved_at DESC, id DESC);
-- bookmark_find_same, bookmark_insert: duplicate check `normalized`.
CREATE INDEX idx_saved_content_user_url_norm ON saved_content (user_id, url_norm);
-- bookmark_find_similar: duplicate check `similar`.
CREATE INDEX idx_saved_content_user_page_key ON saved_content (user_id, page_key);
-- bookmark_find_by_url: delete by URL, ignoring case (D16).
CREATE INDEX idx_saved_content_user_url_lower ON saved_content (user_id, lower(url));
-- counts of bookmarks with text (success rate, analyses still to do).
CREATE INDEX idx_saved_content_has_text ON saved_content (user_id)
    WHERE extracted_text <> '';
-- sweep_unfinished: bookmarks whose job was lost.
CREATE INDEX idx_saved_content_unfinished ON saved_content (scrape_status, saved_at)
    WHERE scrape_status IN ('PENDING', 'RUNNING');
-- search_text.
CREATE INDEX idx_saved_content_search ON saved_content USING gin (search_vector);

CREATE TABLE bookmark_metadata (
    bookmark_id bigint NOT NULL,
    user_id integer NOT NULL,
    jsonb_payload jsonb NOT NULL,
    created_at timestamptz DEFAULT now(),
    updated_at timestamptz DEFAULT now(),
    PRIMARY KEY (user_id, bookmark_id),
    FOREIGN KEY (user_id, bookmark_id) REFERENCES saved_content ON DELETE CASCADE
);

CREATE TABLE content_analysis (
    id serial,
    user_id integer NOT NULL,
    content_id integer NOT NULL,
    analysis_data json NOT NULL,
    key_concepts text,
    content_type varchar(100),
    difficulty_level varchar(50),
    technology_tags text,
    relevance_score integer DEFAULT 0,
    created_at timestamp DEFAULT (now() AT TIME ZONE 'utc'),
    updated_at timestamp DEFAULT (now() AT TIME ZONE 'utc'),
    PRIMARY KEY (user_id, id),
    -- one analysis a bookmark; joins of bookmark and analysis.
    CONSTRAINT uq_content_analysis_user_content UNIQUE (user_id, content_id),
    FOREIGN KEY (user_id, content_id) REFERENCES saved_content ON DELETE CASCADE
);

CREATE TABLE tasks (
    id serial,
    user_id integer NOT NULL,
    project_id integer NOT NULL,
    title varchar(255) NOT NULL,
    description text,
    created_at timestamp DEFAULT (now() AT TIME ZONE 'utc'),
    embedding real[],
    embedding_metadata json,
    PRIMARY KEY (user_id, id),
    FOREIGN KEY (user_id, project_id) REFERENCES projects ON DELETE CASCADE
);

CREATE TABLE subtasks (
    id serial,
    user_id integer NOT NULL,
    task_id integer NOT NULL,
    title varchar(255) NOT NULL,
    description text,
    completed integer DEFAULT 0,
    created_at timestamp DEFAULT (now() AT TIME ZONE 'utc'),
    updated_at timestamp DEFAULT (now() AT TIME ZONE 'utc'),
    embedding real[],
    embedding_metadata json,
    PRIMARY KEY (user_id, id),
    FOREIGN KEY (user_id, task_id) REFERENCES tasks ON DELETE CASCADE
);

CREATE TABLE feedback (
    id serial,
    user_id integer NOT NULL REFERENCES users ON DELETE CASCADE,
    project_id integer,
    content_id integer NOT NULL,
    feedback_type varchar(20) NOT NULL,
    "timestamp" timestamp DEFAULT (now() AT TIME ZONE 'utc'),
    PRIMARY KEY (user_id, id),
    -- one opinion a bookmark; serves the cascade from a deleted bookmark too.
    CONSTRAINT uq_feedback_user_content UNIQUE (user_id, content_id),
    FOREIGN KEY (user_id, project_id) REFERENCES projects ON DELETE CASCADE,
    FOREIGN KEY (user_id, content_id) REFERENCES saved_content ON DELETE CASCADE
);

CREATE TABLE user_feedback (
    id serial,
    user_id integer NOT NULL REFERENCES users ON DELETE CASCADE,
    content_id integer,
    recommendation_id integer,
    feedback_type varchar(20) NOT NULL,
    context_data json,
    "timestamp" timestamp DEFAULT (now() AT TIME ZONE 'utc'),
    PRIMARY KEY (user_id, id),
    FOREIGN KEY (user_id, content_id) REFERENCES saved_content ON DELETE CASCADE
);
-- the cascade from a deleted bookmark.
CREATE INDEX idx_user_feedback_user_content ON user_feedback (user_id, content_id);

-- One login session each; current_jti is the only refresh token that is good now.
CREATE TABLE token_families (
    id serial,
    user_id integer NOT NULL REFERENCES users ON DELETE CASCADE,
    family_id varchar(36) NOT NULL,
    current_jti varchar(36) NOT NULL,
    previous_jti varchar(36),
    rotated_at timestamp,
    created_at timestamp DEFAULT (now() AT TIME ZONE 'utc'),
    last_used_at timestamp DEFAULT (now() AT TIME ZONE 'utc'),
    expires_at timestamp,
    revoked boolean NOT NULL DEFAULT false,
    revoked_reason varchar(50),
    PRIMARY KEY (user_id, id),
    -- family_is_good, family_lock, family_rotate, family_revoke, family_revoke_others.
    CONSTRAINT uq_token_families_user_family UNIQUE (user_id, family_id)
);
-- sweep_expired_families.
CREATE INDEX idx_token_families_expires_at ON token_families (expires_at);

CREATE TABLE bookmark_events (
    -- the key (user_id, id) is the replay's index: events_after, events_since.
    id bigserial,
    event_id varchar(64) NOT NULL,
    bookmark_id bigint NOT NULL,
    user_id integer NOT NULL REFERENCES users ON DELETE CASCADE,
    pipeline_run_id varchar(64) NOT NULL,
    sequence integer NOT NULL DEFAULT 1,
    type varchar(100) NOT NULL,
    schema_version integer DEFAULT 1,
    data jsonb,
    error jsonb,
    metadata_json jsonb,
    created_at timestamptz DEFAULT now(),
    PRIMARY KEY (user_id, id),
    -- a stream's last event id.
    CONSTRAINT uq_bookmark_events_user_event UNIQUE (user_id, event_id),
    FOREIGN KEY (user_id, bookmark_id) REFERENCES saved_content ON DELETE CASCADE
);
-- pipeline_last_run, and the cascade from a deleted bookmark.
CREATE INDEX idx_bookmark_events_user_bookmark
    ON bookmark_events (user_id, bookmark_id, sequence);
-- sweep_old_events: older than 30 days.
CREATE INDEX idx_bookmark_events_created_at ON bookmark_events (created_at);

-- A row: this job is owed to Redis. Made with the bookmark, deleted by the job's
-- first transaction; the scheduler pushes again what stays.
CREATE TABLE outbox (
    job_id varchar(128) NOT NULL,
    user_id integer NOT NULL,
    bookmark_id integer NOT NULL,
    url text NOT NULL,
    queue varchar(64) NOT NULL,
    request_id varchar(128),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, job_id),
    FOREIGN KEY (user_id, bookmark_id) REFERENCES saved_content ON DELETE CASCADE
);
-- outbox_due: the scheduler's round, oldest first.
CREATE INDEX idx_outbox_created_at ON outbox (created_at, job_id);
-- the cascade from a deleted bookmark.
CREATE INDEX idx_outbox_user_bookmark ON outbox (user_id, bookmark_id);

-- 3. Fuze's rows, if section 1 found any. Columns both sides know are copied; what
--    only forkmark has is derived. Rows that no user owns any more are left behind.

-- url_normalise() and url_page_key() of common/url.c, for this one time.
CREATE FUNCTION pg_temp.url_key(url text, with_query boolean) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    part text[] := regexp_match(rtrim(url, '/'),
        '^([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*@)?([^/?#]+)([^?#]*)(?:\?([^#]*))?');
    query text;
BEGIN
    IF part IS NULL THEN
        RETURN rtrim(url, '/');
    END IF;
    IF with_query THEN
        SELECT '?' || string_agg(p, '&' ORDER BY n) INTO query
          FROM unnest(string_to_array(part[5], '&')) WITH ORDINALITY AS q (p, n)
         WHERE p <> '' AND lower(split_part(p, '=', 1)) NOT IN ('utm_source',
               'utm_medium', 'utm_campaign', 'utm_term', 'utm_content', 'fbclid', 'gclid',
               'ref', 'source', 'campaign');
    END IF;
    RETURN rtrim(lower(part[1]) || '://' || coalesce(part[2], '') || lower(part[3])
                 || part[4] || coalesce(query, ''), '/');
END $$;

-- Copies one table. `derived`: columns and their expressions over `old` and `owner`;
-- `owner`: the rest of the FROM clause, which also drops rows without one.
CREATE FUNCTION pg_temp.take_over(name text, derived text[], owner text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    columns text;
    expressions text;
    taken bigint;
    total bigint;
BEGIN
    IF to_regclass('fuze.' || name) IS NULL THEN
        RETURN;
    END IF;
    -- A vector's type may be pgvector's; both kinds cast to real[].
    SELECT string_agg(quote_ident(c.attname), ', ' ORDER BY c.attnum),
           string_agg('old.' || quote_ident(c.attname) || CASE
                          WHEN c.atttypid = 'real[]'::regtype THEN '::real[]' ELSE '' END,
                      ', ' ORDER BY c.attnum)
      INTO columns, expressions
      FROM pg_attribute c
      JOIN pg_attribute o ON o.attrelid = to_regclass('fuze.' || name)
                         AND o.attname = c.attname AND o.attnum > 0 AND NOT o.attisdropped
     WHERE c.attrelid = to_regclass(quote_ident(current_schema()) || '.' || name)
       AND c.attnum > 0 AND NOT c.attisdropped AND c.attgenerated = ''
       AND NOT c.attname = ANY (derived[:][1:1]);
    FOR i IN 1 .. coalesce(array_length(derived, 1), 0) LOOP
        columns := columns || ', ' || derived[i][1];
        expressions := expressions || ', ' || derived[i][2];
    END LOOP;
    EXECUTE format('INSERT INTO %I (%s) SELECT %s FROM fuze.%I old %s',
                   name, columns, expressions, name, owner);
    GET DIAGNOSTICS taken = ROW_COUNT;
    EXECUTE format('SELECT count(*) FROM fuze.%I', name) INTO total;
    IF name <> 'bookmark_metadata' THEN -- the one without an id of its own
        EXECUTE format('SELECT setval(pg_get_serial_sequence(%L, ''id''), '
                       'greatest((SELECT max(id) FROM fuze.%I), 1))', name, name);
    END IF;
    RAISE NOTICE 'took over % of % rows of %', taken, total, name;
END $$;

DO $$
DECLARE
    of_bookmark text := 'JOIN saved_content owner ON owner.id = old.%s';
BEGIN
    PERFORM pg_temp.take_over('users', '{}', '');
    PERFORM pg_temp.take_over('projects', '{}', 'WHERE old.user_id IS NOT NULL');
    PERFORM pg_temp.take_over('saved_content',
        '{{url_norm, "pg_temp.url_key(old.url, true)"},
          {page_key, "pg_temp.url_key(old.url, false)"}}', 'WHERE old.user_id IS NOT NULL');
    PERFORM pg_temp.take_over('bookmark_metadata', '{{user_id, owner.user_id}}',
        format(of_bookmark, 'bookmark_id'));
    PERFORM pg_temp.take_over('content_analysis', '{{user_id, owner.user_id}}',
        format(of_bookmark, 'content_id'));
    PERFORM pg_temp.take_over('tasks', '{{user_id, owner.user_id}}',
        'JOIN projects owner ON owner.id = old.project_id');
    PERFORM pg_temp.take_over('subtasks', '{{user_id, owner.user_id}}',
        'JOIN tasks owner ON owner.id = old.task_id');
    -- One row's user, bookmark and project may differ in Fuze (D21): then it says nothing.
    PERFORM pg_temp.take_over('feedback', '{}', format(of_bookmark, 'content_id')
        || ' AND owner.user_id = old.user_id WHERE old.project_id IS NULL OR EXISTS '
           '(SELECT 1 FROM projects p WHERE p.id = old.project_id AND p.user_id = old.user_id)');
    PERFORM pg_temp.take_over('user_feedback', '{}', 'WHERE old.user_id IS NOT NULL '
        'AND (old.content_id IS NULL OR EXISTS (SELECT 1 FROM saved_content s '
        'WHERE s.id = old.content_id AND s.user_id = old.user_id))');
    -- A family lives as long as its refresh token, 30 days from its last use.
    PERFORM pg_temp.take_over('token_families',
        '{{expires_at, "coalesce(old.last_used_at, old.created_at) + interval ''30 days''"}}',
        'WHERE old.user_id IS NOT NULL');
    PERFORM pg_temp.take_over('bookmark_events', '{{user_id, owner.user_id}}',
        format(of_bookmark, 'bookmark_id'));
END $$;

DROP FUNCTION pg_temp.take_over(text, text[], text);
DROP FUNCTION pg_temp.url_key(text, boolean);
