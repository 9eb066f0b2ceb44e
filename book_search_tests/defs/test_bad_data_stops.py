"""Bad data goes no further: what comes after a check that failed does not run, in real runs of the real assets."""

from pathlib import Path

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest

from book_search.clip.embeddings import embeddings_folder
from book_search.clip.model import describe_model
from book_search.cover_ranges import CoverRange
from book_search.defs.assets.catalogue import books
from book_search.defs.assets.covers import cover_embeddings, cover_tags
from book_search.defs.assets.open_library import author_dump, edition_dump, redirect_dump, work_dump
from book_search.defs.build import build_definitions
from book_search.defs.in_process import BadDataError, execute
from book_search.defs.partitions import register_ranges
from book_search.defs.range_runs import RANGE_END, RANGE_START
from book_search.defs.resources import ClipResource, LakeResource, OpenLibraryResource
from book_search.lake import Lake, open_lake
from book_search.openlibrary.catalogue import BOOKS_PATH
from book_search_tests.clip.random_clip import cover, put_covers, save_random_clip
from book_search_tests.openlibrary.test_catalogue import EMMA, publish

DUMPS = [edition_dump, work_dump, author_dump, redirect_dump]
GOOD, BAD = (CoverRange.parse(key) for key in ("0009_9", "0014_6"))


@dg.asset(deps=[books])
def after_books() -> None:
    """Stands for everything that comes after the books."""


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """The lake that the settings name, and three editions published."""
    published = tmp_path / "published"
    published.mkdir()
    publish(published, "2026-10-31", {f"OL{n}M": EMMA | {"covers": [14_600_000 + n]} for n in range(1, 4)})
    monkeypatch.setenv("BOOK_SEARCH_HOME", str(tmp_path / "lake"))
    monkeypatch.setenv("BOOK_SEARCH_OPEN_LIBRARY_URL", published.as_uri())
    return open_lake(str(tmp_path / "lake"))


def run(instance: dg.DagsterInstance, *assets: dg.AssetsDefinition, **tags: str) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        list(assets),
        instance=instance,
        resources={"lake": LakeResource(), "open_library": OpenLibraryResource(), "clip": ClipResource()},
        tags=tags,
        raise_on_error=False,
    )


def made(result: dg.ExecuteInProcessResult) -> set[str]:
    """The assets of which anything was materialized."""
    return {event.asset_key.to_user_string() for event in result.get_asset_materialization_events() if event.asset_key}


def failed(result: dg.ExecuteInProcessResult) -> set[str]:
    return {each.check_name for each in result.get_asset_check_evaluations() if not each.passed}


def test_good_dumps_become_books_and_what_comes_after(lake: Lake, instance: dg.DagsterInstance) -> None:
    result = run(instance, *DUMPS, books, after_books)
    assert (result.success, failed(result) - {"recent"}) == (True, set())
    assert made(result) == {"edition_dump", "work_dump", "author_dump", "redirect_dump", "books", "after_books"}


@pytest.mark.parametrize(
    ("told", "check"),
    [
        ({"sha256": "other", "records": 4, "dump_date": "2026-09-30"}, "not_smaller"),
        ({"sha256": "other", "records": 3, "dump_date": "2026-11-30"}, "not_older"),
    ],
)
def test_a_dump_that_is_worse_than_the_last_becomes_no_books(
    lake: Lake, instance: dg.DagsterInstance, told: dict[str, str | int], check: str
) -> None:
    instance.report_runless_asset_event(dg.AssetMaterialization("edition_dump", metadata=told))

    result = run(instance, *DUMPS, books)

    assert check in failed(result)
    assert "books" not in made(result)
    assert not lake.exists(BOOKS_PATH)
    again = run(instance, *DUMPS, books)
    assert check in failed(again)
    assert run(instance, books).success  # the way out, for who looked at it and means it
    after = run(instance, *DUMPS, books)
    assert (after.success, failed(after) - {"recent"}) == (True, set())


