-- `incoming` lines -> `edition`. A record of broken JSON gets a fault; what Python can repair comes in again.
-- Rules that can be told to fail from the line's text alone come first: most lines end there, and their JSON is not
-- read. Of the others it is read once, for the fields that the rules look at, and again, for all fields, where every
-- rule was met. The rules read the columns by their names below, which stand for the expressions: so CASE computes each
-- for the rows alone that met the rules before it. unnest of a list of one keeps DuckDB from computing what is in it
-- again for every use.
INSERT INTO edition
SELECT
    line_number,
    fault,
    CASE WHEN fault IS NOT NULL THEN whole(part) END,
    key, revision, failed,
    CASE WHEN fault IS NULL AND failed IS NULL THEN to_json(fields(record)) END
FROM (
    SELECT
        * EXCLUDE (fault, text_failed, seen),
        coalesce(fault, CASE WHEN text_failed IS NULL AND seen IS NULL THEN 'no JSON object' END) AS fault,
        some_text(seen[1]) AS title,
        language_keys(seen[2]) AS languages,
        cover_of(seen[3]) AS cover_id,
        year_of_date(seen[4]) AS publish_year,
        pages_of_edition(seen[5], seen[6]) AS pages,
        texts(seen[7]) AS publishers,
        CASE WHEN text_failed IS NOT NULL THEN text_failed WHEN seen IS NOT NULL THEN ${first_failed} END AS failed
    FROM (
        SELECT *, unnest([CASE WHEN fault IS NULL AND text_failed IS NULL THEN seen_of(record) END]) AS seen
        FROM (
            SELECT *, unnest([CASE WHEN fault IS NULL THEN ${first_failed_by_text} END]) AS text_failed
            FROM record_lines('/type/edition')
        )
    )
);
