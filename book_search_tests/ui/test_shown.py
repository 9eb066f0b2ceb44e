"""Every asset of the road tells of itself what the README promises, in a form that Dagster's pages show."""

import os
import re
import subprocess
import sysconfig
from pathlib import Path

import dagster as dg
import pytest

from book_search.defs.build import build_definitions
from book_search_tests.road.conftest import Road

COMMAND = Path(sysconfig.get_path("scripts")) / "book-search"
LARGEST = 60_000  # characters of a picture: it lies in a row of Dagster's event log

DUMP = {"dump_date", "dagster/uri", "dagster/row_count", "records", "bytes", "seconds", "bytes_per_second", "source"}
TIMED = {"dagster/row_count", "seconds"}
PROMISED = {
    "edition_dump": DUMP,
    "work_dump": DUMP,
    "author_dump": DUMP,
    "redirect_dump": DUMP,
    "books": {*TIMED, "funnel", "dagster/uri", "bytes", "editions_per_second", "cover_ranges", "books_new", "file"},
    "covers": {
        *{*TIMED, "some_covers", "ledger", "dagster/uri", "status_ok", "requests", "bytes", "covers_per_second"},
        *{"bytes_per_second", "psql"},
    },
    "cover_embeddings": {
        *{*TIMED, "model", "dagster/uri", "dagster/column_schema", "embedded", "pictures_per_second", "psql"},
    },
    "cover_tags": {*TIMED, "probabilities", "commonest", "dagster/uri", "tags_per_second", "psql"},
    "book_rows": {*TIMED, "growth", "rows_inserted", "rows_per_second", "psql", "psql_funnel"},
    "cover_vectors": {*TIMED, "cover_inserted", "cover_embedding_inserted", "rows_per_second", "psql"},
    "search_index": {*TIMED, "growth", "recall_at_10", "rebuilt", "bytes_of_index", "bytes_of_table", "psql"},
    "relevance_report": {"report", "history", "figures", "known_title_at_10", "index_recall_at_10", "seconds", "psql"},
}
PARQUET = {"books", "covers", "cover_embeddings", "cover_tags"}


def _told(road: Road, asset: str) -> list[dg.AssetMaterialization]:
    """What the asset told at the end of its runs, newest first."""
    records = road.instance.fetch_materializations(dg.AssetKey(asset), limit=50).records
    return [record.asset_materialization for record in records if record.asset_materialization]


@pytest.mark.parametrize("asset", PROMISED)
def test_every_materialization_carries_what_is_promised(shown_road: Road, asset: str) -> None:
    told = _told(shown_road, asset)
    assert told
    for each in told:
        assert PROMISED[asset] - each.metadata.keys() == set()


def test_the_promises_are_of_every_asset_of_the_road() -> None:
    assert {spec.key.to_user_string() for spec in build_definitions().resolve_all_asset_specs()} == PROMISED.keys()


def test_every_asset_that_writes_parquet_tells_its_columns(shown_road: Road) -> None:
    specs = {spec.key.to_user_string(): spec for spec in build_definitions().resolve_all_asset_specs()}
    for asset in PARQUET:
        assert "dagster/column_schema" in {**specs[asset].metadata, **_told(shown_road, asset)[0].metadata}, asset


@pytest.mark.parametrize("asset", PROMISED)
def test_the_pictures_are_small_and_lie_in_the_metadata_itself(shown_road: Road, asset: str) -> None:
    for each in _told(shown_road, asset):
        shown = [value.value for value in each.metadata.values() if isinstance(value, dg.MarkdownMetadataValue)]
        pictures = [picture for text in shown for picture in re.findall(r"!\[.+?\]\((.+?)\)", str(text))]
        assert all(picture.startswith("data:image/") and len(picture) < LARGEST for picture in pictures)


def test_what_a_dead_command_would_hide_is_there_to_be_seen(shown_road: Road) -> None:
    """Each psql command, pasted as it stands, answers with rows."""
    commands = sorted(
        {
            command
            for asset in PROMISED
            for value in _told(shown_road, asset)[0].metadata.values()
            if isinstance(value, dg.MarkdownMetadataValue)
            for command in re.findall(r"`(book-search psql [^`]+)`", str(value.value))
        }
    )
    assert len(commands) >= 8
    path = os.pathsep.join([str(COMMAND.parent), os.environ["PATH"]])
    for command in commands:
        ran = subprocess.run(
            ["bash", "-c", command], capture_output=True, text=True, check=False, env=os.environ | {"PATH": path}
        )
        assert ran.returncode == 0, f"{command}: {ran.stderr}"
        assert re.search(r"\([1-9]\d* rows?\)", ran.stdout), f"{command}: {ran.stdout}"


def test_every_check_was_looked_at_and_holds(shown_road: Road) -> None:
    keys = [
        spec.key
        for asset in build_definitions().assets or []
        for spec in asset.check_specs  # type: ignore[union-attr]
    ]
    found = shown_road.instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    assert len(keys) >= 24
    told = {key: record.event.dagster_event.asset_check_evaluation_data for key, record in found.items()}  # type: ignore[union-attr]
    assert set(told) == set(keys)
    failed = {str(key): one.metadata for key, one in told.items() if not one.passed}
    assert not {name: said for name, said in failed.items() if "recent" not in name}  # the drawn dump has a fixed date
