-- The dumps hold the same thing in several shapes; these read every one that is known, and give NULL, '' or an empty
-- list for what they cannot read. A macro's arguments are pasted into it as text: none may use one twice where it is
-- long, or the expressions double at every level. Hence '' passes through where nullif would name its argument twice.

-- Text without NUL, which Postgres refuses, and without blanks around it.
CREATE TEMP MACRO trimmed(words) AS
    trim(replace(words, chr(0), ''), ' ' || chr(9) || chr(10) || chr(11) || chr(12) || chr(13));

CREATE TEMP MACRO string_at(item, place) AS CASE WHEN json_type(item, place) = 'VARCHAR' THEN item ->> place END;

-- "text", 12, or {"type": "/type/text", "value": "text"}.
CREATE TEMP MACRO text_of(item) AS trimmed(
    CASE
        WHEN json_type(item) = 'VARCHAR' THEN item ->> '$'
        WHEN json_type(item) = 'OBJECT' THEN string_at(item, '$.value')
        WHEN json_type(item) IN ('UBIGINT', 'BIGINT', 'DOUBLE') THEN item ->> '$'
    END
);

-- The elements of an array; anything else is its own only element. (TRY_CAST, for DuckDB also computes branches of a
-- CASE that it then does not take.)
CREATE TEMP MACRO items(item) AS
    CASE
        WHEN json_type(item) = 'ARRAY' THEN TRY_CAST(item AS JSON[])
        WHEN item IS NULL OR json_type(item) = 'NULL' THEN CAST([] AS JSON[])
        ELSE [item]
    END;

-- Each value once, in the order of its first appearance.
CREATE TEMP MACRO once(list) AS list_filter(list, lambda x, i: list_position(list, x) = i);

CREATE TEMP MACRO texts(item) AS list_filter(list_transform(items(item), lambda e: text_of(e)), lambda t: t <> '');

-- OL45W of "/works/OL45W", and ia:xyz of "/books/ia:xyz".
CREATE TEMP MACRO short_key(name) AS regexp_extract(trimmed(name), '([^/]+)$', 1);

-- {"key": "/authors/OL1A"}, "/authors/OL1A", {"author": {"key": "/authors/OL1A"}} or {"author": "/authors/OL1A"}.
CREATE TEMP MACRO reference_of(item) AS
    CASE json_type(item)
        WHEN 'OBJECT' THEN coalesce(string_at(item, '$.author.key'), string_at(item, '$.author'), string_at(item, '$.key'))
        WHEN 'VARCHAR' THEN item ->> '$'
    END;
CREATE TEMP MACRO key_of(item) AS short_key(reference_of(item));

CREATE TEMP MACRO keys(item) AS list_filter(list_transform(items(item), lambda e: key_of(e)), lambda k: k <> '');

-- The first positive id of [-1, null, "12", 13].
CREATE TEMP MACRO first_cover(item) AS list_filter(
    list_transform(items(item), lambda e: TRY_CAST(regexp_extract(e ->> '$', '^ *([0-9]{1,12}) *$', 1) AS BIGINT)),
    lambda n: n > 0
)[1];

-- A year from 1400 to 2099: of eight digits YYYYMMDD, else the first four digits that stand alone.
-- June 2014, 2014-06-01, 20140601, c2015, [2016], 2016?; none in 19uu, 190u, [n.d.], 8858, 9999.
CREATE TEMP MACRO year_of(words) AS coalesce(
    TRY_CAST(
        regexp_extract(
            words, '(?:^|[^0-9])((?:1[4-9]|20)[0-9]{2})(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])(?:$|[^0-9])', 1
        ) AS SMALLINT
    ),
    TRY_CAST(regexp_extract(words, '(?:^|[^0-9])((?:1[4-9]|20)[0-9]{2})(?:$|[^0-9])', 1) AS SMALLINT)
);

