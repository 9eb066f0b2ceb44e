-- What is stored: books, their covers, the covers' embeddings (a table a model), tags, and the records of both ends.
SELECT set_config('search_path', format('book_search, %s, pg_temp', extnamespace::regnamespace), false)
FROM pg_extension WHERE extname = 'vector';

CREATE TABLE IF NOT EXISTS book (
    edition_key text PRIMARY KEY,
    work_key text,
    title text NOT NULL,
    subtitle text,
    authors text[] NOT NULL DEFAULT '{}',
    publish_year smallint,
    pages integer,
    isbn13 text,
    publisher text,
    subjects text[] NOT NULL DEFAULT '{}',
    description text,
    languages text[] NOT NULL DEFAULT '{}',
    cover_id bigint,
    dump_date date,
    content_hash text NOT NULL,
    words tsvector GENERATED ALWAYS AS (book_words(title, subtitle, authors, subjects, description)) STORED
);
COMMENT ON TABLE book IS 'The editions that passed the filter, one a row; rewritten only when their content changed';
COMMENT ON COLUMN book.edition_key IS 'Open Library''s key of the edition, such as OL123M';
COMMENT ON COLUMN book.work_key IS 'The work that the edition is one of, such as OL45W, after redirects';
COMMENT ON COLUMN book.title IS 'The title, with its leading article';
COMMENT ON COLUMN book.subtitle IS 'The subtitle, if any';
COMMENT ON COLUMN book.authors IS 'The names of the authors, in order';
COMMENT ON COLUMN book.publish_year IS 'The year of publication, read from the free text of the dump';
COMMENT ON COLUMN book.pages IS 'The number of pages';
COMMENT ON COLUMN book.isbn13 IS 'The ISBN of 13 digits, computed from the one of 10 where only that is known';
COMMENT ON COLUMN book.publisher IS 'The publisher';
COMMENT ON COLUMN book.subjects IS 'The subjects of the edition and of its work';
COMMENT ON COLUMN book.description IS 'The description of the edition, or of its work';
COMMENT ON COLUMN book.languages IS 'MARC codes of the languages, such as eng';
COMMENT ON COLUMN book.cover_id IS 'The cover, if any: see table cover';
COMMENT ON COLUMN book.dump_date IS 'The dump that brought this content first';
COMMENT ON COLUMN book.content_hash IS 'A digest of the content; a row is rewritten when it changes';
COMMENT ON COLUMN book.words IS 'The searchable words: title A, authors B, subjects C, description D';

CREATE INDEX IF NOT EXISTS book_cover_id ON book (cover_id);
CREATE INDEX IF NOT EXISTS book_work_key ON book (work_key);
CREATE INDEX IF NOT EXISTS book_publish_year ON book (publish_year);
CREATE INDEX IF NOT EXISTS book_pages ON book (pages);
CREATE INDEX IF NOT EXISTS book_words_in ON book USING gin (words);
CREATE INDEX IF NOT EXISTS book_publisher_words ON book USING gin (words_of(publisher, 'A', 1000));
COMMENT ON INDEX book_cover_id IS 'From a cover found to its books';
COMMENT ON INDEX book_work_key IS 'All editions of a work';
COMMENT ON INDEX book_publish_year IS 'Filters year_from, year_to';
COMMENT ON INDEX book_pages IS 'Filters pages_from, pages_to';
COMMENT ON INDEX book_words_in IS 'Words typed, and the filters author and subject';
COMMENT ON INDEX book_publisher_words IS 'Filter publisher';

CREATE TABLE IF NOT EXISTS cover (
    cover_id bigint PRIMARY KEY,
    sha256 text,
    width integer,
    height integer,
    status text NOT NULL,
    source_url text,
    fetched_at timestamptz
);
COMMENT ON TABLE cover IS 'Every cover id that was wanted, found or not, one a row: the ledger of the covers';
COMMENT ON COLUMN cover.cover_id IS 'Open Library''s id of the cover; never changes its meaning';
COMMENT ON COLUMN cover.sha256 IS 'The digest of the image''s bytes, hexadecimal: two covers of one digest are one image';
COMMENT ON COLUMN cover.width IS 'Width in pixels';
COMMENT ON COLUMN cover.height IS 'Height in pixels';
COMMENT ON COLUMN cover.status IS 'ok, or why there is no image: missing, not_an_image, placeholder, too_large, '
    'undecodable, blocked_host, gave_up';
COMMENT ON COLUMN cover.source_url IS 'Where the image came from';
COMMENT ON COLUMN cover.fetched_at IS 'When it was asked for last';

CREATE TABLE IF NOT EXISTS embedding_model (
    model integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model_id text NOT NULL,
    revision text NOT NULL,
    preprocessing text NOT NULL,
    dim integer NOT NULL CHECK (dim BETWEEN 1 AND 4000),
    template text NOT NULL,
    active boolean NOT NULL DEFAULT false,
    rows_changed bigint NOT NULL DEFAULT 0,
    UNIQUE (model_id, revision, preprocessing)
);
CREATE UNIQUE INDEX IF NOT EXISTS embedding_model_active ON embedding_model (active) WHERE active;
COMMENT ON TABLE embedding_model IS 'The models that made embeddings; each has its table cover_embedding_<model>';
COMMENT ON COLUMN embedding_model.model IS 'Our number for it, which names its table';
COMMENT ON COLUMN embedding_model.model_id IS 'Its name on the Hugging Face hub, or its folder';
COMMENT ON COLUMN embedding_model.revision IS 'The revision of its weights';
COMMENT ON COLUMN embedding_model.preprocessing IS 'The version of our preprocessing';
COMMENT ON COLUMN embedding_model.dim IS 'How many numbers an embedding has; an HNSW index of halfvec takes 4000';
COMMENT ON COLUMN embedding_model.template IS 'How query texts are put to it';
COMMENT ON COLUMN embedding_model.active IS 'Whether searches use it: true for one model at most, set by '
    'activate_embedding_model()';
