-- bookmark_insert: two forms of one address that are saved at the same moment are one
-- bookmark. Asking first cannot see a save that has not been committed; only a unique
-- index waits for it.
--
-- Fuze let such pairs in. All are kept; the oldest stands for the page, as it did in
-- bookmark_find_same, and the others get a form that no address normalises to.
UPDATE saved_content s SET url_norm = s.url_norm || ' ' || s.id
WHERE EXISTS (SELECT 1 FROM saved_content older
              WHERE older.user_id = s.user_id AND older.url_norm = s.url_norm
                AND older.id < s.id);

DROP INDEX idx_saved_content_user_url_norm;
CREATE UNIQUE INDEX idx_saved_content_user_url_norm ON saved_content (user_id, url_norm);
