-- `candidate` and `work` -> `considered`: editions with their work's subjects, authors and description.
CREATE TABLE considered AS
SELECT *, ${first_failed} AS failed
FROM (
    SELECT
        candidate.line_number, candidate.key, candidate.record,
        coalesce(followed.target, candidate.work_key) AS work_key,
        once(candidate.subjects || coalesce(newest.subjects, CAST([] AS VARCHAR[]))) AS subjects,
        newest.description AS work_description,
        coalesce(newest.author_keys, CAST([] AS VARCHAR[])) AS work_authors
    FROM candidate
    LEFT JOIN followed ON followed.key = candidate.work_key
    LEFT JOIN (
        SELECT * FROM work WHERE fault IS NULL
        QUALIFY row_number() OVER (PARTITION BY key ORDER BY revision DESC, line_number DESC) = 1
    ) AS newest ON newest.key = coalesce(followed.target, candidate.work_key)
);

-- All fields of those that passed.
CREATE TABLE chosen AS
SELECT
    line_number, key, work_key,
    nullif(titled(text_of(j.title_prefix), text_of(j.title)), '') AS title,
    nullif(text_of(j.subtitle), '') AS subtitle,
    language_keys(j.languages) AS languages,
    first_cover(j.covers) AS cover_id,
    pages_of_edition(j.number_of_pages, j.pagination) AS pages,
    year_of(text_of(j.publish_date)) AS publish_year,
    texts(j.publishers) AS publishers,
    first_isbn13(texts(j.isbn_13) || texts(j.isbn_10)) AS isbn13,
    texts(j.author_names) AS author_names,
    subjects,
    coalesce(nullif(text_of(j.description), ''), work_description) AS description,
    keys(j.authors) AS edition_authors,
    work_authors
FROM (SELECT *, unnest([fields(record)]) AS j FROM considered WHERE failed IS NULL);
