-- The role for those who only search: it may read and execute, and a slow query of its own ends after 10 seconds.
--
-- It has no password: who wants it over a network gives it one, ALTER ROLE book_search_reader PASSWORD '...'.
-- Temporary tables are for everybody on a new database (the embedded one apart): its owner may take that away by
-- REVOKE TEMPORARY ON DATABASE ... FROM PUBLIC. Where we may not make roles, somebody who may runs this file; all else works without it.
SELECT set_config('search_path', format('book_search, %s, pg_temp', extnamespace::regnamespace), false)
FROM pg_extension WHERE extname = 'vector';

DO $$
DECLARE
    home text := current_database();
BEGIN
    IF to_regrole('book_search_reader') IS NULL THEN
        CREATE ROLE book_search_reader LOGIN NOINHERIT;
    END IF;
    COMMENT ON ROLE book_search_reader IS 'Searches books: reads and executes in the schema book_search, nothing else';
    EXECUTE format('ALTER ROLE book_search_reader IN DATABASE %I SET search_path = %s', home,
                   current_setting('search_path'));
    EXECUTE format('ALTER ROLE book_search_reader IN DATABASE %I SET statement_timeout = ''10s''', home);
    EXECUTE format('ALTER ROLE book_search_reader IN DATABASE %I SET idle_in_transaction_session_timeout = ''60s''',
                   home);
    EXECUTE format('ALTER ROLE book_search_reader IN DATABASE %I SET default_transaction_read_only = on', home);
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'not allowed to set up the role book_search_reader: %', SQLERRM;
END $$;

-- Functions are everybody's by default; here they are the reader's, and those that change something nobody's.
REVOKE ALL ON SCHEMA book_search FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA book_search FROM PUBLIC;

DO $$
DECLARE
    readable regprocedure;
BEGIN
    IF to_regrole('book_search_reader') IS NULL THEN
        RETURN;
    END IF;
    BEGIN
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO book_search_reader', current_database());
    EXCEPTION WHEN insufficient_privilege THEN
        NULL;  -- whose database it is decides who may connect
    END;
    GRANT USAGE ON SCHEMA book_search TO book_search_reader;
    GRANT SELECT ON ALL TABLES IN SCHEMA book_search TO book_search_reader;
    FOR readable IN
        SELECT oid::regprocedure FROM pg_proc
        WHERE pronamespace = 'book_search'::regnamespace AND prokind = 'f' AND provolatile <> 'v'
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO book_search_reader', readable);
    END LOOP;
END $$;
