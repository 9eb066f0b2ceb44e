-- How text becomes words that can be searched: one way for what is stored and for what is typed.
-- 'simple' stems nothing, since titles come in many languages; accents are folded without any extension.
SELECT set_config('search_path', format('book_search, %s, pg_temp', extnamespace::regnamespace), false)
FROM pg_extension WHERE extname = 'vector';

-- Bodies in this form are bound to their objects when they are made: no search path can mislead them.
-- Text that is ASCII throughout has as many characters as bytes, and nothing to fold: a third of the time is saved.
-- Not STRICT, as that would keep a CASE from being put into the calling query.
CREATE OR REPLACE FUNCTION folded(content text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN octet_length(content) = length(content) THEN content
    ELSE regexp_replace(normalize(content, NFKD), '[\u0300-\u036f]+', '', 'g') END;
COMMENT ON FUNCTION folded(text) IS
    'The text without its accents. Example: SELECT folded(''Brontë'')';

CREATE OR REPLACE FUNCTION words_of(content text, weight "char", characters integer) RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN setweight(to_tsvector('simple'::regconfig, left(folded(coalesce(content, '')), characters)), weight);
COMMENT ON FUNCTION words_of(text, "char", integer) IS
    'The searchable words of the first so many characters, with a weight of A to D (a tsvector holds 1 MB at most). '
    'Example: SELECT words_of(''Moby Dick'', ''A'', 1000)';

-- array_to_string is not immutable for every type of element; for text it is.
CREATE OR REPLACE FUNCTION joined(parts text[]) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS 'BEGIN RETURN pg_catalog.array_to_string(parts, '' ; ''); END';
COMMENT ON FUNCTION joined(text[]) IS
    'The parts in one text. Example: SELECT joined(array[''Charlotte Brontë'', ''Emily Brontë''])';

CREATE OR REPLACE FUNCTION book_words(
    title text, subtitle text, authors text[], subjects text[], description text
) RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN words_of(concat_ws(' : ', title, subtitle), 'A', 4000)
    || words_of(joined(authors), 'B', 20000)
    || words_of(joined(subjects), 'C', 50000)
    || words_of(description, 'D', 100000);
COMMENT ON FUNCTION book_words(text, text, text[], text[], text) IS
    'The searchable words of a book: title A, authors B, subjects C, description D. '
    'Example: SELECT book_words(''Moby Dick'', ''or, The Whale'', array[''Herman Melville''], ''{}'', NULL)';

CREATE OR REPLACE FUNCTION phrase(content text, weight text DEFAULT NULL) RETURNS tsquery
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN regexp_replace(
    phraseto_tsquery('simple'::regconfig, folded(content))::text,
    '(''(?:[^'']|'''')*'')', '\1:' || coalesce(weight, 'ABCD'), 'g')::tsquery;
COMMENT ON FUNCTION phrase(text, text) IS
    'Finds these words in this order, in the parts of this weight. Example: SELECT phrase(''le guin'', ''B'')';