-- 243, "243", "243.0", else the largest number before a p: "xii, 243 p.", "[2] p. l., 3-320 p.", "2 v. (640 pages)";
-- none in "23 cm." and "p. cm.".
CREATE TEMP MACRO pages_of(words) AS coalesce(
    TRY_CAST(regexp_extract(words, '^0*([1-9][0-9]{0,4})(?:\.0+)?$', 1) AS INTEGER),
    list_max(
        list_filter(
            list_transform(
                regexp_extract_all(
                    lower(words), '(?:^|[^0-9a-z.])([0-9]{1,5})\]?(?:, ?\[[0-9]+\])? ?p(?:p|gs?|ages?)?(?:[^a-z]|$)', 1
                ),
                lambda n: CAST(n AS INTEGER)
            ),
            lambda n: n > 0
        )
    )
);

-- The number stated, else the one in the collation.
CREATE TEMP MACRO pages_of_edition(number_of_pages, pagination) AS coalesce(
    CASE WHEN regexp_matches(CAST(number_of_pages AS VARCHAR), '^[1-9][0-9]{0,4}$')
        THEN TRY_CAST(CAST(number_of_pages AS VARCHAR) AS INTEGER)
    END,
    CASE WHEN number_of_pages IS NOT NULL THEN pages_of(text_of(number_of_pages)) END,
    CASE WHEN pagination IS NOT NULL THEN pages_of(text_of(pagination)) END
);

-- The last digit of an ISBN-13, from its first twelve; of an ISBN-10, from its first nine (ISO 2108).
CREATE TEMP MACRO isbn13_digit(digits) AS CAST(
    (10 - list_sum(list_transform(range(1, 13), lambda i: TRY_CAST(substr(digits, i, 1) AS INTEGER) * (CASE WHEN i % 2 = 1 THEN 1 ELSE 3 END))) % 10) % 10
AS VARCHAR);
CREATE TEMP MACRO isbn10_digit(digits) AS substr(
    '0123456789X',
    CAST((11 - list_sum(list_transform(range(1, 10), lambda i: TRY_CAST(substr(digits, i, 1) AS INTEGER) * (11 - i))) % 11) % 11 + 1 AS BIGINT),
    1
);

-- An ISBN-13 whose check digit is right, as it stands or derived from an ISBN-10 whose check digit is right.
CREATE TEMP MACRO isbn13_of_digits(digits) AS
    CASE
        WHEN regexp_matches(digits, '^97[89][0-9]{10}$') AND right(digits, 1) = isbn13_digit(left(digits, 12)) THEN digits
        WHEN regexp_matches(digits, '^[0-9]{9}[0-9X]$') AND right(digits, 1) = isbn10_digit(left(digits, 9))
            THEN '978' || left(digits, 9) || isbn13_digit('978' || left(digits, 9))
    END;
CREATE TEMP MACRO isbn13_of(words) AS
    isbn13_of_digits(upper(regexp_replace(split_part(words, '(', 1), '[^0-9Xx]', '', 'g')));
CREATE TEMP MACRO first_isbn13(list) AS
    list_filter(list_transform(list, lambda words: isbn13_of(words)), lambda isbn: isbn IS NOT NULL)[1];

