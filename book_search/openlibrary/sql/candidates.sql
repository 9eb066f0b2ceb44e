-- The edition lines that another line of the same key supersedes, and the editions that passed their rules,
-- with what the rules on subjects need.
-- Hashes find the few keys that stand twice in far less memory than the keys themselves would.
CREATE TABLE superseded AS
SELECT line_number
FROM edition
WHERE fault IS NULL AND hash(key) IN (SELECT hash(key) FROM edition WHERE fault IS NULL GROUP BY 1 HAVING count(*) > 1)
QUALIFY row_number() OVER (PARTITION BY key ORDER BY revision DESC, line_number DESC) > 1;

CREATE TABLE candidate AS
SELECT line_number, key, record, keys(j.works)[1] AS work_key, texts(j.subjects) || texts(j.genres) AS subjects
FROM (
    SELECT *, unnest([from_json(record, '{"works": "JSON", "subjects": "JSON", "genres": "JSON"}')]) AS j
    FROM edition
    WHERE fault IS NULL AND failed IS NULL AND line_number NOT IN (SELECT line_number FROM superseded)
);
