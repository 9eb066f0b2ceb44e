"""The sensor `after_books`: runs for just the ranges with work to do, each once, and then the index."""

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from book_search.cover_ranges import CoverRange
from book_search.defs import attempts
from book_search.defs.in_process import PROCESS
from book_search.defs.loaded import COVER_VECTORS, LOADED_FROM, UNFINISHED, Maker, loaded_states
from book_search.defs.resources import ClipResource, DatabaseResource
from book_search.defs.sensors import ranges
from book_search.lake import Lake
from book_search.openlibrary.catalogue import wanted_covers
from book_search.openlibrary.needs import state_of
from book_search_tests.defs.ticking import Tick, fail, start, succeed, tick
from book_search_tests.defs.wanted_covers import KEYS, choose_books, chosen, lake_in, settings_of, settle

ALL = [(KEYS[0], KEYS[-1])]
HOLDING = """
import sys, time, types
from book_search.defs.processes import mark_of_this_process
print(mark_of_this_process(types.SimpleNamespace(root_directory=sys.argv[1])), flush=True)
time.sleep(600)
"""
NOW = datetime.now(UTC)


@pytest.fixture
def lake(instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A lake whose books want a cover of each of four ranges."""
    return chosen(instance, tmp_path, monkeypatch)


@pytest.fixture
def finished(lake: Lake, instance: dg.DagsterInstance) -> Lake:
    """The same with every cover asked for, everything loaded, and the index built after it."""
    for key in KEYS:
        settle(lake, key)
        _load(instance, lake, key)
    instance.report_runless_asset_event(dg.AssetMaterialization("search_index"))
    return lake


def _load(instance: dg.DagsterInstance, lake: Lake, key: str) -> None:
    """What `cover_vectors` tells of a range that it loaded."""
    maker, cover_range = Maker.of(ClipResource(), DatabaseResource()), CoverRange.parse(key)
    state = state_of(lake, cover_range, wanted_covers(lake, cover_range), maker.folders(cover_range), maker.name)
    instance.report_runless_asset_event(
        dg.AssetMaterialization("cover_vectors", partition=key, metadata={LOADED_FROM: state})
    )


def _tick(instance: dg.DagsterInstance, cursor: str | None = None) -> Tick:
    return tick("after_books", instance, cursor)


def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "FIRST_PAUSE", timedelta(0))


def test_covers_that_were_never_asked_for_start_one_run_over_their_ranges(
    instance: dg.DagsterInstance, lake: Lake
) -> None:
    first, again = _tick(instance), _tick(instance)

    assert first.spans == ALL
    assert first.requests[0].job_name == "embed_covers"
    assert again.keys == first.keys


def test_where_everything_is_done_nothing_is_started(instance: dg.DagsterInstance, finished: Lake) -> None:
    assert (_tick(instance).keys, _tick(instance).skipped) == ([], "all ranges are finished and searched")


def test_only_ranges_with_work_to_do_are_run_in_stretches(instance: dg.DagsterInstance, finished: Lake) -> None:
    settle(finished, KEYS[0], "gave_up")
    settle(finished, KEYS[2], "gave_up")
    settle(finished, KEYS[3], "gave_up")

    assert _tick(instance).spans == [(KEYS[0], KEYS[0]), (KEYS[2], KEYS[3])]


def test_another_model_makes_work_of_every_range_and_the_old_one_set_back_too(
    instance: dg.DagsterInstance, finished: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOOK_SEARCH_CROP", "two-crops")
    assert _tick(instance).spans == ALL

    for key in KEYS:
        _load(instance, finished, key)
    assert _tick(instance).spans == []  # the index is asked for

    monkeypatch.delenv("BOOK_SEARCH_CROP")
    assert _tick(instance).spans == ALL


@pytest.mark.parametrize(
    ("name", "value"), [("FACETS", "mine.toml"), ("DATABASE_URL", "postgresql://me:secret@elsewhere/books")]
)
def test_other_facets_and_another_database_make_work_of_every_range(
    instance: dg.DagsterInstance, finished: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    (tmp_path / "mine.toml").write_text('[season]\ntemplate = "{}"\ntags = ["summer", "winter"]\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(f"BOOK_SEARCH_{name}", value)

    assert _tick(instance).spans == ALL


def test_a_range_whose_books_want_other_covers_is_run(instance: dg.DagsterInstance, finished: Lake) -> None:
    """The cover that nobody wants any more must go, and the new one is to be asked for."""
    choose_books(finished, instance, KEYS)
    assert _tick(instance).keys == []  # the same books

    choose_books(finished, instance, KEYS, first=7)
    assert _tick(instance).spans == ALL


def test_covers_that_wait_for_their_next_try_are_the_nights_work(instance: dg.DagsterInstance, finished: Lake) -> None:
    settle(finished, KEYS[1], "gave_up", NOW - timedelta(hours=1))
    _load(instance, finished, KEYS[1])

    assert _tick(instance).spans == []


def test_a_range_that_was_loaded_unfinished_is_run(instance: dg.DagsterInstance, finished: Lake) -> None:
    instance.report_runless_asset_event(
        dg.AssetMaterialization("cover_vectors", partition=KEYS[1], metadata={LOADED_FROM: UNFINISHED})
    )
    assert _tick(instance).spans == [(KEYS[1], KEYS[1])]


def test_a_run_that_failed_is_started_again_once_and_one_for_a_new_state_at_once(
    instance: dg.DagsterInstance, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = _tick(instance)
    fail(instance, start(instance, first.requests[0], ""))
    paused = _tick(instance)
    _no_pause(monkeypatch)
    second = _tick(instance)
    settle(lake, KEYS[0])
    third = _tick(instance)

    assert "did not do it; the next one is started after" in paused.skipped
    assert (first.keys[0] or "").removesuffix("-1") == (second.keys[0] or "").removesuffix("-2")
    assert third.keys[0] not in (*first.keys, *second.keys)
    assert (third.keys[0] or "").endswith("-1")


def test_a_range_that_always_fails_is_left_to_people_and_holds_up_neither_others_nor_the_index(
    instance: dg.DagsterInstance, finished: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    _no_pause(monkeypatch)
    settle(finished, KEYS[0], "gave_up")
    for _ in range(attempts.MOST_ATTEMPTS):
        (request,) = _tick(instance).requests
        fail(instance, start(instance, request, ""))
    assert "start one by hand" in _tick(instance).skipped

    settle(finished, KEYS[3], "gave_up")
    assert _tick(instance).spans == [(KEYS[3], KEYS[3])]

    _load(instance, finished, KEYS[3])
    assert [request.job_name for request in _tick(instance).requests] == ["build_search_index"]


@pytest.mark.parametrize("job", ["embed_covers", "retry_failures", "reembed", "refresh_catalogue", "whole_road"])
def test_while_a_run_of_books_or_covers_is_under_way_nothing_is_started(
    instance: dg.DagsterInstance, lake: Lake, job: str
) -> None:
    run = start(instance, dg.RunRequest(), job)

    assert (_tick(instance).keys, run.run_id in _tick(instance).skipped) == ([], True)
    succeed(instance, run)
    assert _tick(instance).spans == ALL


def test_a_run_whose_process_was_killed_holds_nothing_up(instance: dg.DagsterInstance, lake: Lake) -> None:
    """The process is real, and its end is one that nobody could tell Dagster of."""
    process = subprocess.Popen([sys.executable, "-c", HOLDING, instance.root_directory], stdout=subprocess.PIPE)
    assert process.stdout is not None
    mark = process.stdout.readline().decode().strip()
    run = start(instance, dg.RunRequest(tags={PROCESS: mark}, run_key=None), "embed_covers")

    during = _tick(instance)
    process.kill()
    process.wait()

    assert run.run_id in during.skipped
    assert _tick(instance).spans == ALL


def test_the_report_alone_holds_nothing_up(instance: dg.DagsterInstance, lake: Lake) -> None:
    start(instance, dg.RunRequest(), "measure_search")
    assert _tick(instance).spans == ALL


def test_runs_take_so_many_ranges_at_most(
    instance: dg.DagsterInstance, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges, "many_ranges_a_run", dg.BackfillPolicy.multi_run(3))
    assert _tick(instance).spans == [(KEYS[0], KEYS[2]), (KEYS[3], KEYS[3])]


def test_where_a_look_takes_too_long_the_next_tick_looks_on(
    instance: dg.DagsterInstance, finished: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges, "LOOKING", 0.0)
    monkeypatch.setattr("book_search.openlibrary.needs.READERS", 2)
    settle(finished, KEYS[3], "gave_up")

    first = _tick(instance)
    second = _tick(instance, first.cursor)

    assert (first.spans, "the next tick goes on" in first.skipped) == ([], True)
    assert second.spans == [(KEYS[3], KEYS[3])]


def test_where_looks_take_too_long_the_index_waits_for_a_round_of_them(
    instance: dg.DagsterInstance, finished: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges, "LOOKING", 0.0)
    monkeypatch.setattr("book_search.openlibrary.needs.READERS", 2)
    _load(instance, finished, KEYS[0])

    first = _tick(instance)
    second = _tick(instance, first.cursor)

    assert first.keys == []
    assert [request.job_name for request in second.requests] == ["build_search_index"]


def test_outside_the_hours_for_asking_only_ranges_that_need_not_ask_are_run(
    instance: dg.DagsterInstance, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOOK_SEARCH_OFF_PEAK", f"{(NOW.hour + 2) % 24:02}:00-{(NOW.hour + 3) % 24:02}:00")
    assert (_tick(instance).spans, _tick(instance).skipped) == ([], "covers are asked for in other hours")

    settle(lake, KEYS[2])
    assert _tick(instance).spans == [(KEYS[2], KEYS[2])]


def _nothing(lake: Lake, instance: dg.DagsterInstance) -> None:
    pass


def _books_alone(lake: Lake, instance: dg.DagsterInstance) -> None:
    choose_books(lake, instance, KEYS)
    instance.report_runless_asset_event(dg.AssetMaterialization("books"))


@pytest.mark.parametrize("so_far", [_nothing, _books_alone])
def test_before_the_books_rows_are_loaded_nothing_is_started(
    instance: dg.DagsterInstance,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    so_far: Callable[[Lake, dg.DagsterInstance], None],
) -> None:
    """Between the books and their rows stand checks: books that do not pass them cost no cover."""
    for name, value in settings_of(tmp_path).items():
        monkeypatch.setenv(name, value)
    so_far(lake_in(tmp_path), instance)

    assert (_tick(instance).keys, "no books are chosen" in _tick(instance).skipped) == ([], True)


def test_the_index_is_asked_for_once_after_all_ranges_not_after_each(
    instance: dg.DagsterInstance, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    _no_pause(monkeypatch)
    jobs: list[str | None] = []
    for key in KEYS:
        (request,) = _tick(instance).requests
        jobs.append(request.job_name)
        run = start(instance, request, "")
        settle(lake, key)
        _load(instance, lake, key)
        assert _tick(instance).keys == []  # the run is under way
        fail(instance, run)
    (index,) = _tick(instance).requests
    run = start(instance, index, "")
    assert _tick(instance).keys == []
    instance.report_runless_asset_event(dg.AssetMaterialization("search_index"))
    succeed(instance, run)

    assert jobs == ["embed_covers"] * len(KEYS)
    assert index.job_name == "build_search_index"
    assert _tick(instance).skipped == "all ranges are finished and searched"


def test_vectors_that_were_loaded_while_the_index_was_built_have_it_built_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Dagster's storage on disk, which numbers the events of each run apart."""
    for name, value in settings_of(tmp_path).items():
        monkeypatch.setenv(name, value)
    lake, meanwhile, kept = lake_in(tmp_path), list[str](), tmp_path / "dagster"
    kept.mkdir()

    @dg.asset
    def search_index(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        for key in meanwhile:
            _load(context.instance, lake, key)
        return dg.MaterializeResult()

    with dg.DagsterInstance.local_temp(str(kept)) as instance:
        choose_books(lake, instance, KEYS)
        for key in KEYS:
            settle(lake, key)
            _load(instance, lake, key)
        before = _tick(instance)
        dg.materialize([search_index], instance=instance)
        after = _tick(instance)
        meanwhile.append(KEYS[1])
        dg.materialize([search_index], instance=instance)
        late = _tick(instance)

    assert [request.job_name for request in before.requests] == ["build_search_index"]
    assert after.skipped == "all ranges are finished and searched"
    assert [request.job_name for request in late.requests] == ["build_search_index"]
    assert late.keys != before.keys


def test_an_index_that_failed_is_asked_for_once_more(
    instance: dg.DagsterInstance, finished: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    _load(instance, finished, KEYS[0])
    first = _tick(instance)
    fail(instance, start(instance, first.requests[0], ""))
    paused = _tick(instance)
    _no_pause(monkeypatch)

    assert (paused.keys, "index: " in paused.skipped) == ([], True)
    assert _tick(instance).keys == [(first.keys[0] or "").removesuffix("-1") + "-2"]


def test_a_range_that_left_the_books_has_the_index_run_remove_it(instance: dg.DagsterInstance, finished: Lake) -> None:
    choose_books(finished, instance, KEYS[1:])
    (request,) = _tick(instance).requests
    assert (request.job_name, KEYS[0] in (request.run_key or "")) == ("build_search_index", True)


def test_what_was_loaded_last_counts(instance: dg.DagsterInstance, lake: Lake) -> None:
    for state in ("one", "two"):
        instance.report_runless_asset_event(
            dg.AssetMaterialization(COVER_VECTORS, partition=KEYS[1], metadata={LOADED_FROM: state})
        )
    instance.report_runless_asset_event(dg.AssetMaterialization(COVER_VECTORS, partition=KEYS[2]))  # an older program's

    assert loaded_states(instance, [CoverRange.parse(key) for key in KEYS]) == {CoverRange.parse(KEYS[1]): "two"}
