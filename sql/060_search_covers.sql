-- The covers nearest to a vector, at any selectivity of a filter as many as are asked for.
SELECT set_config('search_path', format('book_search, %s, pg_temp', extnamespace::regnamespace), false)
FROM pg_extension WHERE extname = 'vector';

DROP TYPE IF EXISTS found_cover;
CREATE TYPE found_cover AS (
    cover_id bigint, cosine double precision, sha256 text, width integer, height integer, source_url text
);
COMMENT ON TYPE found_cover IS 'A cover that a search found';
COMMENT ON COLUMN found_cover.cover_id IS 'The cover: see table cover';
COMMENT ON COLUMN found_cover.cosine IS 'Its likeness to the query, -1 to 1';
COMMENT ON COLUMN found_cover.sha256 IS 'The digest of its image, hexadecimal';
COMMENT ON COLUMN found_cover.width IS 'Width in pixels';
COMMENT ON COLUMN found_cover.height IS 'Height in pixels';
COMMENT ON COLUMN found_cover.source_url IS 'Where the image came from';

-- Three ways, chosen here and not by the planner, to whom a distance of 512 numbers costs as much as one of integers:
--   exact    up to 10,000 covers, or books that pass the filter: every one is compared. At 70,000 covers a filter that
--            5 % pass takes 6 to 8 ms so, and a walk with as good an answer 12;
--   walk     through the HNSW graph, on and on until enough covers that pass were met (an iterative scan);
--   partial  the walk met fewer than k, since those that pass lie far away or are not so many: then exact after all.
--
-- hnsw.ef_search = 200 for every query: with 40, pictures find 0.999 of their 10 neighbours among 70,000, and texts,
-- which lie farther from pictures than pictures do, 0.86 (100: 0.972, 200: 0.990, 400: 0.993); a walk of 200 takes
-- 1.7 ms, of 40 0.5. Beyond 500,000 covers it grows with them, up to pgvector's limit of 1,000: at a million, pictures
-- find 0.982 with 200, and texts 0.68, with 400 0.77 and with 800 0.88 (hnswlib 0.78, 0.87, 0.92), in 8 ms.
CREATE FUNCTION nearest_covers(model integer, query halfvec, k integer, wanted book_filter DEFAULT NULL)
RETURNS TABLE (cover_id bigint, cosine double precision)
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT
SET hnsw.ef_search = 200
SET hnsw.iterative_scan = relaxed_order   -- goes on until enough rows pass; strict_order finds fewer, and takes longer
SET hnsw.max_scan_tuples = 40000
AS $$
#variable_conflict use_column
DECLARE
    few CONSTANT integer := 10000;        -- this many distances take some 10 ms
    -- The first k that a walk under a filter meets are not quite the nearest k: of what passes, it looks at 40.
    enough CONSTANT integer := greatest(k, 40);
    embeddings CONSTANT text := 'cover_embedding_' || model;
    conditions CONSTANT text := CASE WHEN wanted IS NULL THEN 'true' ELSE filter_conditions(wanted) END;
    covers CONSTANT real := (SELECT reltuples FROM pg_class WHERE oid = embeddings::regclass);
    passing bigint[];
    candidates text;                      -- what is walked through, or compared: conditions on an embedding e
    ids bigint[];
    distances double precision[];
BEGIN
    IF conditions <> 'true' THEN
        -- This is read once: its length decides, and where it is short, it is the answer's candidates.
        EXECUTE format('SELECT array_agg(cover_id) FROM (SELECT b.cover_id FROM book b '
                       'WHERE b.cover_id IS NOT NULL AND %s LIMIT $2) AS first_ones', conditions)
        INTO passing USING wanted, few + 1;
    END IF;
    IF covers > few AND (conditions = 'true' OR cardinality(passing) > few) THEN
        IF covers > 500000 THEN
            PERFORM set_config('hnsw.ef_search', least(1000, round(covers / 1250))::text, true);
        END IF;
        candidates := CASE WHEN conditions = 'true' THEN 'true'
            ELSE format('EXISTS (SELECT FROM book b WHERE b.cover_id = e.cover_id AND %s)', conditions) END;
        -- `+ 0`: the order of a relaxed walk is not quite that of the distances, though the planner believes it is.
        EXECUTE format($q$
            WITH met AS MATERIALIZED (
                SELECT e.cover_id, e.embedding <=> $2 AS distance FROM %I e
                WHERE %s ORDER BY e.embedding <=> $2 LIMIT $4),
            near AS MATERIALIZED (SELECT * FROM met ORDER BY distance + 0, cover_id LIMIT $3)
            SELECT array_agg(cover_id), array_agg(distance) FROM near $q$, embeddings, candidates)
        INTO ids, distances USING wanted, query, k, CASE WHEN conditions = 'true' THEN k ELSE enough END;
    END IF;
    IF coalesce(cardinality(ids), 0) < k THEN
        candidates := CASE WHEN conditions = 'true' THEN 'true'
            WHEN cardinality(passing) > few
                THEN format('e.cover_id IN (SELECT b.cover_id FROM book b WHERE %s)', conditions)
            ELSE 'e.cover_id = ANY ($4)' END;
        -- `+ 0` keeps the graph out of it.
        EXECUTE format($q$
            WITH near AS MATERIALIZED (
                SELECT e.cover_id, e.embedding <=> $2 AS distance FROM %I e
                WHERE %s ORDER BY (e.embedding <=> $2) + 0, e.cover_id LIMIT $3)
            SELECT array_agg(cover_id), array_agg(distance) FROM near $q$, embeddings, candidates)
        INTO ids, distances USING wanted, query, k, passing;
    END IF;
    RETURN QUERY SELECT i, 1 - d FROM unnest(ids, distances) AS t(i, d);