def test_at_a_terminal_the_check_that_stopped_a_run_is_told_with_the_way_out(
    lake: Lake, instance: dg.DagsterInstance
) -> None:
    told: dict[str, str | int] = {"sha256": "other", "records": 4, "dump_date": "2026-09-30"}
    instance.report_runless_asset_event(dg.AssetMaterialization("edition_dump", metadata=told))

    with pytest.raises(BadDataError, match=r"check not_smaller: .*records 3.*`books` by itself"):
        execute(build_definitions(), instance, "refresh_catalogue", {})


def test_a_dump_that_changed_where_it_lies_becomes_no_books(lake: Lake, instance: dg.DagsterInstance) -> None:
    assert run(instance, *DUMPS).success
    (path,) = (name for name in lake.names("dumps/works") if name.endswith(".gz"))
    lake.write_bytes(path, lake.read_bytes(path) + b"\0")

    result = run(instance, *DUMPS, books)

    assert failed(result) - {"recent"} == {"whole"}
    assert "books" not in made(result)


@pytest.mark.parametrize(
    ("change", "check"), [({"edition_key": "OL2M"}, "keys"), ({"pages": 3}, "in_range"), ({"title": ""}, "keys")]
)
def test_books_that_are_not_sound_go_no_further(
    lake: Lake, instance: dg.DagsterInstance, change: dict[str, str | int], check: str
) -> None:
    assert run(instance, *DUMPS, books).success
    table = lake.read_table(BOOKS_PATH)
    lake.write_table(
        BOOKS_PATH, pa.Table.from_pylist([table.to_pylist()[0] | change, *table.to_pylist()[1:]], table.schema)
    )

    result = run(instance, *DUMPS, books, after_books)

    assert failed(result) - {"recent"} == {check}
    assert "after_books" not in made(result)


def test_a_filter_that_leaves_no_book_leaves_the_books_that_there_are(
    lake: Lake, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They say which covers are wanted: a table without a row would have every picture removed."""
    assert run(instance, *DUMPS, books).success
    before = lake.read_table(BOOKS_PATH)
    monkeypatch.setenv("BOOK_SEARCH_SUBJECT", "fictoin")

    result = run(instance, books, after_books)

    failure = result.failure_data_for_node("books")
    assert failure is not None
    assert "'about fictoin' leaves none" in str(failure.error)
    assert made(result) == set()
    assert lake.read_table(BOOKS_PATH).equals(before)


def test_a_range_with_bad_vectors_fails_alone_and_is_tagged_by_no_one(
    lake: Lake, instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = str(save_random_clip(tmp_path / "model"))
    monkeypatch.setenv("BOOK_SEARCH_MODEL", model)
    register_ranges(instance, [GOOD, BAD])
    for each in (GOOD, BAD):
        batch = f"covers/{each.key}/{each.key}0.parquet"
        put_covers(lake, batch, [(each.first + n, "ok", cover((n, 10, 10))) for n in range(1, 4)])
    span = {RANGE_START: GOOD.key, RANGE_END: BAD.key}
    assert run(instance, cover_embeddings, **span).success
    path = f"{embeddings_folder(describe_model(model).identity, BAD)}/{BAD.key}0.parquet"
    table = lake.read_table(path)
    doubled = pa.array(
        [np.float16(2) * np.array(each, np.float16) for each in table["vector"].to_pylist()],
        table.schema.field("vector").type,
    )
    lake.write_table(path, table.set_column(2, table.schema.field("vector"), doubled))

    result = run(instance, cover_embeddings, cover_tags, **span)

    (verdict,) = result.get_asset_check_evaluations()
    assert (verdict.check_name, verdict.passed, verdict.blocking) == ("vectors", False, True)
    assert verdict.metadata["bad_ranges"].value == BAD.key
    assert verdict.metadata["not_unit"].value == 3
    assert {event.partition for event in result.get_asset_materialization_events()} == {GOOD.key}
    assert made(result) == {"cover_embeddings"}
