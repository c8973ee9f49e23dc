-- What a version to come may add, for tests: columns, one of which every row gets a value
-- for, a table, an index. Programs that know nothing of it go on.
ALTER TABLE saved_content ADD COLUMN shelf text NOT NULL DEFAULT 'none';
ALTER TABLE saved_content ADD COLUMN read_at timestamptz;
ALTER TABLE users ADD COLUMN shelves integer;
CREATE TABLE shelves (
    user_id integer NOT NULL REFERENCES users ON DELETE CASCADE,
    name text NOT NULL,
    PRIMARY KEY (user_id, name)
);
CREATE INDEX idx_saved_content_user_shelf ON saved_content (user_id, shelf);
