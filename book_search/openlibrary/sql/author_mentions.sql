-- The authors that the books name: the edition's own (source 0), and its work's (source 1), in their order.
CREATE TABLE mention AS
SELECT line_number, 0 AS source, unnest(edition_authors) AS key, unnest(range(len(edition_authors))) AS position
FROM chosen
UNION ALL
SELECT line_number, 1, unnest(work_authors), unnest(range(len(work_authors)))
FROM chosen;
