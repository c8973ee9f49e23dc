-- What a version to come may take away, for tests, once nobody uses it any more.
-- contract: 9001
ALTER TABLE saved_content DROP COLUMN scrapling_version;
