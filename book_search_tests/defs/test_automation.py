"""What runs by itself, switched by one setting; what follows by condition; the jobs; and nothing that is deprecated."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from book_search.defs.attempts import FIRST_PAUSE, STARTED_FOR, next_attempt
from book_search.defs.build import build_definitions
from book_search.defs.jobs import jobs
from book_search.openlibrary.ledger import STATUSES
from book_search_tests.defs.dump_server import dump_server
from book_search_tests.defs.wanted_covers import settings_of

SENSORS = {"new_dump", "after_books", "failed_runs", "catalogue_follows"}
DUMPS = ("edition_dump", "work_dump", "author_dump", "redirect_dump")
SCHEDULES = {"monthly_refresh", "nightly_covers", "weekly_report"}


@pytest.mark.parametrize(("value", "running"), [(None, False), ("off", False), ("on", True), ("true", True)])
def test_one_setting_switches_all_sensors_and_schedules_on(
    monkeypatch: pytest.MonkeyPatch, value: str | None, running: bool
) -> None:
    if value is None:
        monkeypatch.delenv("BOOK_SEARCH_AUTOMATION", raising=False)
    else:
        monkeypatch.setenv("BOOK_SEARCH_AUTOMATION", value)

    repository = build_definitions().get_repository_def()

    sensors = {each.name: each.default_status == dg.DefaultSensorStatus.RUNNING for each in repository.sensor_defs}
    clocks = {each.name: each.default_status == dg.DefaultScheduleStatus.RUNNING for each in repository.schedule_defs}
    assert sensors == dict.fromkeys(SENSORS, running)
    assert clocks == dict.fromkeys(SCHEDULES, running)


def test_a_wrong_setting_is_told_by_its_name_when_the_definitions_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOK_SEARCH_TIME_ZONE", "Mars/Phobos")
    monkeypatch.setenv("BOOK_SEARCH_AUTOMATION", "perhaps")
    monkeypatch.setenv("BOOK_SEARCH_WEBHOOK", "hooks.example.org/verysecret")

    with pytest.raises(dg.DagsterInvalidDefinitionError) as wrong:
        build_definitions()

    assert "BOOK_SEARCH_TIME_ZONE: " in str(wrong.value)
    assert "'Mars/Phobos' is no time zone" in str(wrong.value)
    assert "BOOK_SEARCH_AUTOMATION: " in str(wrong.value)
    assert "BOOK_SEARCH_WEBHOOK: Value error, it is no web address" in str(wrong.value)
    assert "verysecret" not in str(wrong.value)


BLOCKING = dict.fromkeys(DUMPS, ("whole", "not_older", "not_smaller")) | {"books": ("keys", "in_range")}


def _materialize(instance: dg.DagsterInstance, key: str, version: str, sound: bool = True) -> None:
    instance.report_runless_asset_event(dg.AssetMaterialization(key, tags={"dagster/data_version": version}))
    for name in BLOCKING.get(key, ()):
        instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(dg.AssetKey(key), name, sound, {}, severity=dg.AssetCheckSeverity.ERROR)
        )


def test_the_books_follow_a_dump_with_new_content_and_their_rows_follow_them(instance: dg.DagsterInstance) -> None:
    definitions = build_definitions()
    chain = dg.AssetSelection.assets("books", "book_rows")

    def look(cursor: Any = None) -> tuple[set[str], Any]:
        looked = dg.evaluate_automation_conditions(definitions, instance, chain, cursor=cursor)
        asked = {each.key.to_user_string() for each in looked.results if not each.true_subset.is_empty}
        return asked, looked.cursor

    for each in DUMPS:
        _materialize(instance, each, "october")
    _materialize(instance, "books", "october's")
    _materialize(instance, "book_rows", "october's")
    first, cursor = look()
    _materialize(instance, "work_dump", "october")
    the_same, cursor = look(cursor)
    _materialize(instance, "work_dump", "november")
    another, cursor = look(cursor)
    _materialize(instance, "books", "november's")
    _materialize(instance, "book_rows", "november's")
    done, cursor = look(cursor)
    _materialize(instance, "books", "by hand")
    after_books, cursor = look(cursor)
    _materialize(instance, "edition_dump", "cut off", sound=False)
    after_a_bad_dump, cursor = look(cursor)
    _materialize(instance, "edition_dump", "whole again")
    mended, cursor = look(cursor)

    assert (first, the_same, done) == (set(), set(), set())
    assert another == {"books", "book_rows"}
    assert after_books == {"book_rows"}
    assert (after_a_bad_dump, mended) == (set(), {"books", "book_rows"})


def test_an_attempt_waits_twice_as_long_after_each_failure_and_a_retry_of_dagsters_is_none(
    instance: dg.DagsterInstance,
) -> None:
    job = build_definitions().resolve_job_def("embed_covers")

    def fail(**tags: str) -> None:
        run = instance.create_run_for_job(job, tags={STARTED_FOR: "it", **tags}, status=dg.DagsterRunStatus.STARTED)
        instance.report_run_failed(run)

    def wait() -> float:
        """How many pauses after the last run another may be started, in quarters."""
        (last,) = instance.get_run_records(limit=1)
        ended = last.update_timestamp
        quarter = FIRST_PAUSE / 4
        return next(n for n in range(200) if next_attempt(instance, "it", ended + n * quarter).why_not is None) / 4

    waits = []
    for _ in range(3):
        fail()
        waits.append(round(wait()))
    fail(**{"dagster/retry_number": "1"})

    assert waits == [1, 2, 4]
    assert (round(wait()), next_attempt(instance, "it").number) == (4, 4)


CONFIGS: dict[str, Any] = {each.name: each.config for each in jobs}
JOBS = {
    "refresh_catalogue": {"edition_dump", "work_dump", "author_dump", "redirect_dump", "books", "book_rows"},
    "embed_covers": {"covers", "cover_embeddings", "cover_tags", "cover_vectors"},
    "retry_failures": {"covers", "cover_embeddings", "cover_tags", "cover_vectors"},
    "reembed": {"cover_embeddings", "cover_tags", "cover_vectors"},
    "build_search_index": {"search_index", "relevance_report"},
    "rebuild_index": {"search_index"},
    "measure_search": {"relevance_report"},
}


def test_there_is_a_job_for_each_thing_that_people_do_and_it_says_what_it_does() -> None:
    definitions = build_definitions()
    everything = {spec.key.to_user_string() for spec in definitions.resolve_all_asset_specs()}

    for name, assets in {**JOBS, "whole_road": everything}.items():
        job = definitions.resolve_job_def(name)
        assert {key.to_user_string() for key in job.asset_layer.executable_asset_keys} == assets, name
        assert len(job.description or "") > 80, name
        assert CONFIGS[name]["loggers"]["console"]["config"]["log_level"] == "INFO", name


def test_jobs_with_a_configuration_have_one_that_their_assets_take() -> None:
    definitions = build_definitions()
    for name, config in CONFIGS.items():
        dg.validate_run_config(definitions.resolve_job_def(name), config)
    assert set(CONFIGS["retry_failures"]["ops"]["covers"]["config"]["retry_statuses"]) < set(STATUSES)
    assert CONFIGS["rebuild_index"]["ops"]["search_index"]["config"] == {"rebuild": True}


PROGRAM = """
import warnings
import dagster as dg
from dagster._utils.warnings import BetaWarning, PreviewWarning, SupersessionWarning
import book_search.defs
for kind in (BetaWarning, PreviewWarning, SupersessionWarning):
    warnings.simplefilter("error", kind)
