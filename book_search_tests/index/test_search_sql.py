"""The SQL functions find what is there: the nearest, all that was asked for, each work once."""

from typing import Any

import numpy as np
import psycopg
import pytest
from pgvector import HalfVector, Vector

from book_search.index.connection import Connection
from book_search_tests.index.library import COLOURS, Library

Rows = list[tuple[Any, ...]]
QUERIES = range(0, 24_000, 1_200)


@pytest.mark.parametrize(
    ("filters", "passes"),
    [
        ("", lambda i: i >= 0),
        ("pages_to => 999", lambda i: i % 2000 <= 999),  # 50 %
        ("pages_to => 99", lambda i: i % 2000 <= 99),  # 5 %
        ("pages_to => 9", lambda i: i % 2000 <= 9),  # 0.5 %
        ("pages_from => 5, pages_to => 5", lambda i: i % 2000 == 5),  # 0.05 %: 12 books
        ("year_from => 1950", lambda i: i % 120 >= 50),
        ("year_from => 2019, year_to => 2019, pages_to => 400", lambda i: i % 120 == 119 and i % 2000 <= 400),
        ("publisher => 'ace books'", lambda i: i % 2 == 1),
        ("author => 'LE GUIN'", lambda i: i % 1000 == 7),
        ("author => 'bronte'", lambda i: i % 1000 == 7),
        ("subject => 'sea stories'", lambda i: i % 20 == 3),
        ("tag => '{colour:red}'", lambda i: COLOURS[i % 4] == "red"),
        ("tag => '{colour:red}', year_to => 1909", lambda i: COLOURS[i % 4] == "red" and i % 120 <= 9),
        ("publisher => ' ', author => '', tag => '{}'", lambda i: i >= 0),
    ],
)
def test_filters_cost_no_rows_and_no_neighbours(
    searching: Connection, library: Library, filters: str, passes: Any
) -> None:
    matching = np.array([i for i in range(24_000) if passes(i)])
    vectors = library.vectors.astype(np.float32)
    found_of_exact = 0
    for query in QUERIES:
        rows = _rows(searching, f"search_covers(%s, 10, {filters or 'year_from => NULL'})", library.literal(query))
        cosines = vectors[matching] @ vectors[query]
        tenth = np.sort(cosines)[-min(10, len(matching))]
        ids = [row[0] for row in rows]

        assert len(rows) == min(10, len(matching))
        assert set(ids) <= set(matching.tolist())
        assert [row[1] for row in rows] == sorted((row[1] for row in rows), reverse=True)
        found_of_exact += sum(vectors[i] @ vectors[query] >= tenth - 1e-3 for i in ids)

    assert found_of_exact / (10 * len(QUERIES)) >= 0.98 * min(10, len(matching)) / 10


def test_a_cover_has_all_the_tags_asked_for(searching: Connection, library: Library) -> None:
    searching.execute(
        "INSERT INTO cover_tag SELECT 1, i, 'object', 'ship: wrecked', 1, '' FROM generate_series(5, 8) i"
    )

    rows = _rows(searching, "search_covers(%s, tag => '{colour:red,object:ship: wrecked}')", library.literal(0))

    assert [row[0] for row in rows] == [5]


def test_a_walk_that_ends_too_early_is_made_up_for_exactly(searching: Connection, library: Library) -> None:
    searching.execute("ALTER FUNCTION nearest_covers SET hnsw.max_scan_tuples = 1")
    searching.execute("ALTER FUNCTION nearest_covers SET hnsw.ef_search = 5")

    assert len(_rows(searching, "search_covers(%s, 300)", library.literal(0))) == 300
    assert len(_rows(searching, "search_covers(%s, 300, pages_to => 999)", library.literal(0))) == 300


def test_a_broad_filter_walks_the_graph_and_a_narrow_one_does_not(searching: Connection, library: Library) -> None:
    def walks(call: str) -> bool:
        before = searching.execute(_SCANS).fetchone()
        _rows(searching, call, library.literal(0))
        return searching.execute(_SCANS).fetchone() != before

    assert walks("search_covers(%s)")
    assert walks("search_covers(%s, pages_to => 1200)")
    assert not walks("search_covers(%s, pages_to => 99)")


def test_more_may_be_asked_for_than_there_is(searching: Connection, library: Library) -> None:
    assert len(_rows(searching, "search_covers(%s, 30000)", library.literal(0))) == 24_000
    assert len(_rows(searching, "search_books(%s, k => 30, pages_from => 5, pages_to => 5)", library.literal(0))) == 12
    most = "k => 2147483647, pages_from => 5, pages_to => 5"
    assert len(_rows(searching, f"search_books(%s, 'ship', {most})", library.literal(0))) == 12
    assert len(_rows(searching, f"search_covers(%s, {most})", library.literal(0))) == 12


