"""Sensors and the schedule, with Dagster's own testing tools: what each asks for, and when it asks for nothing."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from book_search import schemas
from book_search.cover_ranges import CoverRange, batch_key
from book_search.defs.build import build_definitions
from book_search.defs.jobs import embed_covers
from book_search.defs.partitions import register_ranges
from book_search.defs.resources import LakeResource, OpenLibraryResource
from book_search.defs.schedules import monthly_refresh
from book_search.defs.sensors import RANGE_END, RANGE_START, books_chosen, covers_due, new_dump, vectors_loaded
from book_search.lake import Lake, open_lake
from book_search.openlibrary.catalogue import BOOKS_PATH
from book_search.openlibrary.cover_batch import CoverFile
from book_search.openlibrary.dumps import DumpError
from book_search.openlibrary.ledger import LedgerRow, Status
from book_search.sample.server import Content, SampleServer


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def dumps_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[SampleServer]:
    """A server whose newest dump is of October 2026."""
    content = Content(date(2026, 10, 31), {"editions": b"gzip"}, {})
    with SampleServer(content) as server:
        monkeypatch.setenv("BOOK_SEARCH_OPEN_LIBRARY_URL", server.url)
        yield server


def _tick(cursor: str | None) -> dg.SensorResult:
    result = new_dump(dg.build_sensor_context(cursor=cursor, resources={"open_library": OpenLibraryResource()}))
    assert isinstance(result, dg.SensorResult)
    return result


def test_a_new_dump_starts_one_run_and_the_same_one_none(dumps_of: SampleServer) -> None:
    first = _tick(None)
    assert [request.run_key for request in first.run_requests or []] == ["dump-2026-10-31"]
    assert first.cursor == "2026-10-31"

    again = _tick(first.cursor)
    assert not again.run_requests
    assert "2026-10-31" in str(again.skip_reason)


def test_a_dump_older_than_the_last_one_seen_starts_nothing(dumps_of: SampleServer) -> None:
    assert not _tick("2026-11-30").run_requests


def test_the_dump_sensor_asks_for_no_body(dumps_of: SampleServer) -> None:
    _tick(None)
    assert {asked.status for asked in dumps_of.asked if asked.method == "GET"} <= {302}


def test_the_dump_sensor_fails_loudly_where_no_server_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOK_SEARCH_OPEN_LIBRARY_URL", "http://127.0.0.1:9")
    with pytest.raises(DumpError, match=r"127\.0\.0\.1"):
        _tick(None)


def _materialize(instance: dg.DagsterInstance, key: str) -> None:
    instance.report_runless_asset_event(dg.AssetMaterialization(key))


def _chosen(instance: dg.DagsterInstance) -> list[dg.RunRequest | dg.SkipReason]:
    context = dg.build_sensor_context(instance=instance, repository_def=build_definitions().get_repository_def())
    return list(books_chosen.evaluate_tick(context).run_requests or [])


def test_books_chosen_asks_for_all_ranges_in_one_run(instance: dg.DagsterInstance) -> None:
    register_ranges(instance, [CoverRange.parse(key) for key in ("0009_9", "0012_3", "0014_6")])
    _materialize(instance, "book_rows")

    (request,) = _chosen(instance)

    assert isinstance(request, dg.RunRequest)
    assert (request.tags[RANGE_START], request.tags[RANGE_END]) == ("0009_9", "0014_6")


def test_books_without_covers_ask_for_no_run(instance: dg.DagsterInstance) -> None:
    _materialize(instance, "book_rows")
    assert _chosen(instance) == []


DUE = ("0009_9", "0012_3", "0014_6", "0014_7")
NOW = datetime.now(UTC)


@pytest.fixture
def covers(instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A lake whose books want one cover of each of four ranges, and an instance that knows them."""
    monkeypatch.setenv("BOOK_SEARCH_HOME", str(tmp_path))
    lake = open_lake(str(tmp_path))
    ids = [CoverRange.parse(key).first for key in DUE]
    books = [{"edition_key": f"OL{i}M", "title": "t", "content_hash": "h", "cover_id": i} for i in ids]
    lake.write_table(BOOKS_PATH, pa.Table.from_pylist(books, schema=schemas.BOOKS))
    register_ranges(instance, [CoverRange.parse(key) for key in DUE])
    return lake


def _store(lake: Lake, key: str, status: Status, next_try: datetime | None) -> None:
    cover_id = CoverRange.parse(key).first
    row = LedgerRow(cover_id, status, 200, 1, next_try, None, None, None, None, "", NOW)
    with CoverFile.open(lake, batch_key(cover_id)) as file:
        file.put(row, None)