END $$;
COMMENT ON FUNCTION nearest_covers(integer, halfvec, integer, book_filter) IS
    'The k covers of a model nearest to a vector, best first, of those whose book passes the filter. Up to 10,000 '
    'covers or passing books are compared exactly; more are walked through in the HNSW graph, and compared exactly '
    'where the walk met fewer than k. Example: SELECT * FROM nearest_covers(1, :''q'', 10)';

CREATE FUNCTION checked_query(query halfvec, k integer, words text DEFAULT NULL) RETURNS embedding_model
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT
AS $$
DECLARE
    found embedding_model := active_embedding_model();
BEGIN
    IF k IS NULL OR k < 1 THEN
        RAISE EXCEPTION 'k must be 1 or more, not %', coalesce(k::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF query IS NULL AND coalesce(btrim(words), '') = '' THEN
        RAISE EXCEPTION 'there is nothing to search for: the query is NULL' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    IF length(words) > 10000 THEN  -- some more, and the words' query would be too deep for Postgres' stack
        RAISE EXCEPTION 'the words have % characters, and 10,000 are the most', length(words)
            USING ERRCODE = 'program_limit_exceeded';
    END IF;
    IF vector_dims(query) <> found.dim THEN
        RAISE EXCEPTION 'the query has % numbers, but the active model % has %',
            vector_dims(query), found.model_id, found.dim
            USING ERRCODE = 'data_exception', HINT = 'Embed the query with the active model: book-search embed TEXT';
    END IF;
    IF l2_norm(query) = 0 THEN
        RAISE EXCEPTION 'the query is a zero vector, which has no direction' USING ERRCODE = 'data_exception';
    END IF;
    RETURN found;
END $$;
COMMENT ON FUNCTION checked_query(halfvec, integer, text) IS
    'The active model, if the query fits it, else an error. Example: SELECT * FROM checked_query(:''q'', 10)';

CREATE FUNCTION search_covers(
    query halfvec, k integer DEFAULT 10,
    year_from integer DEFAULT NULL, year_to integer DEFAULT NULL,
    pages_from integer DEFAULT NULL, pages_to integer DEFAULT NULL,
    publisher text DEFAULT NULL, author text DEFAULT NULL, subject text DEFAULT NULL, tag text[] DEFAULT NULL
) RETURNS SETOF found_cover
LANGUAGE sql STABLE SET search_path FROM CURRENT
AS $$
    SELECT n.cover_id, n.cosine, c.sha256, c.width, c.height, c.source_url
    FROM nearest_covers((checked_query(query, k)).model, query, k,
        row(year_from, year_to, pages_from, pages_to, publisher, author, subject, tag)::book_filter) n
    LEFT JOIN cover c USING (cover_id)
    ORDER BY n.cosine DESC, n.cover_id
$$;
COMMENT ON FUNCTION search_covers(
    halfvec, integer, integer, integer, integer, integer, text, text, text, text[]) IS
    'The k covers nearest to a vector of the active model, best first, of books that pass the filters. '
    'Example: SELECT * FROM search_covers(:''q'', 20, year_from => 2015, tag => ''{colour:blue}'')';

-- A driver that sends strings as text finds this one; a literal in psql does too.
CREATE FUNCTION search_covers(
    query text, k integer DEFAULT 10,
    year_from integer DEFAULT NULL, year_to integer DEFAULT NULL,
    pages_from integer DEFAULT NULL, pages_to integer DEFAULT NULL,
    publisher text DEFAULT NULL, author text DEFAULT NULL, subject text DEFAULT NULL, tag text[] DEFAULT NULL
) RETURNS SETOF found_cover
LANGUAGE sql STABLE SET search_path FROM CURRENT
AS $$
    SELECT * FROM search_covers(
        query::halfvec, k, year_from, year_to, pages_from, pages_to, publisher, author, subject, tag)
$$;
COMMENT ON FUNCTION search_covers(
    text, integer, integer, integer, integer, integer, text, text, text, text[]) IS
    'The same for a vector written as text, such as [0.1,0.2]. Example: SELECT * FROM search_covers(:''q'', 20)';