def test_a_work_is_hit_once_however_many_editions_it_has(searching: Connection, library: Library) -> None:
    nearest = [row[0] for row in _rows(searching, "search_covers(%s, 700)", library.literal(0))]
    searching.execute("UPDATE book SET work_key = 'OL1W' WHERE cover_id = ANY (%s)", [nearest])

    rows = _rows(searching, "search_books(%s, k => 10)", library.literal(0))

    assert rows[0][:2] == ("OL0M", "OL1W")
    assert len({row[1] for row in rows}) == 10


def test_editions_without_a_work_are_works_of_their_own(searching: Connection, library: Library) -> None:
    searching.execute("UPDATE book SET work_key = NULL")

    assert len({row[0] for row in _rows(searching, "search_books(%s)", library.literal(0))}) == 10


def test_vector_and_words_are_fused_by_their_ranks(searching: Connection, library: Library) -> None:
    searching.execute("UPDATE book SET title = 'Lighthouse' WHERE edition_key IN ('OL5M', 'OL9999M')")

    rows = _rows(searching, "search_books(%s, 'lighthouse', 3)", library.literal(5))

    columns = ("edition_key", "cosine", "vector_rank", "words_rank", "score")
    first, *others = [dict(zip(columns, (row[0], *row[6:]), strict=True)) for row in rows]
    assert (first["edition_key"], first["vector_rank"]) == ("OL5M", 1)
    assert first["score"] == pytest.approx(1 / 61 + 1 / (60 + first["words_rank"]))
    by_words = next(row for row in others if row["edition_key"] == "OL9999M")
    assert by_words["vector_rank"] is None
    assert by_words["cosine"] == pytest.approx(float(library.vectors[9999] @ library.vectors[5]), abs=2e-3)


def test_a_word_that_every_book_has_still_finds_as_many_works_as_are_asked_for(
    searching: Connection, library: Library
) -> None:
    searching.execute("UPDATE book SET work_key = 'OL1W', title = 'Ship ship ship' WHERE cover_id < 500")

    rows = _rows(searching, "search_books(NULL::text, 'ship', 20)")

    assert rows[0][:2] == ("OL0M", "OL1W")
    assert [row[8] for row in rows] == list(range(1, 21))
    assert len({row[1] for row in rows}) == 20


def test_a_hit_by_words_shows_the_edition_that_has_them_best(searching: Connection) -> None:
    searching.execute("UPDATE book SET work_key = 'OL9W' WHERE edition_key IN ('OL7M', 'OL8M', 'OL9M')")
    searching.execute("UPDATE book SET description = 'A lighthouse.' WHERE edition_key IN ('OL7M', 'OL9M')")
    searching.execute("UPDATE book SET title = 'Lighthouse' WHERE edition_key = 'OL8M'")
    searching.execute("UPDATE book SET subjects = '{Lighthouse}' WHERE edition_key = 'OL20M'")

    rows = _rows(searching, "search_books(NULL::text, 'lighthouse')")

    assert [(row[0], row[8]) for row in rows] == [("OL8M", 1), ("OL20M", 2)]


def test_a_search_without_words_says_nothing_of_words(searching: Connection, library: Library) -> None:
    notices: list[str] = []
    searching.add_notice_handler(lambda notice: notices.append(str(notice.message_primary)))

    _rows(searching, "search_books(%s)", library.literal(5))

    assert notices == []


def test_words_that_match_nothing_take_nothing_away(searching: Connection, library: Library) -> None:
    without = _rows(searching, "search_books(%s)", library.literal(5))

    assert _rows(searching, "search_books(%s, 'xyzzy')", library.literal(5)) == without
    assert _rows(searching, "search_books(%s, '...')", library.literal(5)) == without


def test_words_alone_find_books_as_on_the_web(searching: Connection) -> None:
    searching.execute("UPDATE book SET title = 'Café of the Sea' WHERE edition_key = 'OL5M'")
    searching.execute("UPDATE book SET cover_id = NULL, title = 'Sea Café' WHERE edition_key = 'OL6M'")

    def found(words: str) -> set[str]:
        rows = searching.execute("SELECT edition_key FROM search_books(NULL, %s)", [words]).fetchall()
        return {key for (key,) in rows}

    assert found("cafe sea") == {"OL5M", "OL6M"}
    assert found('"of the sea"') == {"OL5M"}
    assert found("CAFÉ -of") == {"OL6M"}
    assert found("bronte -body") == found("brontë") != set()


def test_words_that_are_only_to_be_left_out_are_nothing_to_go_by(searching: Connection, library: Library) -> None:
    without = _rows(searching, "search_books(%s)", library.literal(5))

    assert _rows(searching, "search_books(%s, '-lighthouse')", library.literal(5)) == without
    assert _rows(searching, "search_books(NULL, '-lighthouse')") == []


