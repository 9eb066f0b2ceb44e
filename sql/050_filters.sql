-- The filters of every search: which books a search may find.
SELECT set_config('search_path', format('book_search, %s, pg_temp', extnamespace::regnamespace), false)
FROM pg_extension WHERE extname = 'vector';

DROP TYPE IF EXISTS book_filter;
CREATE TYPE book_filter AS (
    year_from integer,
    year_to integer,
    pages_from integer,
    pages_to integer,
    publisher text,
    author text,
    subject text,
    tag text[]
);
COMMENT ON TYPE book_filter IS 'What a book must fulfil to be found; a field that is NULL asks nothing';
COMMENT ON COLUMN book_filter.year_from IS 'Published in this year or later';
COMMENT ON COLUMN book_filter.year_to IS 'Published in this year or earlier';
COMMENT ON COLUMN book_filter.pages_from IS 'This many pages or more';
COMMENT ON COLUMN book_filter.pages_to IS 'This many pages or fewer';
COMMENT ON COLUMN book_filter.publisher IS 'These words in this order in the publisher''s name; case and accents aside';
COMMENT ON COLUMN book_filter.author IS 'These words in this order among the authors; case and accents aside';
COMMENT ON COLUMN book_filter.subject IS 'These words in this order among the subjects; case and accents aside';
COMMENT ON COLUMN book_filter.tag IS 'All of these tags on the cover, each written facet:tag';

CREATE FUNCTION filter_conditions(wanted book_filter) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path FROM CURRENT
AS $$
DECLARE
    conditions text[] := '{}';
    each text;
BEGIN
    IF greatest(length((wanted).publisher), length((wanted).author), length((wanted).subject)) > 10000 THEN
        RAISE EXCEPTION 'a filter has more than 10,000 characters' USING ERRCODE = 'program_limit_exceeded';
    END IF;
    -- Only what is asked goes into the query, so that the planner sees a plain condition that an index may serve.
    -- The values stay behind as fields of the parameter $1: nothing of them gets into the text.
    IF (wanted).year_from IS NOT NULL THEN conditions := conditions || 'b.publish_year >= ($1).year_from'::text; END IF;
    IF (wanted).year_to IS NOT NULL THEN conditions := conditions || 'b.publish_year <= ($1).year_to'::text; END IF;
    IF (wanted).pages_from IS NOT NULL THEN conditions := conditions || 'b.pages >= ($1).pages_from'::text; END IF;
    IF (wanted).pages_to IS NOT NULL THEN conditions := conditions || 'b.pages <= ($1).pages_to'::text; END IF;
    IF btrim((wanted).publisher) <> '' THEN
        conditions := conditions || 'words_of(b.publisher, ''A'', 1000) @@ phrase(($1).publisher)'::text;
    END IF;
    IF btrim((wanted).author) <> '' THEN
        conditions := conditions || 'b.words @@ phrase(($1).author, ''B'')'::text;
    END IF;
    IF btrim((wanted).subject) <> '' THEN
        conditions := conditions || 'b.words @@ phrase(($1).subject, ''C'')'::text;
    END IF;
    FOR i IN 1 .. coalesce(cardinality((wanted).tag), 0) LOOP
        each := (wanted).tag[i];
        IF each IS NULL OR position(':' IN each) < 2 THEN
            RAISE EXCEPTION 'a tag is written facet:tag, not %', quote_nullable(each)
                USING ERRCODE = 'invalid_parameter_value', HINT = 'SELECT DISTINCT facet, tag FROM cover_tag';
        END IF;
        conditions := conditions || format(
            'EXISTS (SELECT FROM cover_tag t WHERE t.model = (SELECT model FROM embedding_model WHERE active) '
            'AND t.cover_id = b.cover_id AND t.facet = split_part(($1).tag[%1$s], '':'', 1) '
            'AND t.tag = substr(($1).tag[%1$s], strpos(($1).tag[%1$s], '':'') + 1))', i);
    END LOOP;
    RETURN coalesce(nullif(array_to_string(conditions, ' AND '), ''), 'true');
END $$;
COMMENT ON FUNCTION filter_conditions(book_filter) IS
    'The conditions of a filter on a book b, as SQL whose parameter $1 is the filter. Example: '
    'SELECT filter_conditions(row(1990, NULL, NULL, NULL, NULL, ''le guin'', NULL, NULL)::book_filter)';
