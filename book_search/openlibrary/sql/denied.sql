-- `book`, `denied_cover`, `denied_edition` -> `allowed_book`: without the denied editions, and without the denied covers
-- and those of these editions, whichever book shows them.
CREATE OR REPLACE TEMP VIEW allowed_book AS
WITH gone AS (
    SELECT cover_id FROM denied_cover
    UNION
    SELECT cover_id FROM book WHERE edition_key IN (SELECT edition_key FROM denied_edition) AND cover_id IS NOT NULL
)
SELECT * REPLACE (
    CASE WHEN cover_id IN (SELECT cover_id FROM gone) THEN NULL ELSE cover_id END AS cover_id,
    CASE WHEN cover_id IN (SELECT cover_id FROM gone) THEN md5(content_hash || ' denied') ELSE content_hash END
        AS content_hash
)
FROM book
WHERE edition_key NOT IN (SELECT edition_key FROM denied_edition);
