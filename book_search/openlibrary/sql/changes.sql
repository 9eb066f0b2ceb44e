-- Two tables of (edition_key, content_hash) -> how many are new, changed and gone.
SELECT
    count(*) FILTER (before.edition_key IS NULL) AS new,
    count(*) FILTER (before.content_hash <> after.content_hash) AS changed,
    count(*) FILTER (after.edition_key IS NULL) AS gone
FROM before FULL JOIN after USING (edition_key);
