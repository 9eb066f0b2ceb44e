-- Books by their covers and by words, one hit a work.
SELECT set_config('search_path', format('book_search, %s, pg_temp', extnamespace::regnamespace), false)
FROM pg_extension WHERE extname = 'vector';

DROP TYPE IF EXISTS found_book;
CREATE TYPE found_book AS (
    edition_key text, work_key text, title text, authors text[], publish_year smallint, cover_id bigint,
    cosine double precision, vector_rank bigint, words_rank bigint, score double precision
);
COMMENT ON TYPE found_book IS 'A book that a search found, and the parts of its score: 1 / (60 + rank) for each rank';
COMMENT ON COLUMN found_book.edition_key IS 'The edition whose cover is nearest, or which has the words best';
COMMENT ON COLUMN found_book.work_key IS 'The work, which is found once; NULL where the edition stands alone';
COMMENT ON COLUMN found_book.title IS 'The edition''s title';
COMMENT ON COLUMN found_book.authors IS 'The names of the authors, in order';
COMMENT ON COLUMN found_book.publish_year IS 'The edition''s year of publication';
COMMENT ON COLUMN found_book.cover_id IS 'The edition''s cover, if any';
COMMENT ON COLUMN found_book.cosine IS 'The likeness of its cover to the query, -1 to 1';
COMMENT ON COLUMN found_book.vector_rank IS 'Its work''s place among the covers, from 1; NULL beyond those looked at';
COMMENT ON COLUMN found_book.words_rank IS 'Its work''s place among those with the words, from 1; NULL without them';
COMMENT ON COLUMN found_book.score IS 'The sum of 1 / (60 + rank) over both ranks, best first';

CREATE FUNCTION search_books(
    query halfvec, words text DEFAULT NULL, k integer DEFAULT 10,
    year_from integer DEFAULT NULL, year_to integer DEFAULT NULL,
    pages_from integer DEFAULT NULL, pages_to integer DEFAULT NULL,
    publisher text DEFAULT NULL, author text DEFAULT NULL, subject text DEFAULT NULL, tag text[] DEFAULT NULL
) RETURNS SETOF found_book
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT
AS $$
DECLARE
    model embedding_model := checked_query(query, k, words);
    wanted book_filter := row(year_from, year_to, pages_from, pages_to, publisher, author, subject, tag);
    conditions text := filter_conditions(wanted);
    asked tsquery := CASE WHEN btrim(words) <> '' THEN websearch_to_tsquery('simple', folded(words)) END;
    ranked CONSTANT bigint := greatest(60, 3 * k::bigint);  -- works that the words put in order; more hardly score
    pool bigint := ranked;
    ids bigint[] := '{}';
    cosines double precision[] := '{}';
    named text[] := '{}';
    relevances real[] := '{}';
    works integer;
    meant text;
