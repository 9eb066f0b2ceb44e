"""The asset `covers` when something keeps it from its end: planned, it succeeds; not planned, it fails; both say so."""

import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from book_search import schemas
from book_search.cover_ranges import CoverRange
from book_search.defs.assets.covers import covers
from book_search.defs.partitions import register_ranges
from book_search.defs.range_runs import RANGE_END, RANGE_START
from book_search.defs.resources import LakeResource, OpenLibraryResource
from book_search.lake import Lake, open_lake
from book_search.openlibrary.catalogue import BOOKS_PATH
from book_search.openlibrary.cover_files import read_ledger
from book_search.openlibrary.deny_list import DEFAULT_PATH
from book_search_tests.openlibrary.scripted_server import Answer, ScriptedServer, scripted_server
from book_search_tests.openlibrary.test_covers import jpeg

KEYS = ("0009_9", "0014_6")
FIRST, SECOND = (CoverRange.parse(key).first for key in KEYS)
PAUSE = {"Retry-After": "3000"}  # beyond what is sat out


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    with scripted_server() as running:
        settings = {"HOME": str(tmp_path / "lake"), "PACE_FOLDER": str(tmp_path / "pace"), "REQUESTS_PER_MINUTE": "600"}
        addresses = dict.fromkeys(("OPEN_LIBRARY_URL", "COVERS_URL", "ARCHIVE_URL"), running.url)
        for name, value in {**settings, **addresses}.items():
            monkeypatch.setenv(f"BOOK_SEARCH_{name}", value)
        yield running


@pytest.fixture
def lake(server: ScriptedServer, tmp_path: Path) -> Lake:
    """A lake whose books want three covers of each of two ranges."""
    lake = open_lake(str(tmp_path / "lake"))
    ids = [first + number for first in (FIRST, SECOND) for number in range(3)]
    books = [{"edition_key": f"OL{i}M", "title": "t", "content_hash": "h", "cover_id": i} for i in ids]
    lake.write_table(BOOKS_PATH, pa.Table.from_pylist(books, schema=schemas.BOOKS))
    return lake


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        register_ranges(instance, [CoverRange.parse(key) for key in KEYS])
        yield instance


def path(cover_id: int) -> str:
    return f"/b/id/{cover_id}-L.jpg?default=false"


def run(instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        [covers],
        instance=instance,
        tags={RANGE_START: KEYS[0], RANGE_END: KEYS[-1]},
        resources={"lake": LakeResource(), "open_library": OpenLibraryResource()},
        raise_on_error=False,
        selection=[covers],
    )


def observations(instance: dg.DagsterInstance) -> list[dg.AssetObservation]:
    records = instance.fetch_observations(covers.key, limit=10).records
    return [record.asset_observation for record in records if record.asset_observation is not None]


def test_a_paused_host_fails_the_run_that_keeps_and_tells_what_came(
    lake: Lake, server: ScriptedServer, instance: dg.DagsterInstance
) -> None:
    for number in range(3):
        server.script[path(FIRST + number)] = [Answer(body=jpeg(number))]
    server.script[path(SECOND)] = [Answer(body=jpeg(9))]
    server.script[path(SECOND + 1)] = server.script[path(SECOND + 2)] = [Answer(429, headers=PAUSE)]

    result = run(instance)

    failure = result.failure_data_for_node("covers")
    assert failure is not None
    assert f"1 of 2 cover ranges failed: {KEYS[1]}: " in str(failure.error)
    assert "covers are left for the next run" in str(failure.error)
    assert "asks to be left alone" in str(failure.error)
    assert instance.get_materialized_partitions(covers.key) == {KEYS[0]}
    (observed,) = observations(instance)
    assert observed.partition == KEYS[1]
    assert "asks to be left alone" in str(observed.metadata["left_for_the_next_run"].value)
    assert read_ledger(lake, CoverRange.parse(KEYS[0])).num_rows == 3
    assert SECOND in read_ledger(lake, CoverRange.parse(KEYS[1]))["cover_id"].to_pylist()


def test_of_a_host_that_is_paused_the_other_ranges_ask_nothing(
    lake: Lake, server: ScriptedServer, instance: dg.DagsterInstance
) -> None:
    server.script[path(FIRST)] = [Answer(429, headers=PAUSE)]

    run(instance)

    assert [asked for _, asked, _ in server.asked] == [path(FIRST)]
    assert {each.partition for each in observations(instance)} == set(KEYS)
    assert instance.get_materialized_partitions(covers.key) == set()


def test_outside_the_hours_for_asking_the_run_succeeds_and_tells_what_is_left(
    lake: Lake, server: ScriptedServer, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    hour = datetime.now(UTC).hour
    monkeypatch.setenv("BOOK_SEARCH_OFF_PEAK", f"{(hour + 2) % 24:02}:00-{(hour + 3) % 24:02}:00")

    result = run(instance)

    assert (result.success, server.asked) == (True, [])
    for event in result.asset_materializations_for_node("covers"):
        assert "3: covers are asked for between" in str(event.metadata["left_for_the_next_run"].value)


def test_a_covers_server_at_a_private_address_ends_the_run_at_its_first_range(
    lake: Lake, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, server: ScriptedServer
) -> None:
    # The one thing that cannot run for real here is the name service, of a network that wants a log-in first.
    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **more: resolve("127.0.0.1", *rest, **more))
    monkeypatch.setenv("BOOK_SEARCH_COVERS_URL", server.url.replace("127.0.0.1", "covers.example.org"))
    monkeypatch.setenv("BOOK_SEARCH_CONTACT", "me@example.org")

    result = run(instance)

    failure = result.failure_data_for_node("covers")
    assert failure is not None
    assert f"1 of 1 cover ranges failed: {KEYS[0]}" in str(failure.error)
    assert "log-in page" in str(failure.error)
    assert read_ledger(lake, CoverRange.parse(KEYS[0])).num_rows == 0


def test_no_picture_is_shown_in_dagster_where_some_are_denied(
    lake: Lake, server: ScriptedServer, instance: dg.DagsterInstance
) -> None:
    server.script[path(FIRST)] = server.script[path(SECOND)] = [Answer(body=jpeg(1))]

    before = run(instance).asset_materializations_for_node("covers")
    lake.write_bytes(DEFAULT_PATH, b"7  # some cover of long ago\n")
    after = run(instance).asset_materializations_for_node("covers")

    assert ["some_covers" in event.metadata for event in (*before, *after)] == [True, True, False, False]
