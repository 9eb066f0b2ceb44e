-- `incoming` lines -> `redirect`.
INSERT INTO redirect
SELECT
    line_number,
    coalesce(fault, CASE WHEN j IS NULL THEN 'no JSON object' END) AS fault,
    CASE WHEN fault IS NOT NULL OR j IS NULL THEN whole(part) END,
    key, revision,
    short_key(text_of(j.location))
FROM (
    SELECT *, unnest([
        CASE WHEN fault IS NULL THEN TRY(from_json(object_text(record), '{"location": "JSON"}')) END
    ]) AS j
    FROM record_lines('/type/redirect')
);
