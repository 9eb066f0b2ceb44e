"""The asset `search_index` tells by its checks what it found, and what was searched stays where that was bad."""

from pathlib import Path

import dagster as dg
import pytest

from book_search.clip.model import describe_model
from book_search.defs.assets.search import _registered, search_index
from book_search.defs.resources import ClipResource, DatabaseResource, LakeResource
from book_search.index import build
from book_search.index.connection import Connection
from book_search.index.history import index_builds
from book_search.index.load import load_books, load_range
from book_search.sample import tiny_clip
from book_search_tests.database import *  # noqa: F403
from book_search_tests.index.library import draw_library

TINY = str(Path(next(iter(tiny_clip.__path__))))


@pytest.fixture
def loaded(connection: Connection, database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Connection:
    """A database with 600 covers of the tiny model loaded, which the settings name."""
    for name, value in {"HOME": str(tmp_path), "DATABASE_URL": database_dsn, "MODEL": TINY}.items():
        monkeypatch.setenv(f"BOOK_SEARCH_{name}", value)
    description = describe_model(TINY, "main", "as-trained")
    rows = draw_library(600, description.dim)
    load_books(connection, rows.books)
    model = _registered(connection, description)
    load_range(connection, model, (0, 100_000), rows.covers, rows.embeddings, rows.tags)
    return connection


def test_an_index_that_was_found_good_passes_with_its_figures(loaded: Connection) -> None:
    checks = _materialize()

    assert checks["vectors"].passed
    assert checks["recall"].passed
    assert checks["vectors"].metadata["rows"].value == 600
    assert checks["recall"].metadata["floor"].value == 0.98
    assert loaded.execute("SELECT count(*) FROM embedding_model WHERE active").fetchone() == (1,)


def test_a_recall_under_the_floor_fails_with_its_figures(loaded: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "DENSITIES", ((2, 4),))
    monkeypatch.setenv("BOOK_SEARCH_RECALL_FLOOR", "1.0")

    checks = _materialize()

    assert checks["vectors"].passed
    assert not checks["recall"].passed
    assert {name: checks["recall"].metadata[name].value for name in ("floor", "rows")} == {"floor": 1.0, "rows": 600}
    assert 0 < float(str(checks["recall"].metadata["recall_at_10"].value)) < 1
    assert loaded.execute("SELECT count(*) FROM embedding_model WHERE active").fetchone() == (0,)


def test_vectors_that_are_not_fit_fail_with_their_figures(loaded: Connection) -> None:
    loaded.execute("UPDATE cover_embedding_1 SET embedding = embedding + embedding WHERE cover_id < 7")

    checks = _materialize()

    assert set(checks) == {"vectors"}
    assert not checks["vectors"].passed
    assert checks["vectors"].metadata["not_of_unit_length"].value == 7


def test_an_index_that_is_current_is_built_anew_where_that_is_asked_for(loaded: Connection) -> None:
    _materialize()
    _materialize()
    _materialize(rebuild=True)

    builds = index_builds(loaded)
    assert [each.rebuilt for each in builds] == [True, True]
    assert len({each.index_name for each in builds}) == 2
    assert loaded.execute("SELECT count(*) FROM cover_embedding").fetchone() == (600,)


def _materialize(rebuild: bool = False) -> dict[str, dg.AssetCheckEvaluation]:
    resources = {"lake": LakeResource(), "clip": ClipResource(), "postgres": DatabaseResource()}
    config = {"ops": {"search_index": {"config": {"rebuild": rebuild}}}}
    with dg.DagsterInstance.ephemeral() as instance:
        ran = dg.materialize(
            [search_index], resources=resources, instance=instance, run_config=config, raise_on_error=False
        )
    return {one.check_name: one for one in ran.get_asset_check_evaluations()}
