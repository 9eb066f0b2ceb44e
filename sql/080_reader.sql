-- The role for those who only search: it may read and execute, and a slow query of its own ends after 10 seconds.
--
-- It has no password: who wants it over a network gives it one, ALTER ROLE book_search_reader PASSWORD '...'.
-- Where we may not make roles, somebody who may runs this file; all else works without it.
--
-- On a new database (the embedded one apart) everybody may make temporary tables and large objects. To take that away
-- is for its owner, REVOKE TEMPORARY ON DATABASE ... FROM PUBLIC, and for a superuser,
-- REVOKE EXECUTE ON FUNCTION lo_creat, lo_create, lo_from_bytea FROM PUBLIC.
--
-- What a role may not touch, it cannot: rights hold. How long it may take, it can change: statement_timeout is where a
-- session starts, and Postgres lets every session SET it. It guards against mistakes. Against those who mean it, let
-- them reach the database through an application or a pooler that sends no SET, or end what takes long from outside:
--     SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'book_search_reader'
--         AND state = 'active' AND query_start < now() - interval '30 seconds'
-- Nor can it be kept from holding what others wait for: a transaction left open (60 s), an advisory lock.
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
    used regnamespace;
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
    FOR used IN SELECT extnamespace FROM pg_extension WHERE extname IN ('vector', 'pg_trgm') LOOP
        IF NOT has_schema_privilege('book_search_reader', used, 'USAGE') THEN
            BEGIN
                EXECUTE format('GRANT USAGE ON SCHEMA %s TO book_search_reader', used);
            EXCEPTION WHEN insufficient_privilege THEN
                RAISE NOTICE 'its owner has to GRANT USAGE ON SCHEMA % TO book_search_reader', used;
            END;
        END IF;
    END LOOP;
    GRANT SELECT ON ALL TABLES IN SCHEMA book_search TO book_search_reader;
    FOR readable IN
        SELECT oid::regprocedure FROM pg_proc
        WHERE pronamespace = 'book_search'::regnamespace AND prokind = 'f' AND provolatile <> 'v'
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO book_search_reader', readable);
    END LOOP;
END $$;
