-- Models beside each other: a table of embeddings for each, one of them active.
--
-- A table a model, not a partition: a partition's column has its parent's type, so halfvec without a size, which
-- no HNSW index takes but through a cast in every query. The view cover_embedding shows them all as one.
--
-- Where much of a model's table changes, the loads go into a copy beside it, cover_embedding_<model>_next (green to its
-- blue). It gets its index, is verified, and takes the searched one's name in one short transaction; the old one goes.
SELECT set_config('search_path', format('book_search, %s, pg_temp', extnamespace::regnamespace), false)
FROM pg_extension WHERE extname = 'vector';

-- Functions hold no data. All but the immutable ones, which columns and indexes are made with, go and come anew:
-- so none stays behind when its arguments change. Where somebody's view uses one, this stops and names the view.
DO $$
DECLARE
    stale regprocedure;
BEGIN
    FOR stale IN
        SELECT oid::regprocedure FROM pg_proc
        WHERE pronamespace = 'book_search'::regnamespace AND prokind = 'f' AND provolatile <> 'i'
            AND NOT EXISTS (  -- an extension's, which somebody put into our schema
                SELECT FROM pg_depend
                WHERE classid = 'pg_proc'::regclass AND objid = pg_proc.oid AND deptype = 'e')
    LOOP
        EXECUTE format('DROP FUNCTION %s', stale);
    END LOOP;
END $$;

CREATE FUNCTION show_embeddings() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT
AS $$
DECLARE
    each text := coalesce(
        (SELECT string_agg(format('SELECT %s AS model, cover_id, sha256, embedding::halfvec AS embedding FROM %I',
                                  model, 'cover_embedding_' || model), ' UNION ALL ' ORDER BY model)
         FROM embedding_model),
        'SELECT NULL::integer AS model, NULL::bigint AS cover_id, NULL::text AS sha256, NULL::halfvec AS embedding '
        'WHERE false');
BEGIN
    EXECUTE 'CREATE OR REPLACE VIEW cover_embedding AS ' || each;
END $$;
COMMENT ON FUNCTION show_embeddings() IS
    'Makes the view cover_embedding anew from the tables of all models. Example: SELECT show_embeddings()';

SELECT show_embeddings();
COMMENT ON VIEW cover_embedding IS 'The covers'' embeddings by every model; each one''s lie in cover_embedding_<model>';
COMMENT ON COLUMN cover_embedding.model IS 'The model: see embedding_model';
COMMENT ON COLUMN cover_embedding.cover_id IS 'The cover';
COMMENT ON COLUMN cover_embedding.sha256 IS 'The digest of the image that was embedded';
COMMENT ON COLUMN cover_embedding.embedding IS 'A unit vector; <=> is the cosine distance';

CREATE FUNCTION register_embedding_model(
    model_id text, revision text, preprocessing text, dim integer, template text
) RETURNS integer
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    known embedding_model;
    embeddings text;
BEGIN
    FOR attempt IN 1 .. 2 LOOP
        SELECT * INTO known FROM embedding_model m
        WHERE m.model_id = register_embedding_model.model_id AND m.revision = register_embedding_model.revision
            AND m.preprocessing = register_embedding_model.preprocessing;
        EXIT WHEN known.model IS NOT NULL OR attempt = 2;
        LOCK TABLE embedding_model IN SHARE ROW EXCLUSIVE MODE;  -- it is new, unless another process was faster
    END LOOP;
    IF known.dim <> register_embedding_model.dim THEN
        RAISE EXCEPTION 'model % at revision % has % numbers, not %', known.model_id, known.revision, known.dim,
            register_embedding_model.dim USING ERRCODE = 'data_exception';
    END IF;
    IF known.model IS NOT NULL THEN
        UPDATE embedding_model m SET template = register_embedding_model.template
        WHERE m.model = known.model AND m.template <> register_embedding_model.template;
        RETURN known.model;
    END IF;
    INSERT INTO embedding_model (model_id, revision, preprocessing, dim, template)
    VALUES (register_embedding_model.model_id, register_embedding_model.revision,
            register_embedding_model.preprocessing, register_embedding_model.dim, register_embedding_model.template)
    RETURNING * INTO known;
    embeddings := 'cover_embedding_' || known.model;
    -- toast_tuple_target: the embedding stays in its row, where an exact scan reads it four times as fast.
    EXECUTE format('CREATE TABLE %I (cover_id bigint PRIMARY KEY, sha256 text NOT NULL, '
                   'embedding halfvec(%s) NOT NULL) WITH (toast_tuple_target = 8160)', embeddings, known.dim);
    -- Of vectors the planner learns nothing, and looking at them is most of an ANALYZE.
    EXECUTE format('ALTER TABLE %I ALTER COLUMN embedding SET STATISTICS 0', embeddings);
    EXECUTE format('COMMENT ON TABLE %I IS %L', embeddings,
                   format('Embeddings of covers by %s at %s', known.model_id, known.revision));
    EXECUTE format('COMMENT ON COLUMN %I.cover_id IS ''The cover''', embeddings);
    EXECUTE format('COMMENT ON COLUMN %I.sha256 IS ''The digest of the image that was embedded''', embeddings);
    EXECUTE format('COMMENT ON COLUMN %I.embedding IS ''A unit vector; <=> is the cosine distance''', embeddings);
    IF to_regrole('book_search_reader') IS NOT NULL THEN
        EXECUTE format('GRANT SELECT ON %I TO book_search_reader', embeddings);
    END IF;
    PERFORM show_embeddings();
    RETURN known.model;
END $$;
COMMENT ON FUNCTION register_embedding_model(text, text, text, integer, text) IS
    'Our number for a model, which gets its table of embeddings when it is new. '
    'Example: SELECT register_embedding_model(''openai/clip-vit-base-patch32'', ''main'', ''1'', 512, ''{}'')';

CREATE FUNCTION activate_embedding_model(model integer) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM index_build b WHERE b.model = activate_embedding_model.model) THEN
        RAISE EXCEPTION 'model % has no verified index', model
            USING HINT = 'Materialize search_index for it first.', ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    -- Two statements, as a unique index is checked row by row.
    UPDATE embedding_model m SET active = false WHERE m.active AND m.model <> activate_embedding_model.model;
    UPDATE embedding_model m SET active = true WHERE NOT m.active AND m.model = activate_embedding_model.model;
END $$;
COMMENT ON FUNCTION activate_embedding_model(integer) IS
    'Has searches use this model from now on, and back again the same way. Example: SELECT activate_embedding_model(1)';

CREATE FUNCTION active_embedding_model() RETURNS embedding_model
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
DECLARE
    found embedding_model;
BEGIN
    SELECT * INTO found FROM embedding_model m WHERE m.active;
    IF found.model IS NULL THEN
        RAISE EXCEPTION 'no embedding model is active yet'
            USING HINT = 'Materialize search_index.', ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    RETURN found;
END $$;
COMMENT ON FUNCTION active_embedding_model() IS
    'The model that searches use; an error where there is none yet. Example: SELECT * FROM active_embedding_model()';
