-- Words that grow when they are made small. PostgreSQL leaves words of 2047 bytes and
-- more out of a tsvector, but looks at their length before it makes them small, and Ⱥ and
-- Ⱦ take three bytes then instead of two. What is longer afterwards than 11 bits can say
-- ends the server process, and with it every connection (seen with 15.18 and 17.12). So
-- both letters are made small first, here and in search_text.
CREATE OR REPLACE FUNCTION bookmark_search_vector(title text, tags text, notes text,
                                                  url text, body text) RETURNS tsvector
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    part text := left(coalesce(body, ''), 262144);
    head tsvector;
BEGIN
    IF octet_length(part) > 262144 THEN
        part := left(part, (262144::bigint * length(part) / octet_length(part))::int);
    END IF;
    head := setweight(to_tsvector('pg_catalog.english',
                translate(left(coalesce(title, ''), 1000), 'ȺȾ', 'ⱥⱦ')), 'A')
         || setweight(to_tsvector('pg_catalog.english',
                translate(left(coalesce(tags, ''), 10000), ',ȺȾ', ' ⱥⱦ')), 'B')
         || setweight(to_tsvector('pg_catalog.english',
                translate(regexp_replace(left(coalesce(url, ''), 2048),
                                         '[^[:alnum:]]+', ' ', 'g'), 'ȺȾ', 'ⱥⱦ')), 'C');
    BEGIN
        RETURN head
            || setweight(to_tsvector('pg_catalog.english',
                   translate(left(coalesce(notes, ''), 65536), 'ȺȾ', 'ⱥⱦ')), 'B')
            || setweight(to_tsvector('pg_catalog.english', translate(part, 'ȺȾ', 'ⱥⱦ')), 'D');
    EXCEPTION WHEN program_limit_exceeded THEN
        RETURN head;
    END;
END $$;

-- bookmark_find_by_url. A URL of such letters was too long for the index, too.
DROP INDEX idx_saved_content_user_url_lower;
CREATE INDEX idx_saved_content_user_url_lower
    ON saved_content (user_id, left(lower(url), 512));
