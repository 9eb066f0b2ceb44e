-- One row an edition line, and one a broken line. Only what passed the rules so far keeps its record, as `fields`
-- leaves it.
CREATE TABLE edition (
    line_number BIGINT, fault VARCHAR, content VARCHAR, key VARCHAR, revision INTEGER,
    failed UTINYINT,  -- the position of the first rule that this edition does not meet
    record VARCHAR
);

CREATE TABLE work (
    line_number BIGINT, fault VARCHAR, content VARCHAR, key VARCHAR, revision INTEGER,
    subjects VARCHAR[], author_keys VARCHAR[], description VARCHAR
);

CREATE TABLE author (
    line_number BIGINT, fault VARCHAR, content VARCHAR, key VARCHAR, revision INTEGER,
    name VARCHAR
);

CREATE TABLE redirect (
    line_number BIGINT, fault VARCHAR, content VARCHAR, key VARCHAR, revision INTEGER,
    target VARCHAR
);
