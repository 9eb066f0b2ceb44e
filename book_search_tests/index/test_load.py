"""Loading writes what changed, removes what is gone, and all of it or nothing."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pgvector import HalfVector

from book_search.index.connection import Connection
from book_search.index.load import load_books, load_funnel, load_range
from book_search.index.merging import RowChanges
from book_search.schemas import FUNNEL
from book_search_tests.index.library import (
    Library,
    digest,
    draw_library,
    embedding_table,
    register,
    with_values,
)

BOUNDS = (0, 100_000)


@pytest.fixture(scope="module")
def small() -> Library:
    return draw_library(50, dim=8)


def test_a_second_load_of_the_same_writes_nothing(connection: Connection, small: Library, tmp_path: Path) -> None:
    model = register(connection, dim=8)
    pq.write_table(small.books, tmp_path / "books.parquet")

    first = load_books(connection, small.books)
    second = load_books(connection, tmp_path / "books.parquet")
    first_range = _load(connection, model, small)
    before = _places(connection)
    second_range = _load(connection, model, small)

    assert first == RowChanges(inserted=50, updated=0, deleted=0, unchanged=0)
    assert second == RowChanges(inserted=0, updated=0, deleted=0, unchanged=50)
    assert set(first_range.values()) == {first}
    assert set(second_range.values()) == {second}
    assert _places(connection) == before


def test_what_is_loaded_is_what_was_given(connection: Connection, small: Library) -> None:
    books = with_values(
        small.books, 0, title="Nul\0 ship", authors=["A\0nn", "Bob"], subjects=None, publish_year=None, dump_date=None
    )

    load_books(connection, books)

    row = connection.execute(
        """SELECT title, authors, subjects, publish_year, pages, publisher, languages, cover_id, content_hash
           FROM book WHERE edition_key = 'OL0M'"""
    ).fetchone()
    assert row == ("Nul ship", ["Ann", "Bob"], [], None, 0, "Faber & Faber", ["eng"], 0, digest(0))


def test_no_new_book_waits_in_the_list_that_every_search_for_words_would_read(
    connection: Connection, small: Library
) -> None:
    load_books(connection, small.books)

    for index in ("book_words_in", "book_publisher_words"):
        assert connection.execute("SELECT gin_clean_pending_list(%s::regclass)", [index]).fetchone() == (0,)


def test_only_books_whose_content_changed_are_rewritten(connection: Connection, small: Library) -> None:
    load_books(connection, small.books)
    changed = with_values(small.books, 3, title="Another", content_hash=digest("another"))
    changed = with_values(changed, 4, title="Not looked at, as its hash is the same")

    changes = load_books(connection, changed.slice(1))

    assert changes == RowChanges(inserted=0, updated=1, deleted=1, unchanged=48)
    titles: dict[str, str] = dict(connection.execute("SELECT edition_key, title FROM book").fetchall())
    assert "OL0M" not in titles
    assert (titles["OL3M"], titles["OL4M"]) == ("Another", "The Ship 4")


def test_only_changed_rows_of_a_range_are_rewritten_and_gone_ones_removed(
    connection: Connection, small: Library
) -> None:
    model = register(connection, dim=8)
    _load(connection, model, small)
    hashes = [digest("new bytes") if i == 7 else digest(i) for i in range(50)]
    vectors = small.vectors.copy()
    vectors[7], vectors[8] = vectors[0], vectors[0]  # 8 has the same bytes, so its vector is not looked at
    changed = Library(
        small.books,
        with_values(small.covers, 7, sha256=digest("new bytes")),
        embedding_table(list(range(50)), hashes, vectors),
        with_values(small.tags, 9, probability=0.75),
        vectors,
    ).without_row(20)

    changes = _load(connection, model, changed)

    one_of_each = RowChanges(inserted=0, updated=1, deleted=1, unchanged=48)
    assert changes == {"cover": one_of_each, "cover_embedding": one_of_each, "cover_tag": one_of_each}
    stored: dict[int, HalfVector] = dict(
        connection.execute("SELECT cover_id, embedding FROM cover_embedding").fetchall()
    )
    assert 20 not in stored
    np.testing.assert_array_equal(stored[7].to_numpy(), small.vectors[0])
    np.testing.assert_array_equal(stored[8].to_numpy(), small.vectors[8])
    assert connection.execute("SELECT rows_changed FROM embedding_model").fetchone() == (52,)


def test_a_range_touches_no_other_range_and_no_other_model(connection: Connection, small: Library) -> None:
    model, other = register(connection, dim=8), register(connection, dim=8, model_id="other")
    _load(connection, model, small)
    _load(connection, other, small)
    nothing = tuple(table.slice(0, 0) for table in (small.covers, small.embeddings, small.tags))

    load_range(connection, model, (100_000, 200_000), *nothing)
    assert _counts(connection) == [(model, 50, 50), (other, 50, 50)]

    load_range(connection, model, BOUNDS, small.covers, *nothing[1:])
    assert _counts(connection) == [(other, 50, 50)]


def test_what_other_models_made_of_a_picture_goes_with_the_picture(connection: Connection, small: Library) -> None:
    model, other = register(connection, dim=8), register(connection, dim=8, model_id="other")
    _load(connection, model, small)
    _load(connection, other, small)
    rest = small.without_row(0)

    _load(connection, model, rest)

    assert _counts(connection) == [(model, 49, 49), (other, 49, 49)]
    assert connection.execute("SELECT rows_changed FROM embedding_model ORDER BY model").fetchall() == [(51,), (51,)]


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 0.0, 1.1])
def test_a_vector_that_is_not_a_unit_vector_stops_the_whole_range(
    connection: Connection, small: Library, wrong: float
) -> None:
    model = register(connection, dim=8)
    vectors = small.vectors.copy()
    vectors[13] *= np.float16(wrong)
    embeddings = embedding_table(list(range(50)), [digest(i) for i in range(50)], vectors)

    with pytest.raises(ValueError, match="1 vectors are not of unit length; cover 13"):
        load_range(connection, model, BOUNDS, small.covers, embeddings, small.tags)

    assert connection.execute("SELECT count(*) FROM cover").fetchone() == (0,)


def test_rows_that_do_not_belong_are_refused_with_a_reason(connection: Connection, small: Library) -> None:
    model = register(connection, dim=8)
    refetched = with_values(small.covers, 5, sha256=digest("fetched since"))
    twice = pa.concat_tables([small.covers, small.covers.slice(0, 1)])

    with pytest.raises(ValueError, match="8 numbers do not fit wide, whose vectors have 9"):
        _load(connection, register(connection, dim=9, model_id="wide"), small)
    with pytest.raises(ValueError, match=r"covers 0 to 49 are not all in \(0, 40\)"):
        load_range(connection, model, (0, 40), small.covers, small.embeddings, small.tags)
    with pytest.raises(ValueError, match="1 embeddings were made of other images than the ledger has, such as cover 5"):
        load_range(connection, model, BOUNDS, refetched, small.embeddings, small.tags)
    with pytest.raises(ValueError, match=r"a row occurs twice: Key \(cover_id\)=\(0\)"):
        load_range(connection, model, BOUNDS, twice, small.embeddings, small.tags)
    with pytest.raises(LookupError, match="knows no embedding model 99"):
        _load(connection, 99, small)


def test_a_failure_half_way_leaves_everything_as_it_was(connection: Connection, small: Library) -> None:
    model = register(connection, dim=8)
    _load(connection, model, small)
    without_a_tag = with_values(small.tags, 30, tag=None)
    changed = with_values(small.covers, 3, status="missing")

    with pytest.raises(Exception, match="null value"):
        load_range(connection, model, BOUNDS, changed, small.embeddings, without_a_tag)

    assert connection.execute("SELECT DISTINCT status FROM cover").fetchall() == [("ok",)]


def test_a_model_keeps_its_number_and_its_size(connection: Connection) -> None:
    number = register(connection, dim=8)

    assert register(connection, dim=8) == number
    with pytest.raises(Exception, match="has 8 numbers, not 9"):
        register(connection, dim=9)


def test_the_funnel_of_a_dump_replaces_the_one_before(connection: Connection) -> None:
    rows = {
        "dump_date": ["2026-10-31"] * 2,
        "position": [1, 2],
        "rule": ["a", "b"],
        "rows_in": [9, 5],
        "rows_out": [5, 4],
    }
    funnel = pa.table(rows).cast(pa.schema([("dump_date", pa.string()), *list(FUNNEL)[1:]])).cast(FUNNEL)

    first = load_funnel(connection, funnel)
    second = load_funnel(connection, funnel.slice(0, 1))

    assert (first.inserted, second.deleted, second.unchanged) == (2, 1, 1)


def _load(connection: Connection, model: int, rows: Library) -> dict[str, RowChanges]:
    return load_range(connection, model, BOUNDS, rows.covers, rows.embeddings, rows.tags)


def _places(connection: Connection) -> list[tuple[object, ...]]:
    """Where each row lies, and which transaction wrote it: the same again only if nothing was written."""
    return connection.execute(
        """SELECT 'book', ctid::text, xmin::text FROM book UNION ALL SELECT 'cover', ctid::text, xmin::text FROM cover
           UNION ALL SELECT 'vector', ctid::text, xmin::text FROM cover_embedding_1
           UNION ALL SELECT 'tag', ctid::text, xmin::text FROM cover_tag ORDER BY 1, 2"""
    ).fetchall()


def _counts(connection: Connection) -> list[tuple[object, ...]]:
    return connection.execute(
        """SELECT model, count(DISTINCT e.cover_id), count(DISTINCT t.cover_id)
           FROM cover_embedding e FULL JOIN cover_tag t USING (model) GROUP BY model ORDER BY model"""
    ).fetchall()
