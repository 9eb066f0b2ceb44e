-- Words that no book has, because they were misspelt: which ones were meant.
--
-- Swapped letters are put right on every server, other slips where the extension pg_trgm is there. It is not installed
-- from here, as nothing needs it: CREATE EXTENSION pg_trgm asks for no superuser, and the next run of book_search (or
-- these files by hand) then makes the index. Where the extension goes, its index goes with it; no row is touched.
SELECT set_config('search_path', format('book_search, %s, pg_temp', extnamespace::regnamespace), false)
FROM pg_extension WHERE extname = 'vector';

DO $$
DECLARE
    trigrams regnamespace := (
        SELECT extnamespace FROM pg_extension
        WHERE extname = 'pg_trgm' AND has_schema_privilege(extnamespace, 'USAGE'));
BEGIN
    IF trigrams IS NOT NULL THEN
        EXECUTE format('CREATE INDEX IF NOT EXISTS book_spelling ON book '
                       'USING gin (spelling(title, authors) %s.gin_trgm_ops)', trigrams);
        COMMENT ON INDEX book_spelling IS 'Words that were misspelt: see words_meant()';
    END IF;
END $$;

-- SET enable_seqscan: whether some book has a word is always a look into an index.
CREATE FUNCTION words_meant(words text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT
SET enable_seqscan = off
AS $$
DECLARE
    trigrams CONSTANT regnamespace := (
        SELECT extnamespace FROM pg_extension
        WHERE extname = 'pg_trgm' AND has_schema_privilege(extnamespace, 'USAGE')
            AND to_regclass('book_search.book_spelling') IS NOT NULL);
    typed CONSTANT text := lower(folded(words));
    meant text := typed;
    word text;
    nearest text;
    swapped text;
    is_there boolean;
    has_it CONSTANT text := 'SELECT EXISTS (SELECT FROM book b WHERE b.words @@ %L::tsquery)';
    threshold CONSTANT text := 'pg_trgm.word_similarity_threshold';
    was text;
BEGIN
    FOR word IN
        SELECT lexeme FROM unnest(to_tsvector('simple', left(typed, 1000)))
        WHERE lexeme ~ '^[[:alpha:]]{4,30}$' ORDER BY positions[1] LIMIT 8
    LOOP
        EXECUTE format(has_it, word) INTO is_there;
        CONTINUE WHEN is_there;
        nearest := NULL;
        FOR i IN 1 .. length(word) - 1 LOOP
            swapped := overlay(word PLACING reverse(substr(word, i, 2)) FROM i FOR 2);
            EXECUTE format(has_it, swapped) INTO is_there;
            IF is_there THEN
                nearest := swapped;
                EXIT;
            END IF;
        END LOOP;
        IF nearest IS NULL AND trigrams IS NOT NULL THEN
            -- Of the titles and authors with the most of its trigrams, the word most like it, or most frequent.
            was := coalesce(current_setting(threshold, true), '0.6');
            PERFORM set_config(threshold, '0.5', true);  -- a letter left out costs 3 trigrams: melvlle has 0.55
            EXECUTE format($q$
                WITH near AS MATERIALIZED (
                    SELECT spelling(b.title, b.authors) AS line FROM book b
                    WHERE $1 OPERATOR(%1$s.<%%) spelling(b.title, b.authors)
                    ORDER BY %1$s.word_similarity($1, spelling(b.title, b.authors)) DESC, b.edition_key LIMIT 200)
                SELECT lexeme FROM near, unnest(to_tsvector('simple', line))
                WHERE lexeme ~ '^[[:alpha:]]+$'
                GROUP BY lexeme HAVING %1$s.similarity($1, lexeme) >= 0.4
                ORDER BY %1$s.similarity($1, lexeme) DESC, count(*) DESC, lexeme
                LIMIT 1 $q$, trigrams)
            INTO nearest USING word;
            PERFORM set_config(threshold, was, true);
        END IF;
        meant := regexp_replace(meant, '\m' || word || '\M', coalesce(nearest, word), 'g');
    END LOOP;
    RETURN nullif(meant, typed);
END $$;
COMMENT ON FUNCTION words_meant(text) IS
    'The words with each of the first eight that no book has replaced by one that some book has: with two letters '
    'swapped, or by trigrams the nearest of titles and authors (extension pg_trgm). NULL where there is none. '
    'Example: SELECT words_meant(''moby dikc'')';
