"""An index is searched only after it was found good; until then, and if not, everything stays as it was."""

import threading

import numpy as np
import psycopg
import pytest

from book_search.index import build
from book_search.index.build import IndexRecallError, IndexVerificationError, build_index, index_builds
from book_search.index.connection import Connection, connect
from book_search.index.load import load_books, load_range
from book_search.index.models import activate_model, active_model
from book_search_tests.index.library import Library, draw_library, register

BOUNDS = (0, 100_000)


@pytest.fixture(scope="module")
def rows() -> Library:
    return draw_library(600, dim=8)


@pytest.fixture
def model(connection: Connection, rows: Library) -> int:
    """A model with all rows loaded and no index yet."""
    load_books(connection, rows.books)
    return _load(connection, register(connection, dim=8), rows)


def test_a_build_verifies_activates_and_keeps_its_history(connection: Connection, model: int) -> None:
    build = build_index(connection, model)

    assert (build.model, build.rows, build.rebuilt) == (model, 600, True)
    assert build.recall >= 0.98
    assert index_builds(connection) == [build]
    active = active_model(connection)
    assert active is not None
    assert active.model == model
    assert _indexes(connection) == [build.index_name]


def test_a_second_build_of_unchanged_rows_does_nothing(connection: Connection, model: int) -> None:
    first = build_index(connection, model)

    assert build_index(connection, model) == first
    assert len(index_builds(connection)) == 1


def test_a_small_change_is_verified_and_a_large_one_rebuilt(connection: Connection, model: int, rows: Library) -> None:
    first = build_index(connection, model)

    _load(connection, model, rows.without_row(17))
    small = build_index(connection, model)
    _load(connection, model, draw_library(300, dim=8))
    large = build_index(connection, model)

    assert (small.rebuilt, small.index_name, small.rows) == (False, first.index_name, 599)
    assert (large.rebuilt, large.rows) == (True, 300)
    assert _indexes(connection) == [large.index_name] != [first.index_name]


def test_an_index_that_somebody_dropped_is_built_again(connection: Connection, model: int, rows: Library) -> None:
    first = build_index(connection, model)
    connection.execute(f"DROP INDEX {first.index_name}")
    exact = connection.execute("SELECT cover_id FROM search_covers(%s, 5)", [rows.literal(0)]).fetchall()

    second = build_index(connection, model)

    assert second.rebuilt
    assert exact[0] == (0,)
    assert exact == connection.execute("SELECT cover_id FROM search_covers(%s, 5)", [rows.literal(0)]).fetchall()


def test_an_index_under_the_floor_changes_nothing(connection: Connection, model: int, rows: Library) -> None:
    first = build_index(connection, model)
    other = _load(connection, register(connection, dim=8, model_id="other"), rows)

    with pytest.raises(IndexRecallError, match=r"recall@10 (0\.99|1\.00)\d\d, less than 1\.5") as caught:
        build_index(connection, other, recall_floor=1.5)

    assert caught.value.figures == {"recall_at_10": caught.value.recall, "floor": 1.5, "rows": 600}
    assert index_builds(connection) == [first]
    active = active_model(connection)
    assert active is not None
    assert active.model == model
    assert _indexes(connection) == [first.index_name]


