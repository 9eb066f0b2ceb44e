-- `incoming` lines -> the broken ones among them alone, in the table of their kind.
INSERT INTO ${table} (line_number, fault, content)
SELECT line_number, coalesce(fault, 'no JSON object'), whole(part)
FROM record_lines('${type}')
WHERE fault IS NOT NULL OR NOT readable(record);