COMMENT ON COLUMN embedding_model.rows_changed IS 'How many of its embeddings were ever written or removed: unchanged '
    'since a build of the index, it says that the build is current';
COMMENT ON INDEX embedding_model_active IS 'No two models are active';

-- No REFERENCES: a model is never deleted, and looking it up for each of millions of rows was a third of a load.
CREATE TABLE IF NOT EXISTS cover_tag (
    model integer NOT NULL,
    cover_id bigint NOT NULL,
    facet text NOT NULL,
    tag text NOT NULL,
    probability real NOT NULL,
    template text NOT NULL,
    PRIMARY KEY (model, cover_id, facet, tag)
);
ALTER TABLE cover_tag DROP CONSTRAINT IF EXISTS cover_tag_model_fkey;  -- older ones had it
-- Ordered by what a filter asks for alone: with all four columns in its order it made loading tags a third slower, and
-- found none sooner (it is read without its table all the same, and a cover's own tags are in the primary key).
CREATE INDEX IF NOT EXISTS cover_tag_of_model ON cover_tag (model, tag) INCLUDE (cover_id, facet);
DROP INDEX IF EXISTS cover_tag_tag;  -- that one
COMMENT ON TABLE cover_tag IS 'What a model sees on a cover, by zero-shot classification';
COMMENT ON COLUMN cover_tag.model IS 'The model that said so; filters look at the active one';
COMMENT ON COLUMN cover_tag.cover_id IS 'The cover';
COMMENT ON COLUMN cover_tag.facet IS 'The question, such as colour';
COMMENT ON COLUMN cover_tag.tag IS 'The answer, such as blue; the filter tag is written colour:blue';
COMMENT ON COLUMN cover_tag.probability IS 'Of this answer among the facet''s answers, 0 to 1';
COMMENT ON COLUMN cover_tag.template IS 'The sentence that the answer was put in';
COMMENT ON INDEX cover_tag_of_model IS 'Filter tag';

CREATE TABLE IF NOT EXISTS filter_funnel (
    dump_date date NOT NULL,
    position smallint NOT NULL,
    rule text NOT NULL,
    rows_in bigint NOT NULL,
    rows_out bigint NOT NULL,
    PRIMARY KEY (dump_date, position)
);
COMMENT ON TABLE filter_funnel IS 'How many editions each rule of the catalogue''s filter let pass, for each dump';
COMMENT ON COLUMN filter_funnel.dump_date IS 'The dump';
COMMENT ON COLUMN filter_funnel.position IS 'The rules'' order';
COMMENT ON COLUMN filter_funnel.rule IS 'The rule';
COMMENT ON COLUMN filter_funnel.rows_in IS 'Editions that came to the rule';
COMMENT ON COLUMN filter_funnel.rows_out IS 'Editions that passed it';

CREATE TABLE IF NOT EXISTS index_build (
    build integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    built_at timestamptz NOT NULL DEFAULT now(),
    model integer NOT NULL REFERENCES embedding_model,
    index_name text NOT NULL,
    rebuilt boolean NOT NULL,
    rows bigint NOT NULL,
    rows_changed bigint NOT NULL,
    seconds double precision NOT NULL,
    recall double precision NOT NULL
);
COMMENT ON TABLE index_build IS 'Every HNSW index that was built, or looked at again after changes, and found good: '
    'what was found bad was never searched';
COMMENT ON COLUMN index_build.build IS 'Counts the builds';
COMMENT ON COLUMN index_build.built_at IS 'When';
COMMENT ON COLUMN index_build.model IS 'Whose embeddings';
COMMENT ON COLUMN index_build.index_name IS 'The index; none but the last of a model exists any more, and its table with it';
COMMENT ON COLUMN index_build.rebuilt IS 'Whether the index was built then, or only verified';
COMMENT ON COLUMN index_build.rows IS 'Embeddings in it';
COMMENT ON COLUMN index_build.rows_changed IS 'embedding_model.rows_changed at that time';
COMMENT ON COLUMN index_build.seconds IS 'What the building and the verification took';
COMMENT ON COLUMN index_build.recall IS 'recall@10 of the graph itself against exact search, for embeddings drawn at '
    'random, with the settings of nearest_covers() (which searches 10,000 covers or fewer exactly)';

CREATE TABLE IF NOT EXISTS applied_sql (
    file text PRIMARY KEY,
    sha256 text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE applied_sql IS 'The files of sql/ as they were applied last: apply_sql() does nothing when none changed';
COMMENT ON COLUMN applied_sql.file IS 'The file''s name';
COMMENT ON COLUMN applied_sql.sha256 IS 'The digest of its content';
COMMENT ON COLUMN applied_sql.applied_at IS 'When';
