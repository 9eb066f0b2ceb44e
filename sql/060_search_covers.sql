-- The covers nearest to a vector, at any selectivity of a filter as many as are asked for.
SELECT set_config('search_path', format('book_search, %s, pg_temp', extnamespace::regnamespace), false)
FROM pg_extension WHERE extname = 'vector';

DROP TYPE IF EXISTS found_cover;
CREATE TYPE found_cover AS (
    cover_id bigint, cosine double precision, sha256 text, width integer, height integer, source_url text
);
COMMENT ON TYPE found_cover IS 'A cover that a search found; cosine is its likeness to the query, -1 to 1';

CREATE FUNCTION nearest_covers(model integer, query halfvec, k integer, wanted book_filter DEFAULT NULL)
RETURNS TABLE (cover_id bigint, cosine double precision)
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT
SET hnsw.ef_search = 200                  -- texts lie farther from pictures than pictures do, and need this
SET hnsw.iterative_scan = relaxed_order   -- go on until enough rows pass the filter; sorted again below
SET hnsw.max_scan_tuples = 40000
AS $$
#variable_conflict use_column
DECLARE
    few CONSTANT integer := 10000;        -- this many distances take some 10 ms, and then the answer is exact
    embeddings text := 'cover_embedding_' || model;
    conditions text := filter_conditions(wanted);
    matching integer;
    ids bigint[];
    distances double precision[];
BEGIN
    IF conditions = 'true' AND (SELECT reltuples FROM pg_class WHERE oid = embeddings::regclass) > few THEN
        EXECUTE format($q$
            WITH near AS MATERIALIZED (
                SELECT e.cover_id, e.embedding <=> $2 AS distance FROM %I e ORDER BY e.embedding <=> $2 LIMIT $3)
            SELECT array_agg(cover_id ORDER BY distance, cover_id), array_agg(distance ORDER BY distance, cover_id)
            FROM near $q$, embeddings)
        INTO ids, distances USING wanted, query, k;
    ELSIF conditions <> 'true' THEN
        EXECUTE format('SELECT count(*) FROM (SELECT FROM book b WHERE %s LIMIT $2) AS first_ones', conditions)
        INTO matching USING wanted, few + 1;
        IF matching > few THEN
            EXECUTE format($q$
                WITH near AS MATERIALIZED (
                    SELECT e.cover_id, e.embedding <=> $2 AS distance FROM %I e
                    WHERE EXISTS (SELECT FROM book b WHERE b.cover_id = e.cover_id AND %s)
                    ORDER BY e.embedding <=> $2 LIMIT $3)
                SELECT array_agg(cover_id ORDER BY distance, cover_id), array_agg(distance ORDER BY distance, cover_id)
                FROM near $q$, embeddings, conditions)
            INTO ids, distances USING wanted, query, k;
        END IF;
    END IF;
    -- There are few covers, or few books match, or the walk through the graph ended before it had met k: look at every one that matches.
    -- `+ 0` keeps the graph out of it.
    IF coalesce(cardinality(ids), 0) < k THEN
        EXECUTE format($q$
            WITH near AS MATERIALIZED (
                SELECT e.cover_id, e.embedding <=> $2 AS distance FROM %I e
                WHERE %s ORDER BY (e.embedding <=> $2) + 0, e.cover_id LIMIT $3)
            SELECT array_agg(cover_id ORDER BY distance, cover_id), array_agg(distance ORDER BY distance, cover_id)
            FROM near $q$, embeddings,
            CASE WHEN conditions = 'true' THEN conditions
                 ELSE format('e.cover_id IN (SELECT b.cover_id FROM book b WHERE %s)', conditions) END)
        INTO ids, distances USING wanted, query, k;
    END IF;
    RETURN QUERY SELECT i, 1 - d FROM unnest(ids, distances) AS t(i, d);
END $$;
COMMENT ON FUNCTION nearest_covers(integer, halfvec, integer, book_filter) IS
    'The k covers of a model nearest to a vector, best first, of those whose book passes the filter. Up to 10,000 '
    'covers or matching books are compared exactly; more are walked through in the HNSW graph, and compared exactly '
    'where the walk found too few. Example: SELECT * FROM nearest_covers(1, :''q'', 10)';

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
