"""The schedules: when they come, by whose clock, what they ask for, and when for nothing."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from book_search.defs.build import build_definitions
from book_search.lake import Lake
from book_search_tests.defs.ticking import clock, start, tick
from book_search_tests.defs.wanted_covers import KEYS, chosen, settle

NIGHT = datetime(2026, 12, 8, 3, 30, tzinfo=UTC)
NOW = datetime.now(UTC)
PAST, FUTURE = NOW - timedelta(hours=1), NOW + timedelta(hours=1)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """One on disk: a schedule opens it by its place."""
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield instance


@pytest.fixture
def lake(instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A lake whose books want a cover of each of four ranges, none of which is asked for yet."""
    return chosen(instance, tmp_path, monkeypatch)


def _all_schedules() -> dict[str, dg.ScheduleDefinition]:
    repository = build_definitions().get_repository_def()
    return {each.name: each for each in repository.schedule_defs}


def test_schedules_go_by_the_clock_of_the_time_zone_that_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOK_SEARCH_TIME_ZONE", "Europe/Berlin")
    assert {each.execution_timezone for each in _all_schedules().values()} == {"Europe/Berlin"}


@pytest.mark.parametrize(
    ("hours", "cron"), [("", "30 3 * * *"), ("22:00-06:00", "0 22 * * *"), ("5:45-7:00", "45 5 * * *")]
)
def test_the_nights_work_begins_with_the_hours_for_asking(
    monkeypatch: pytest.MonkeyPatch, hours: str, cron: str
) -> None:
    monkeypatch.setenv("BOOK_SEARCH_OFF_PEAK", hours)
    assert _all_schedules()["nightly_covers"].cron_schedule == cron


def test_covers_whose_next_try_has_come_are_asked_for_at_night(instance: dg.DagsterInstance, lake: Lake) -> None:
    settle(lake, KEYS[0], "gave_up", PAST)
    settle(lake, KEYS[1], "gave_up", FUTURE)
    settle(lake, KEYS[2], "missing")
    settle(lake, KEYS[3], "not_an_image", PAST)

    asked = clock("nightly_covers", instance, NIGHT)

    assert asked.spans == [(KEYS[0], KEYS[0]), (KEYS[3], KEYS[3])]
    assert clock("nightly_covers", instance, NIGHT).keys == asked.keys
    assert set(asked.keys).isdisjoint(clock("nightly_covers", instance, NIGHT + timedelta(days=1)).keys)


def test_covers_that_were_never_asked_for_are_not_the_nights_work(instance: dg.DagsterInstance, lake: Lake) -> None:
    assert clock("nightly_covers", instance, NIGHT).skipped == "no cover's next_try has come"
    assert tick("after_books", instance).spans == [(KEYS[0], KEYS[-1])]


def test_before_the_books_the_night_has_no_work(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOOK_SEARCH_HOME", str(tmp_path))
    assert clock("nightly_covers", instance, NIGHT).skipped == "no books are chosen yet"


def test_while_covers_are_being_fetched_the_night_starts_no_run(instance: dg.DagsterInstance, lake: Lake) -> None:
    settle(lake, KEYS[0], "gave_up", PAST)
    run = start(instance, dg.RunRequest(), "embed_covers")
    assert run.run_id in clock("nightly_covers", instance, NIGHT).skipped


def test_each_month_the_catalogue_is_asked_for_once_and_not_beside_another(instance: dg.DagsterInstance) -> None:
    assert clock("monthly_refresh", instance, NIGHT).keys == ["2026-12"]

    run = start(instance, dg.RunRequest(), "refresh_catalogue")
    assert run.run_id in clock("monthly_refresh", instance, NIGHT).skipped


def test_each_week_there_is_a_report_where_there_is_an_index(instance: dg.DagsterInstance) -> None:
    assert clock("weekly_report", instance, NIGHT).skipped == "there is no index to measure yet"

    instance.report_runless_asset_event(dg.AssetMaterialization("search_index"))
    assert clock("weekly_report", instance, NIGHT).keys == ["2026-W50"]