def test_long_words_of_many_kinds_are_searched(searching: Connection) -> None:
    for words in ("a b " * 2500, "x" * 10000, '"a b" -c or ' * 80, "((((!&|<->:*''", "a\\'b %s $1 %I"):
        assert isinstance(_rows(searching, "search_books(NULL, %s)", words), list)
    for name in ("author", "publisher", "subject"):
        assert _rows(searching, f"search_books(NULL, 'ship', {name} => %s)", "a b " * 50) == []


def test_similar_books_are_other_works(searching: Connection, library: Library) -> None:
    rows = _rows(searching, "similar_books('OL5M', 10)")

    cosines = library.vectors.astype(np.float32) @ library.vectors[5].astype(np.float32)
    nearest = np.argsort(-cosines)[1:11]
    assert "OL5W" not in {row[1] for row in rows}
    assert [row[7] for row in rows] == list(range(1, 11))
    assert len({row[5] for row in rows} & set(nearest.tolist())) >= 9


def test_book_covers_lists_the_works_editions_found_or_not(searching: Connection) -> None:
    searching.execute("UPDATE book SET work_key = 'OL5W' WHERE edition_key = 'OL126M'")
    searching.execute("UPDATE cover SET status = 'missing' WHERE cover_id = 126")

    rows = searching.execute("SELECT edition_key, cover_id, status FROM book_covers('OL5W')").fetchall()

    assert rows == [("OL5M", 5, "ok"), ("OL126M", 126, "missing")]


def test_a_query_may_come_as_any_type_of_vector_or_as_text(searching: Connection, library: Library) -> None:
    numbers = library.vectors[5].astype(float)
    for call, query in [
        ("search_books(%s, k => 1)", library.literal(5)),
        ("search_books(%s::text, k => 1)", library.literal(5)),
        ("search_books(%s::varchar, k => 1)", library.literal(5)),
        ("search_books(%s, k => 1)", HalfVector(numbers)),
        ("search_books((%s::vector)::halfvec, k => 1)", Vector(numbers)),
    ]:
        assert _rows(searching, call, query)[0][0] == "OL5M"


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        ("search_books('[1,2,3]')", "the query has 3 numbers, but the active model drawn has 32"),
        ("search_covers('[1,2,3]')", "the query has 3 numbers, but the active model drawn has 32"),
        ("search_covers(('[' || repeat('0,', 31) || '0]'))", "zero vector"),
        ("search_covers(NULL)", "nothing to search for"),
        ("search_books(NULL, ' ')", "nothing to search for"),
        ("search_books(NULL, 'sea', 0)", "k must be 1 or more, not 0"),
        ("search_covers('[1]', -1)", "k must be 1 or more, not -1"),
        ("search_covers('[1]', NULL)", "k must be 1 or more, not NULL"),
        ("similar_books('OL5M', 0)", "k must be 1 or more, not 0"),
        ("search_covers('[NaN]')", "NaN not allowed in halfvec"),
        ("search_covers('[1e9]')", "out of range for type halfvec"),
        ("search_books(NULL, repeat('a b ', 5000))", "the words have 20000 characters, and 10,000 are the most"),
        ("search_books(NULL, 'sea', author => repeat('a b ', 5000))", "a filter has more than 10,000 characters"),
        ("search_books(NULL, 'sea', tag => '{NULL}')", "written facet:tag, not NULL"),
        ("search_books(NULL, 'sea', tag => '{blue}')", "written facet:tag, not 'blue'"),
        ("similar_books('OL0000M')", "there is no book 'OL0000M'"),
        ("search_books('a ship')", "invalid input syntax for type halfvec"),
    ],
)
def test_what_cannot_be_asked_is_answered_with_the_reason(searching: Connection, call: str, reason: str) -> None:
    with pytest.raises(psycopg.Error, match=reason):
        _rows(searching, call)


def test_a_filter_value_is_never_read_as_sql(searching: Connection) -> None:
    hostile = "x'; DROP TABLE book; --"
    statement = """SELECT * FROM search_books(NULL, %(v)s, publisher => %(v)s, author => %(v)s, subject => %(v)s,
                   tag => ARRAY['a:' || %(v)s])"""

    assert searching.execute(statement, {"v": hostile}).fetchall() == []
    assert searching.execute("SELECT count(*) FROM book").fetchone() == (24_000,)


def _rows(connection: Connection, call: str, *values: object) -> Rows:
    return connection.execute(f"SELECT * FROM {call}".encode(), values or None).fetchall()  # noqa: S608 - ours


_SCANS = "SELECT sum(pg_stat_get_xact_numscans(indexrelid)) FROM pg_stat_user_indexes WHERE indexrelname LIKE '%hnsw%'"