def test_a_poor_graph_is_found_out_though_few_covers_are_searched_exactly(
    connection: Connection, model: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    poor = (2, 4)
    monkeypatch.setattr(build, "DENSITIES", (poor,))
    with pytest.raises(IndexRecallError) as caught:
        build_index(connection, model)
    monkeypatch.setattr(build, "DENSITIES", (poor, (16, 64)))

    better = build_index(connection, model)

    assert caught.value.recall < 0.98 <= better.recall
    assert "it is built denser" in caplog.text
    assert _indexes(connection) == [better.index_name]


def test_a_live_graph_that_became_poor_is_built_anew(
    connection: Connection, model: int, rows: Library, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(build, "DENSITIES", ((2, 4),))
    poor = build_index(connection, model, recall_floor=0.1)
    monkeypatch.setattr(build, "DENSITIES", ((16, 64),))
    _load(connection, model, rows.without_row(17))

    better = build_index(connection, model)

    assert (better.rebuilt, better.rows) == (True, 599)
    assert "it is built anew" in caplog.text
    assert _indexes(connection) == [better.index_name] != [poor.index_name]


def test_a_rebuild_under_the_floor_keeps_the_old_index(connection: Connection, model: int, rows: Library) -> None:
    first = build_index(connection, model)
    _load(connection, model, draw_library(300, dim=8))

    with pytest.raises(IndexRecallError):
        build_index(connection, model, recall_floor=1.5)

    assert _indexes(connection) == [first.index_name]


def test_a_model_that_has_embedded_fewer_covers_does_not_take_over(
    connection: Connection, model: int, rows: Library
) -> None:
    build_index(connection, model)
    other = register(connection, dim=8, model_id="other")
    some = rows.embeddings.slice(0, 200)
    load_range(connection, other, BOUNDS, rows.covers, some, rows.tags.slice(0, 0))

    with pytest.raises(IndexVerificationError, match="400 covers that drawn has embedded are not embedded by other"):
        build_index(connection, other)

    active = active_model(connection)
    assert active is not None
    assert active.model == model


def test_models_are_switched_and_switched_back(connection: Connection, model: int, rows: Library) -> None:
    wide = draw_library(100, dim=12, seed=1)
    build_index(connection, model)
    other = _load(connection, register(connection, dim=12, model_id="wide"), wide)
    search = "SELECT cover_id FROM search_covers(%s, 1)"

    with pytest.raises(psycopg.errors.DataException, match="12 numbers, but the active model drawn has 8"):
        connection.execute(search, [wide.literal(5)])
    build_index(connection, other)
    assert connection.execute(search, [wide.literal(5)]).fetchone() == (5,)
    activate_model(connection, model)
    assert connection.execute(search, [rows.literal(6)]).fetchone() == (6,)


def test_a_model_without_an_index_cannot_be_activated(connection: Connection, model: int, rows: Library) -> None:
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="has no verified index"):
        activate_model(connection, model)
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="no embedding model is active yet"):
        connection.execute("SELECT * FROM search_books(%s)", [rows.literal(0)])


def test_no_embeddings_or_bad_ones_are_not_indexed(connection: Connection, model: int) -> None:
    with pytest.raises(IndexVerificationError, match="there are no embeddings of empty; materialize cover_vectors"):
        build_index(connection, register(connection, dim=8, model_id="empty"))

    connection.execute("UPDATE cover_embedding_1 SET embedding = '[0,0,0,0,0,0,0,0]' WHERE cover_id = 3")
    with pytest.raises(IndexVerificationError, match="1 of 600 embeddings of drawn are not of unit length"):
        build_index(connection, model)


def test_copies_of_a_few_pictures_are_found_by_a_denser_graph_where_need_be(
    connection: Connection, rows: Library
) -> None:
    same = np.repeat(rows.vectors[:10], 60, axis=0)
    columns = rows.embeddings.to_pydict() | {"vector": list(same)}
    embeddings = rows.embeddings.schema.empty_table().from_pydict(columns, schema=rows.embeddings.schema)
    model = register(connection, dim=8)
    load_range(connection, model, BOUNDS, rows.covers, embeddings, rows.tags)

    assert build_index(connection, model).recall >= 0.98


def test_searches_go_on_without_an_error_while_the_index_is_rebuilt(
    connection: Connection, database_dsn: str, model: int, rows: Library
) -> None:
    build_index(connection, model)
    over = threading.Event()
    found: list[int] = []

    def search() -> None:
        with connect(database_dsn) as reader:
            while not over.is_set():
                found.append(len(reader.execute("SELECT FROM search_books(%s)", [rows.literal(0)]).fetchall()))

    thread = threading.Thread(target=search)
    thread.start()
    for size in (500, 400, 300):
        _load(connection, model, draw_library(size, dim=8))
        assert build_index(connection, model).rebuilt
    over.set()
    thread.join()

    assert set(found) == {10}


def _load(connection: Connection, model: int, rows: Library) -> int:
    load_range(connection, model, BOUNDS, rows.covers, rows.embeddings, rows.tags)
    return model


def _indexes(connection: Connection) -> list[str]:
    found = connection.execute("SELECT indexname FROM pg_indexes WHERE indexdef LIKE '%hnsw%' ORDER BY indexname")
    return [name for (name,) in found.fetchall()]