BEGIN
    -- Many covers may belong to one work: take more of them until k works are there, or no more covers.
    WHILE query IS NOT NULL LOOP
        SELECT coalesce(array_agg(n.cover_id), '{}'), coalesce(array_agg(n.cosine), '{}') INTO ids, cosines
        FROM nearest_covers(model.model, query, least(pool, 2147483647)::integer, wanted) n;
        EXECUTE format('SELECT count(DISTINCT coalesce(b.work_key, b.edition_key)) FROM book b '
                       'WHERE b.cover_id = ANY ($2) AND %s', conditions)
        INTO works USING wanted, ids;
        EXIT WHEN works >= k OR cardinality(ids) < pool;
        pool := pool * 4;
    END LOOP;

    -- So with the words: a word that every book has is ranked, but not every book is sorted. Books that nothing sets
    -- apart stand by their edition, so that an answer is the same each time. Words that no book has may be misspelt:
    -- a second attempt goes by those that were meant, if that can be told.
    FOR attempt IN 1 .. 2 LOOP
        pool := 4 * ranked;
        WHILE querytree(asked) NOT IN ('', 'T') LOOP  -- words that are only to be left out are none to go by
            EXECUTE format($q$
                SELECT coalesce(array_agg(edition_key), '{}'), coalesce(array_agg(relevance), '{}'),
                    count(DISTINCT work)
                FROM (
                    SELECT b.edition_key, coalesce(b.work_key, b.edition_key) AS work,
                        ts_rank_cd(b.words, $2) AS relevance
                    FROM book b WHERE b.words @@ $2 AND %s
                    ORDER BY relevance DESC, b.cover_id IS NULL, b.edition_key LIMIT $3) AS best $q$, conditions)
            INTO named, relevances, works USING wanted, asked, pool;
            EXIT WHEN works >= ranked OR cardinality(named) < pool;
            pool := pool * 4;
        END LOOP;
        EXIT WHEN coalesce(querytree(asked), '') IN ('', 'T') OR cardinality(named) > 0 OR attempt = 2;
        meant := words_meant(words);
        EXIT WHEN meant IS NULL;
        RAISE NOTICE 'no book has the words %; searched for % instead', quote_literal(words), quote_literal(meant);
        asked := websearch_to_tsquery('simple', meant);
    END LOOP;

    -- Reciprocal rank fusion (Cormack, Clarke, Buettcher, SIGIR 2009), with its constant of 60.
    RETURN QUERY EXECUTE format($q$
        WITH near AS (
            SELECT DISTINCT ON (work) coalesce(b.work_key, b.edition_key) AS work, b.edition_key, c.cosine
            FROM unnest($2, $3) AS c (cover_id, cosine) JOIN book b USING (cover_id)
            WHERE %1$s
            ORDER BY work, c.cosine DESC, b.edition_key),
        named AS (
            SELECT DISTINCT ON (work) coalesce(b.work_key, b.edition_key) AS work, b.edition_key,
                w.relevance
            FROM unnest($4, $8) AS w (edition_key, relevance) JOIN book b USING (edition_key)
            ORDER BY work, w.relevance DESC, b.cover_id IS NULL, b.edition_key),
        by_cover AS (
            SELECT work, edition_key, row_number() OVER (ORDER BY cosine DESC, work) AS place FROM near),
        by_words AS (
            SELECT work, edition_key, row_number() OVER (ORDER BY relevance DESC, work) AS place FROM named
            ORDER BY place LIMIT $5),
        fused AS (
            SELECT work, coalesce(v.edition_key, w.edition_key) AS edition_key,
                v.place AS vector_rank, w.place AS words_rank,
                coalesce(1.0::float8 / (60 + v.place), 0) + coalesce(1.0::float8 / (60 + w.place), 0) AS score
            FROM by_cover v FULL JOIN by_words w USING (work)
            ORDER BY score DESC, vector_rank, work LIMIT $6)
        SELECT b.edition_key, b.work_key, b.title, b.authors, b.publish_year, b.cover_id,
            1 - (e.embedding <=> $7), f.vector_rank, f.words_rank, f.score
        FROM fused f JOIN book b USING (edition_key) LEFT JOIN %2$I e ON e.cover_id = b.cover_id
        ORDER BY f.score DESC, f.vector_rank, f.work $q$, conditions, 'cover_embedding_' || model.model)
    USING wanted, ids, cosines, named, ranked, k, query, relevances;
END $$;
COMMENT ON FUNCTION search_books(
    halfvec, text, integer, integer, integer, integer, integer, text, text, text, text[]) IS
    'The k best works for a vector of the active model, for words (quotes, or, - as on the web), or for both, fused by '
    'reciprocal rank, of books that pass the filters. Each hit shows its edition whose cover is nearest, its cosine, '
    'and its rank in both parts. Words that match nothing take nothing away; where pg_trgm is installed, misspelt ones '
    'are taken for those that were meant, and a notice says so. '
    'Example: SELECT * FROM search_books(:''q'', ''moon'', 10, year_from => 2015, author => ''le guin'')';

