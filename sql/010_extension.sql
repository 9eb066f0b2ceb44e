-- pgvector, our schema, and a search path by which its tables and functions are found unqualified.
--
-- Everything lies in the schema book_search: a database that others use keeps its `public` as it was, and the
-- reader's rights can be given, and taken, for the whole schema. All files, in order, may be applied at any time:
--     cat sql/*.sql | psql -1 -v ON_ERROR_STOP=1 "$DATABASE_URL"

-- pgvector is not a trusted extension: where this fails, a superuser (on RDS: rds_superuser) runs it once.
CREATE EXTENSION IF NOT EXISTS vector;

DO $$
BEGIN
    -- CREATE SCHEMA IF NOT EXISTS would ask for the right to create it even where it exists.
    IF to_regnamespace('book_search') IS NULL THEN
        CREATE SCHEMA book_search;
    END IF;
END $$;

-- `book_search` is put behind what the database's search path was, so that nobody's names change their meaning.
-- Where we do not own the database, the path is set for our own role alone; connect() sets it for itself anyway.
DO $$
DECLARE
    was text := (
        SELECT substr(setting, length('search_path=') + 1)
        FROM pg_db_role_setting, unnest(setconfig) AS setting
        WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND setrole = 0 AND setting LIKE 'search_path=%');
    vectors text := (SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'vector');
    wanted text := concat_ws(', ', coalesce(was, '"$user", public'),
        CASE WHEN vectors <> 'public' THEN vectors END, 'book_search');
BEGIN
    IF coalesce(was, '') ~ '\mbook_search\M' THEN
        RETURN;
    END IF;
    BEGIN
        EXECUTE format('ALTER DATABASE %I SET search_path = %s', current_database(), wanted);
    EXCEPTION WHEN insufficient_privilege THEN
        EXECUTE format('ALTER ROLE CURRENT_USER IN DATABASE %I SET search_path = %s', current_database(), wanted);
    END;
END $$;

COMMENT ON SCHEMA book_search IS
    'Books found by their covers: SELECT * FROM book_search.search_books(query, words, k), and \d+ for the rest';
