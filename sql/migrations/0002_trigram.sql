-- Substring search by trigram indexes where pg_trgm can be had. Without it the same
-- queries run over the user's own rows, which the list's index finds. A server that
-- gets the extension later may run this block by hand.
DO $$
DECLARE
    place text;
    part text;
BEGIN
    BEGIN
        CREATE EXTENSION IF NOT EXISTS pg_trgm;
    EXCEPTION WHEN OTHERS THEN
        RAISE NOTICE 'no trigram indexes: %', SQLERRM;
        RETURN;
    END;
    SELECT n.nspname INTO place
      FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
     WHERE e.extname = 'pg_trgm';
    -- bookmark_list_filtered, search_text: title, notes or url contain what was typed.
    FOREACH part IN ARRAY ARRAY['title', 'notes', 'url'] LOOP
        EXECUTE format('CREATE INDEX %I ON saved_content USING gin (%I %I.gin_trgm_ops)',
                       'idx_saved_content_' || part || '_trgm', part, place);
    END LOOP;
END $$;