def _due(instance: dg.DagsterInstance, cursor: str | None = None) -> tuple[list[tuple[str, str]], str | None, str]:
    """The spans that are asked for, the cursor, and why there are none."""
    resources = {"lake": LakeResource(), "open_library": OpenLibraryResource()}
    repository = build_definitions().get_repository_def()
    tick = covers_due.evaluate_tick(
        dg.build_sensor_context(instance, cursor, repository_def=repository, resources=resources)
    )
    requests = tick.run_requests or []
    assert all(request.run_key and f"{datetime.now(UTC):%Y-%m-%dT}" in request.run_key for request in requests)
    return [(each.tags[RANGE_START], each.tags[RANGE_END]) for each in requests], tick.cursor, tick.skip_message or ""


def test_covers_that_are_due_are_asked_for_in_runs_over_stretches_of_their_ranges(
    instance: dg.DagsterInstance, covers: Lake
) -> None:
    _store(covers, "0012_3", "missing", NOW + timedelta(hours=3))
    _store(covers, "0014_6", "gave_up", NOW - timedelta(hours=1))

    assert _due(instance)[0] == [("0009_9", "0009_9"), ("0014_6", "0014_7")]


def test_where_no_cover_is_due_no_run_is_asked_for(instance: dg.DagsterInstance, covers: Lake) -> None:
    for key in DUE:
        _store(covers, key, "placeholder", None)

    assert (_due(instance)[0], _due(instance)[2]) == ([], "no cover is due")


def test_a_tick_asks_for_so_many_ranges_and_the_next_one_for_the_others(
    instance: dg.DagsterInstance, covers: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("book_search.defs.sensors.many_ranges_a_run", dg.BackfillPolicy.multi_run(3))

    spans, cursor, _ = _due(instance)

    assert (spans, cursor) == ([("0009_9", "0014_6")], "0014_6")
    assert _due(instance, cursor)[0] == [("0009_9", "0012_3"), ("0014_7", "0014_7")]


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTED])
def test_while_covers_are_being_fetched_no_run_is_asked_for(
    instance: dg.DagsterInstance, covers: Lake, status: dg.DagsterRunStatus
) -> None:
    job = build_definitions().resolve_job_def(embed_covers.name)
    run = instance.create_run_for_job(job, status=status)

    assert (_due(instance)[0], run.run_id in _due(instance)[2]) == ([], True)
    instance.report_run_failed(run)
    assert _due(instance)[0] == [(DUE[0], DUE[-1])]


def test_outside_the_hours_for_asking_no_run_is_asked_for(
    instance: dg.DagsterInstance, covers: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOOK_SEARCH_OFF_PEAK", f"{(NOW.hour + 2) % 24:02}:00-{(NOW.hour + 3) % 24:02}:00")

    spans, _, why = _due(instance)

    assert spans == []
    assert f"go on after {NOW + timedelta(hours=2):%Y-%m-%d %H}:00 UTC" in why


def test_before_the_books_no_covers_are_asked_for(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOOK_SEARCH_HOME", str(tmp_path))

    assert _due(instance)[2] == "no books are chosen yet"


def test_a_run_that_loaded_vectors_asks_for_the_index(instance: dg.DagsterInstance) -> None:
    job = build_definitions().resolve_job_def(embed_covers.name)
    run = instance.create_run_for_job(job)
    succeeded = dg.DagsterEvent(event_type_value=dg.DagsterEventType.RUN_SUCCESS.value, job_name=embed_covers.name)
    context = dg.build_run_status_sensor_context(
        sensor_name="vectors_loaded", dagster_instance=instance, dagster_run=run, dagster_event=succeeded
    )

    request = vectors_loaded(context)

    assert isinstance(request, dg.RunRequest)
    assert request.run_key == run.run_id


def test_the_schedule_asks_for_the_catalogue_once_a_month() -> None:
    assert monthly_refresh.job_name == "refresh_catalogue"
    context = dg.build_schedule_context(scheduled_execution_time=datetime(2026, 12, 8, 3, tzinfo=UTC))
    assert len(monthly_refresh.evaluate_tick(context).run_requests or []) == 1


def test_all_of_the_road_is_one_job_too() -> None:
    definitions = build_definitions()
    everything = {spec.key for spec in definitions.resolve_all_asset_specs()}
    assert definitions.resolve_job_def("whole_road").asset_layer.executable_asset_keys == everything


def test_a_user_without_a_contact_is_told_before_a_real_host_is_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BOOK_SEARCH_OPEN_LIBRARY_URL", "https://openlibrary.org")
    monkeypatch.delenv("BOOK_SEARCH_CONTACT", raising=False)
    with pytest.raises(ValueError, match="BOOK_SEARCH_CONTACT"):
        _tick(None)
