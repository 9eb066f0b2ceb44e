-- `incoming` lines -> `work`, of the works in `wanted_key` alone. Where the records were checked before, no other
-- line's JSON is read.
INSERT INTO work
SELECT
    line_number,
    coalesce(fault, CASE WHEN j IS NULL THEN 'no JSON object' END) AS fault,
    CASE WHEN fault IS NOT NULL OR j IS NULL THEN whole(part) END,
    key, revision,
    texts(j.subjects) || texts(j.genres),
    keys(j.authors),
    nullif(text_of(j.description), '')
FROM (
    SELECT *, unnest([CASE WHEN fault IS NULL THEN fields(record) END]) AS j
    FROM record_lines('/type/work')
    WHERE fault IS NOT NULL OR key IN (SELECT key FROM wanted_key) OR ${unreadable}
);
