-- `asked` keys -> `followed` (key, target): where each leads at last. A key whose redirects run in a circle, or on for
-- more than max_hops, stays itself.
CREATE OR REPLACE TABLE followed AS
WITH RECURSIVE hop (start, reached, hops) AS (
    SELECT DISTINCT key, key, 0 FROM asked WHERE key IS NOT NULL
    UNION ALL
    SELECT start, target, hops + 1
    FROM hop JOIN newest_redirect ON newest_redirect.key = hop.reached
    WHERE hops < getvariable('max_hops')
)
SELECT start AS key, CASE WHEN max(hops) = getvariable('max_hops') THEN start ELSE arg_max(reached, hops) END AS target
FROM hop
GROUP BY start;
