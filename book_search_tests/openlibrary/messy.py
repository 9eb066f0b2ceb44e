"""Messy records for tests: every form of a field that the dumps are known to hold, and broken lines between them."""

import json
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

EDITIONS = [f"OL{n}M" for n in range(1, 13)] + ["ia:book01smit"]
WORKS = [f"OL{n}W" for n in range(1, 6)]
AUTHORS = [f"OL{n}A" for n in range(1, 6)]

WORDS = st.sampled_from(
    [
        "Emma",
        " The Moon ",
        "a\0b",
        "\0",
        "",
        "  ",
        "Œuvre\u00a0",
        "日本",
        "line\nbreak",
        "tab\there",
        "\ud800",
        "x\udfffy",
        "\U0001f600",
        'quo"te',
        "back\\slash",
        "ſ",
        "{}",
        "/x/y",
        "1984",
    ]
)
DATES = st.sampled_from(
    [
        "June 2014",
        "2014-06-01",
        "20140601",
        "c2015",
        "[2016]",
        "2016?",
        "19uu",
        "190u",
        "[n.d.]",
        "8858",
        "9999",
        "2011",
        "2021",
        "2022",
        "2010",
        "1399",
        "20141301",
        "12345678",
        "1999, c1998",
        "March 3, 2020",
        "",
        "12014",
        "201406",
        "19991231 2020",
        "2020-2021",
        "xx2020xx",
        "２０１９",
    ]
)
PAGES = st.sampled_from(
    [
        0,
        -1,
        100,
        101,
        243,
        243.0,
        "243",
        " 243 ",
        "243.0",
        "xii, 243 p.",
        "243 pages",
        "23 cm.",
        "p. cm.",
        "1 v. (unpaged)",
        "[4], 320, [3] p.",
        "9 p. l., 3-320 p.",
        "2 v. (640 pp.)",
        "120p",
        "99999",
        "100000",
        "0 p.",
        "v.120 p",
        "1,243 p.",
        "300 plates",
        "300 PAGES.",
        "12 Pg",
        "[200] p. ;",
        "",
        "xx",
        "180 p of plates, 9 p",
    ]
)
SUBJECTS = st.sampled_from(
    [
        "Fiction",
        "fiction",
        "Fiction, general",
        "Science Fiction & Fantasy",
        "Nonfiction",
        "non-fiction",
        "Non fiction",
        "English fiction -- History and criticism",
        "Fiction -- Technique",
        "Fiction--Authorship",
        "Travelers in fiction",
        "Juvenile fiction",
        "Children's fiction",
        "Children, fiction",
        "Children",
        "Violence in children",
        "Cooking",
        "Juvenile delinquents -- Fiction",
        "Picture books for children",
        "Children’s stories",
        "metafiction",
        "Unfiction",
        "nyt:combined_fiction=2011-03-05",
        "nyt:paperback_nonfiction=2007-01-28",
        "Fiction\0",
        "Russian fiction, influence",
        "History",
        "Prehistory",
        "Board books",
        "FICTION / Romance",
        "Éfiction",
        "Fictitious character",
        "\ud800 Fiction",
    ]
)
ISBNS = st.sampled_from(
    [
        "9780107805401",
        "978-0-10-780540-1",
        "9780107805402",
        "0107805405",
        "0-10-780540-5 (pbk.)",
        "0107805406",
        "080442957X",
        "080442957x",
        "9791034304004",
        "9770107805401",
        "",
        "ISBN 0107805405",
        "123",
        "(978) 0107805405",
        "97801078054011",
    ]
)
COVERS = st.sampled_from(
    [-1, 0, None, 7, 12, 14_600_000, "12", " 13 ", "x", True, False, {"id": 5}, [4], 5_000_000_000]
)
NOTHING: SearchStrategy[Any] = st.sampled_from([None, [], {}, "", 0, True, [None], [[]], {"key": 3}, {"value": 3}])


def texts(words: SearchStrategy[Any]) -> SearchStrategy[Any]:
    """A text in any of its shapes."""
    return st.one_of(words, words, words.map(lambda w: {"type": "/type/text", "value": w}), NOTHING)


def lists(element: SearchStrategy[Any]) -> SearchStrategy[Any]:
    """A list in any of its shapes."""
    return st.one_of(st.lists(st.one_of(element, element, element, NOTHING), max_size=4), element, NOTHING)


def references(keys: list[str], kind: str) -> SearchStrategy[Any]:
    """References to records in any of their shapes."""
    key = st.sampled_from([f"/{kind}/{key}" for key in keys])
    as_key = key.map(lambda k: {"key": k})
    role = key.map(lambda k: {"type": {"key": "/type/author_role"}, "author": {"key": k}})
    return lists(st.one_of(as_key, as_key, role, key, key.map(lambda k: {"author": k})))


