-- `incoming` lines -> `author`, of the authors in `wanted_key` alone. Where the records were checked before, no
-- other line's JSON is read.
INSERT INTO author
SELECT
    line_number,
    coalesce(fault, CASE WHEN j IS NULL THEN 'no JSON object' END) AS fault,
    CASE WHEN fault IS NOT NULL OR j IS NULL THEN whole(part) END,
    key, revision,
    coalesce(nullif(text_of(j.name), ''), nullif(text_of(j.personal_name), ''))
FROM (
    SELECT *, unnest([
        CASE WHEN fault IS NULL THEN TRY(from_json(object_text(record), '{"name": "JSON", "personal_name": "JSON"}')) END
    ]) AS j
    FROM record_lines('/type/author')
    WHERE fault IS NOT NULL OR key IN (SELECT key FROM wanted_key) OR ${unreadable}
);