-- A driver that sends strings as text finds this one; a literal in psql does too.
CREATE FUNCTION search_books(
    query text, words text DEFAULT NULL, k integer DEFAULT 10,
    year_from integer DEFAULT NULL, year_to integer DEFAULT NULL,
    pages_from integer DEFAULT NULL, pages_to integer DEFAULT NULL,
    publisher text DEFAULT NULL, author text DEFAULT NULL, subject text DEFAULT NULL, tag text[] DEFAULT NULL
) RETURNS SETOF found_book
LANGUAGE sql STABLE SET search_path FROM CURRENT
AS $$
    SELECT * FROM search_books(
        query::halfvec, words, k, year_from, year_to, pages_from, pages_to, publisher, author, subject, tag)
$$;
COMMENT ON FUNCTION search_books(
    text, text, integer, integer, integer, integer, integer, text, text, text, text[]) IS
    'The same for a vector written as text, such as [0.1,0.2], or NULL to go by words alone. '
    'Example: SELECT * FROM search_books(NULL, ''"moby dick" or whale -sea'')';

CREATE FUNCTION similar_books(edition_key text, k integer DEFAULT 10)
RETURNS SETOF found_book
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT
AS $$
DECLARE
    own book;
    model embedding_model := active_embedding_model();
    query halfvec;
BEGIN
    IF k IS NULL OR k < 1 THEN
        RAISE EXCEPTION 'k must be 1 or more, not %', coalesce(k::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT * INTO own FROM book b WHERE b.edition_key = similar_books.edition_key;
    IF own.edition_key IS NULL THEN
        RAISE EXCEPTION 'there is no book %', quote_nullable(similar_books.edition_key)
            USING ERRCODE = 'no_data_found',
                HINT = 'Edition keys look like OL123M: SELECT edition_key, title FROM book';
    END IF;
    EXECUTE format('SELECT embedding FROM %I WHERE cover_id = $1', 'cover_embedding_' || model.model)
    INTO query USING own.cover_id;
    IF query IS NULL THEN
        RAISE EXCEPTION 'the cover of book % has no embedding', own.edition_key
            USING ERRCODE = 'no_data_found', HINT = 'SELECT * FROM book_covers(''' || own.work_key || ''')';
    END IF;
    RETURN QUERY
        SELECT s.edition_key, s.work_key, s.title, s.authors, s.publish_year, s.cover_id, s.cosine,
            row_number() OVER nearest, NULL::bigint, 1.0::float8 / (60 + row_number() OVER nearest)
        FROM search_books(query, NULL, least(k, 2147483646) + 1) s
        WHERE coalesce(s.work_key, s.edition_key) <> coalesce(own.work_key, own.edition_key)
        WINDOW nearest AS (ORDER BY s.vector_rank)
        ORDER BY s.vector_rank LIMIT k;
END $$;
COMMENT ON FUNCTION similar_books(text, integer) IS
    'The k other works whose covers are nearest to this edition''s cover. Example: SELECT * FROM similar_books('
    '(SELECT min(edition_key) FROM book JOIN cover_embedding USING (cover_id)), 5)';

CREATE FUNCTION book_covers(work_key text)
RETURNS TABLE (
    edition_key text, title text, publish_year smallint, publisher text, cover_id bigint, status text,
    width integer, height integer, source_url text
)
LANGUAGE sql STABLE SET search_path FROM CURRENT
AS $$
    SELECT b.edition_key, b.title, b.publish_year, b.publisher, c.cover_id, c.status, c.width, c.height, c.source_url
    FROM book b JOIN cover c USING (cover_id)
    WHERE b.work_key = book_covers.work_key
    ORDER BY b.publish_year, b.edition_key
$$;
COMMENT ON FUNCTION book_covers(text) IS
    'All covers of a work, found or not, oldest edition first. '
    'Example: SELECT * FROM book_covers((SELECT min(work_key) FROM book))';