LANGUAGES = st.one_of(
    references(["eng", "eng", "eng", "fre"], "languages"),
    references(["eng"], "l"),
    st.sampled_from(["eng", ["eng"], [{"key": "eng"}], [{"key": "/languages/ eng"}], [{"key": " /languages/eng\t"}]]),
)
EDITION = st.fixed_dictionaries(
    {"title": texts(WORDS), "languages": LANGUAGES},
    optional={
        "title_prefix": texts(st.sampled_from(["The ", "A", "L'", "Le ", " "])),
        "subtitle": texts(WORDS),
        "covers": lists(COVERS),
        "number_of_pages": st.one_of(PAGES, PAGES, NOTHING),
        "pagination": st.one_of(PAGES, NOTHING),
        "publish_date": st.one_of(DATES, DATES, texts(DATES)),
        "isbn_10": lists(ISBNS),
        "isbn_13": lists(ISBNS),
        "works": references(WORKS, "works"),
        "authors": references(AUTHORS, "authors"),
        "author_names": lists(WORDS),
        "publishers": lists(texts(WORDS)),
        "subjects": lists(SUBJECTS),
        "genres": lists(texts(SUBJECTS)),
        "description": texts(WORDS),
        "notes": WORDS,
    },
)
# Most of the default filter's way, so that examples reach the last rules.
PASSING = {"languages": [{"key": "/languages/eng"}], "covers": [-1, 77], "number_of_pages": 300, "publish_date": "2020"}
NEARLY = st.builds(
    lambda edition, keep, title: {**edition, "title": title, **{k: v for k, v in PASSING.items() if k in keep}},
    EDITION,
    st.sets(st.sampled_from(sorted(PASSING)), min_size=3),
    texts(st.sampled_from(["Emma", "Persuasion"])),
)
WORK = st.fixed_dictionaries(
    {},
    optional={
        "subjects": lists(SUBJECTS),
        "genres": lists(SUBJECTS),
        "authors": references(AUTHORS, "authors"),
        "description": texts(WORDS),
    },
)
AUTHOR = st.fixed_dictionaries({}, optional={"name": texts(WORDS), "personal_name": texts(WORDS)})


def record(kind: str, keys: list[str], folder: str, value: SearchStrategy[Any]) -> SearchStrategy[bytes]:
    """A line of a dump, as Open Library writes it."""
    revision = st.sampled_from(["1", "2", "2", "10", "x", ""])
    modified = st.sampled_from(["2010-04-24T17:54:01.503315", "2020-11-23T14:06:01.764939"])
    return st.builds(
        lambda key, rev, when, body, written: (
            f"/type/{kind}\t/{folder}/{key}\t{rev}\t{when}\t{written(json.dumps(body))}".encode()
        ),
        st.sampled_from(keys),
        revision,
        modified,
        value,
        st.sampled_from([_plainly, _plainly, _plainly, _tightly, _with_escaped_slashes, _with_escaped_letters]),
    )


def _plainly(body: str) -> str:
    return body


def _tightly(body: str) -> str:
    return json.dumps(json.loads(body), separators=(",", ":"))


def _with_escaped_slashes(body: str) -> str:
    return body.replace("/", r"\/")


def _with_escaped_letters(body: str) -> str:
    for word in ("eng", "covers", "publish_date", '"2020'):
        body = body.replace(word, word[:-1] + f"\\u{ord(word[-1]):04x}")
    return body


REDIRECT = st.builds(
    lambda a, b: f'/type/redirect\t{a}\t1\t2010-01-01\t{{"key": "{a}", "location": "{b}"}}'.encode(),
    st.sampled_from([f"/works/{k}" for k in WORKS] + [f"/authors/{k}" for k in AUTHORS]),
    st.sampled_from([f"/works/{k}" for k in WORKS] + [f"/authors/{k}" for k in AUTHORS]),
)
BROKEN = st.sampled_from(
    [
        b"",
        b"\t\t\t\t",
        b"/type/edition /books/OL1M 3 2020 {}",
        b'/type/edition\t/books/OL2M\t3\t{"title": "four columns"}',
        b'/type/edition\t/books/OL3M\t3\t2020\t{"title": "cut o',
        b"/type/edition\t/books/OL4M\t3\t2020\t[1, 2]",
        b'/type/edition\t/books/OL5M\t3\t2020\t"text"',
        b"/type/edition\t/books/OL6M\t3\t2020\t",
        b'/type/edition\t/books/OL7M\t3\t2020\t{"title": "not \xff UTF-8"}',
        b'/type/edition\t/books/\t3\t2020\t{"title": "no key"}',
        b'/type/edition\t/books/OL8M\t3\t2020\t{"title": "six"}\tcolumns',
        b'/type/junk\t/junk/1\t1\tdatetimestr\t{"key": "value"}',
        b'/type/edition\t/books/OL9M\t3\t2020\t {"title": "raw \xc3\xa9 and return"}\r',
    ]
)
EDITION_LINES = st.lists(
    st.one_of(
        record("edition", EDITIONS, "books", NEARLY),
        record("edition", EDITIONS, "books", NEARLY),
        record("edition", EDITIONS, "books", EDITION),
        BROKEN,
        REDIRECT,
    ),
    min_size=1,
    max_size=30,
)
WORK_LINES = st.lists(st.one_of(record("work", WORKS, "works", WORK), BROKEN), min_size=1, max_size=10)
AUTHOR_LINES = st.lists(st.one_of(record("author", AUTHORS, "authors", AUTHOR), BROKEN), min_size=1, max_size=10)
REDIRECT_LINES = st.lists(REDIRECT, max_size=6)
