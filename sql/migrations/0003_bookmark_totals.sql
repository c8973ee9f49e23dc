-- How many bookmarks a user has, without counting them: bookmark_list shows the total on
-- every page, and counting 1,000 index entries took three quarters of its time.
--
-- One row a user, so two transactions that save for one user wait for each other's
-- commit. Rows of one user's slots, added up, would let them pass each other, but adding
-- up costs every page of every user an eighth of the statement, and nobody saves links
-- faster than a disk commits. Statement triggers keep it, whoever writes and however many
-- rows.
CREATE TABLE bookmark_totals (
    user_id integer PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    total bigint NOT NULL
) WITH (fillfactor = 50); -- room for the next version of a row on its own page

CREATE FUNCTION bookmark_totals_add() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO bookmark_totals AS t (user_id, total)
    SELECT user_id, count(*) FROM added GROUP BY user_id
    ORDER BY user_id -- so that two of these never wait for each other in a circle
    ON CONFLICT (user_id) DO UPDATE SET total = t.total + excluded.total;
    RETURN NULL;
END $$;

-- A user who is being deleted has no total to keep.
CREATE FUNCTION bookmark_totals_take() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO bookmark_totals AS t (user_id, total)
    SELECT gone.user_id, -count(*)
    FROM gone JOIN users ON users.id = gone.user_id
    GROUP BY gone.user_id ORDER BY gone.user_id
    ON CONFLICT (user_id) DO UPDATE SET total = t.total + excluded.total;
    RETURN NULL;
END $$;

CREATE FUNCTION bookmark_totals_clear() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM bookmark_totals;
    RETURN NULL;
END $$;

CREATE TRIGGER bookmark_totals_add AFTER INSERT ON saved_content
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION bookmark_totals_add();
CREATE TRIGGER bookmark_totals_take AFTER DELETE ON saved_content
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION bookmark_totals_take();
CREATE TRIGGER bookmark_totals_clear AFTER TRUNCATE ON saved_content
    FOR EACH STATEMENT EXECUTE FUNCTION bookmark_totals_clear();

-- The triggers' locks keep writers away until the end of this migration.
INSERT INTO bookmark_totals (user_id, total)
SELECT user_id, count(*) FROM saved_content GROUP BY user_id;
