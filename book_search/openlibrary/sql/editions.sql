-- `incoming` lines -> `edition`. A record of broken JSON gets a fault; what Python can repair comes in again.
-- Every record's JSON is read once, for the three fields that leave most editions out; again for those that the other
-- rules look at, where it met the first rules; and for all fields where it met every rule. The rules read the columns
-- by their names below, which stand for the expressions: so CASE computes each for the rows alone that met the rules
-- before it. unnest of a list of one keeps DuckDB from computing what is in it again for every use.
INSERT INTO edition
SELECT
    line_number,
    fault,
    CASE WHEN fault IS NOT NULL THEN whole(part) END,
    key, revision, last_modified, failed,
    CASE WHEN fault IS NULL AND failed IS NULL THEN to_json(fields(record)) END
FROM (
    SELECT
        * EXCLUDE (failed_early, rest),
        pages_of_edition(rest[1], rest[2]) AS pages,
        year_of_date(rest[3]) AS publish_year,
        texts(rest[4]) AS publishers,
        CASE WHEN rest IS NULL THEN failed_early ELSE ${first_failed_late} END AS failed
    FROM (
        SELECT *, unnest([CASE WHEN fault IS NULL AND failed_early IS NULL THEN rest_of(record) END]) AS rest
        FROM (
            SELECT
                * EXCLUDE (fault, head),
                coalesce(fault, CASE WHEN head IS NULL THEN 'no JSON object' END) AS fault,
                some_text(head[1]) AS title,
                language_keys(head[2]) AS languages,
                cover_of(head[3]) AS cover_id,
                unnest([CASE WHEN head IS NOT NULL THEN ${first_failed_early} END]) AS failed_early
            FROM (
                SELECT *, unnest([CASE WHEN fault IS NULL THEN head_of(record) END]) AS head
                FROM record_lines('/type/edition')
            )
        )
    )
);
