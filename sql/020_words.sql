-- How text becomes words that can be searched: one way for what is stored and for what is typed.
-- 'simple' stems nothing, since titles come in many languages; accents are folded without any extension.
SELECT set_config('search_path', format('book_search, %s, pg_temp', extnamespace::regnamespace), false)
FROM pg_extension WHERE extname = 'vector';

-- Words that are stored are of the functions as they were: where one of them changes below, they are made anew.
SELECT set_config('book_search.words_were', (
    SELECT coalesce(md5(string_agg(pg_get_functiondef(oid), '' ORDER BY proname)), '') FROM pg_proc
    WHERE pronamespace = 'book_search'::regnamespace
        AND proname IN ('plain_letters', 'folded', 'joined', 'words_of', 'book_words', 'spelling')), false);

-- Bodies in this form are bound to their objects when they are made: no search path can mislead them.
--
-- Letters become what the extension unaccent makes of them, but without it: what is stored must not depend on what was
-- installed when. Of its rules these are the ones for alphabets in use (NFKD, below, needs none for é or ﬁ). The half
-- rings of Qurʾan and the point of l·l go, too. The regular expression keeps most texts from the slow translate().
CREATE OR REPLACE FUNCTION plain_letters(content text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN content !~ '[ÐðØøĐđĦħıĸŁłŊŋŦŧƁɓƉɖƊɗƐɛƑƒƗɨƘƙƝɲƤƥƬƭƲʋƳƴɄʉǤǥʹʻʼʾʿ·ßẞæÆœŒþÞ]' THEN content
    ELSE replace(replace(replace(replace(replace(replace(replace(replace(
        translate(content, 'ÐðØøĐđĦħıĸŁłŊŋŦŧƁɓƉɖƊɗƐɛƑƒƗɨƘƙƝɲƤƥƬƭƲʋƳƴɄʉǤǥʹʻʼʾʿ·',
            'DdOoDdHhiqLlNnTtBbDdDdEeFfIiKkNnPpTtVvYyUuGg'''''''),
        'ß', 'ss'), 'ẞ', 'SS'), 'æ', 'ae'), 'Æ', 'AE'), 'œ', 'oe'), 'Œ', 'OE'), 'þ', 'th'), 'Þ', 'TH') END;
COMMENT ON FUNCTION plain_letters(text) IS
    'The text with those letters that are Latin ones with a stroke, or two in one, as these. '
    'Example: SELECT plain_letters(''Jo Nesbø, Wałęsa, Straße'')';

-- Text that is ASCII throughout has as many characters as bytes, and nothing to fold: a third of the time is saved.
-- Not STRICT, as that would keep a CASE from being put into the calling query.
CREATE OR REPLACE FUNCTION folded(content text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN octet_length(content) = length(content) THEN content
    ELSE plain_letters(regexp_replace(normalize(content, NFKD), '[\u0300-\u036f]+', '', 'g')) END;
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

CREATE OR REPLACE FUNCTION spelling(title text, authors text[]) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN lower(folded(left(concat_ws(' ', title, joined(authors)), 1000)));
COMMENT ON FUNCTION spelling(text, text[]) IS
    'What a misspelt word is compared with: see words_meant(). '
    'Example: SELECT spelling(''Moby Dick'', array[''Herman Melville''])';

CREATE OR REPLACE FUNCTION phrase(content text, weight text DEFAULT NULL) RETURNS tsquery
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN regexp_replace(
    phraseto_tsquery('simple'::regconfig, folded(content))::text,
    '(''(?:[^'']|'''')*'')', '\1:' || coalesce(weight, 'ABCD'), 'g')::tsquery;
COMMENT ON FUNCTION phrase(text, text) IS
    'Finds these words in this order, in the parts of this weight. Example: SELECT phrase(''le guin'', ''B'')';

-- The words that are stored, where a function changed that makes them.
DO $$
DECLARE
    stale regclass;
    made bigint;
BEGIN
    IF to_regclass('book_search.book') IS NULL OR current_setting('book_search.words_were') IN ('', (
        SELECT md5(string_agg(pg_get_functiondef(oid), '' ORDER BY proname)) FROM pg_proc
        WHERE pronamespace = 'book_search'::regnamespace
            AND proname IN ('plain_letters', 'folded', 'joined', 'words_of', 'book_words', 'spelling')))
    THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('book_search.book', 0));  -- no load of books meanwhile
    -- Their files make them again. (REINDEX would not do: this session may have the old function's body in its copy of
    -- the index's expression.)
    FOR stale IN
        SELECT indexrelid FROM pg_index WHERE indrelid = 'book_search.book'::regclass AND indexprs IS NOT NULL
    LOOP
        EXECUTE format('DROP INDEX %s', stale);
    END LOOP;
    UPDATE book SET title = title
    WHERE words IS DISTINCT FROM book_words(title, subtitle, authors, subjects, description);
    GET DIAGNOSTICS made = ROW_COUNT;
    RAISE NOTICE 'the words of % books were made anew', made;
END $$;