-- The title with its article, which older records keep apart so that titles sort: "The " of "The idiot", "L'" of "L'art".
CREATE TEMP MACRO titled(prefix, title) AS
    CASE
        WHEN prefix = '' OR prefix IS NULL OR starts_with(title, prefix) THEN title
        ELSE prefix || CASE WHEN right(prefix, 1) = '''' THEN '' ELSE ' ' END || title
    END;

CREATE TEMP MACRO object_text(record) AS
    CASE WHEN starts_with(record, '{') THEN record WHEN starts_with(ltrim(record), '{') THEN record END;

-- The fields of a record that any stage reads, each as the JSON it is; NULL for a record that is no object.
CREATE TEMP MACRO fields(record) AS TRY(from_json(
    object_text(record),
    '{"title": "JSON", "title_prefix": "JSON", "subtitle": "JSON", "languages": "JSON", "covers": "JSON",
      "number_of_pages": "JSON",
      "pagination": "JSON", "publish_date": "JSON", "isbn_10": "JSON", "isbn_13": "JSON", "works": "JSON",
      "authors": "JSON", "author_names": "JSON", "publishers": "JSON", "subjects": "JSON", "genres": "JSON",
      "description": "JSON"}'
));

-- The fields that the rules on editions look at, each as the JSON it is; NULL for a record that is no object.
CREATE TEMP MACRO seen_of(record) AS TRY(json_extract(
    object_text(record),
    ['$.title', '$.languages', '$.covers', '$.publish_date', '$.number_of_pages', '$.pagination', '$.publishers']
));

-- Whether a record is a JSON object.
CREATE TEMP MACRO readable(record) AS coalesce(json_valid(object_text(record)), false);

-- Whether a record writes ASCII text as escapes, as \/ or \u0065 for e: then what its text says cannot be told before
-- it is read. Open Library's own lines never do.
CREATE TEMP MACRO hides_text(record) AS contains(record, '\') AND regexp_matches(record, '\\(?:/|u00[0-7])');

-- What text_of, keys, year_of and first_cover give, found sooner in the form that nearly all records have. Of a title it is
-- enough that it is not empty. A language is a reference: a bare word is none.
CREATE TEMP MACRO some_text(item) AS
    CASE
        WHEN CAST(item AS VARCHAR) BETWEEN '"A' AND '"Z~' OR CAST(item AS VARCHAR) BETWEEN '"a' AND '"z~' THEN 'some'
        ELSE text_of(item)
    END;
CREATE TEMP MACRO language_keys(item) AS
    CASE
        WHEN regexp_matches(CAST(item AS VARCHAR), '^\[\{"key":"/languages/[a-z]+"\}\]$')
            THEN [substr(CAST(item AS VARCHAR), 21, len(CAST(item AS VARCHAR)) - 23)]
        ELSE list_filter(
            list_transform(items(item), lambda e: regexp_extract(trimmed(reference_of(e)), '/([^/]+)$', 1)),
            lambda k: k <> ''
        )
    END;
CREATE TEMP MACRO year_of_date(item) AS coalesce(
    TRY_CAST(regexp_extract(CAST(item AS VARCHAR), '^"(?:[A-Z][a-z]+ (?:[0-9]{1,2}, )?)?((?:1[4-9]|20)[0-9]{2})"$', 1)
        AS SMALLINT),
    CASE WHEN item IS NOT NULL THEN year_of(text_of(item)) END
);
CREATE TEMP MACRO cover_of(item) AS
    CASE WHEN item IS NOT NULL THEN coalesce(
        TRY_CAST(regexp_extract(CAST(item AS VARCHAR), '^\[([1-9][0-9]{0,11})[],]', 1) AS BIGINT), first_cover(item)
    ) END;

-- short_key, found sooner in a column of the usual form.
CREATE TEMP MACRO key_column(name) AS
    CASE
        WHEN regexp_matches(name, '^/(?:books|works)/OL[0-9]+[MW]\t$') THEN substr(name, 8, strlen(name) - 8)
        WHEN regexp_matches(name, '^/authors/OL[0-9]+A\t$') THEN substr(name, 10, strlen(name) - 10)
        ELSE short_key(name)
    END;

-- The lines of one type, and what is wrong with them. `record` is the JSON. Parts keep the tab or newline that ended
-- them: no column's order or value changes by it.
CREATE TEMP MACRO record_lines(record_type) AS TABLE
    SELECT
        line_number,
        CASE WHEN key = '' THEN 'no key' END AS fault,
        key,
        coalesce(TRY_CAST(part[3] AS INTEGER), 0) AS revision,
        part,
        part[5] AS record
    FROM (SELECT line_number, part, key_column(part[2]) AS key FROM incoming WHERE part[1] = record_type || chr(9));

-- A line again, of its parts.
CREATE TEMP MACRO whole(part) AS array_to_string(CAST(part AS VARCHAR[]), '');
