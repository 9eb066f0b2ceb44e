-- Where a key stands at several revisions, the newest counts.
CREATE TABLE newest_redirect AS
SELECT key, target
FROM redirect
WHERE fault IS NULL AND target <> ''
QUALIFY row_number() OVER (PARTITION BY key ORDER BY revision DESC, line_number DESC) = 1;
