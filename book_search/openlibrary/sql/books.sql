-- `chosen` and `author` -> `book`: the columns of schemas.BOOKS. Authors are the edition's, else its work's, else
-- the bare names that records from the Internet Archive carry.
CREATE TABLE book AS
WITH newest AS (
    SELECT key, name FROM author WHERE fault IS NULL
    QUALIFY row_number() OVER (PARTITION BY key ORDER BY revision DESC, line_number DESC) = 1
),
named AS (
    SELECT line_number, source, once(list(name ORDER BY position)) AS names
    FROM mention
    JOIN followed ON followed.key = mention.key
    JOIN newest ON newest.key = followed.target
    WHERE name IS NOT NULL
    GROUP BY line_number, source
),
row_of AS (
    SELECT
        chosen.key AS edition_key,
        work_key,
        title,
        subtitle,
        coalesce(own.names, of_work.names, once(author_names)) AS authors,
        publish_year,
        pages,
        isbn13,
        publishers[1] AS publisher,
        subjects,
        description,
        once(languages) AS languages,
        cover_id
    FROM chosen
    LEFT JOIN named AS own ON own.line_number = chosen.line_number AND own.source = 0
    LEFT JOIN named AS of_work ON of_work.line_number = chosen.line_number AND of_work.source = 1
)
SELECT *, getvariable('dump_date') AS dump_date, md5(CAST(to_json(row_of) AS VARCHAR)) AS content_hash
FROM row_of;