warnings.filterwarnings("error", category=DeprecationWarning, message=".*(will be removed in|dagster).*")
warnings.filterwarnings("ignore", category=dg.BetaWarning, message=".*backfill_policy.*")  # named in the defs' own file

from book_search.definitions import defs
from datetime import datetime, UTC

repository = defs.get_repository_def()
told = []
with dg.DagsterInstance.local_temp() as instance:
    for name in ("new_dump", "after_books"):
        sensor = repository.get_sensor_def(name)
        resources = {key: defs.resources[key] for key in sensor.required_resource_keys}
        tick = sensor.evaluate_tick(dg.build_sensor_context(instance, repository_def=repository, resources=resources))
        told.append(tick.skip_message)
    for schedule in repository.schedule_defs:
        resources = {key: defs.resources[key] for key in schedule.required_resource_keys}
        context = dg.build_schedule_context(instance, datetime(2026, 12, 8, tzinfo=UTC), repository_def=repository,
                                            resources=resources)
        told.append(schedule.evaluate_tick(context).skip_message)
    dg.evaluate_automation_conditions(defs, instance, asset_selection=dg.AssetSelection.assets("books", "book_rows"))
    ran = defs.resolve_job_def("refresh_catalogue").execute_in_process(
        instance=instance, raise_on_error=False, asset_selection=[dg.AssetKey("edition_dump")])
    told.append(str(ran.success))
    for job in repository.get_all_jobs():
        job.asset_layer.executable_asset_keys
print(told)
"""


def test_nothing_that_dagster_has_deprecated_superseded_or_not_finished_is_used(tmp_path: Path) -> None:
    """Loading, ticks of each sensor and schedule, and a run: any such warning is an error, and ends the program."""
    with dump_server() as published:
        environment = os.environ | settings_of(tmp_path) | {"BOOK_SEARCH_OPEN_LIBRARY_URL": published.url}
        ran = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False, timeout=120
        )

    assert ran.returncode == 0, ran.stderr
    assert "it was withdrawn" in ran.stdout  # and so the tick ran to its end
