"""Sensors and the schedule, with Dagster's own testing tools: what each asks for, and when it asks for nothing."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import pytest

from book_search.cover_ranges import CoverRange
from book_search.defs.build import build_definitions
from book_search.defs.jobs import embed_covers
from book_search.defs.partitions import register_ranges
from book_search.defs.resources import OpenLibraryResource
from book_search.defs.schedules import monthly_refresh
from book_search.defs.sensors import RANGE_END, RANGE_START, books_chosen, new_dump, vectors_loaded
from book_search.openlibrary.dumps import DumpError
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
