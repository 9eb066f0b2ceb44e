"""Many ranges in few runs: by the command, by the daemon; a bad range alone; broken off and carried on."""

import json
import os
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner, Result

from book_search.cli.main import cli
from book_search.defs.backfill import BACKFILL, plan_runs
from book_search.defs.range_runs import RANGE_END, RANGE_START
from book_search_tests.defs.ranges_world import World, many_ranges
from book_search_tests.openlibrary.scripted_server import Answer

SCRIPTS = Path(sysconfig.get_path("scripts"))
ROOT = Path(__file__).parents[2]
COVERS = dg.AssetKey("covers")
PATIENCE = 120.0  # seconds for a daemon on a busy machine; what is waited for comes in a few


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with many_ranges(tmp_path, 6) as world:
        yield world


def backfill(*arguments: str) -> Result:
    done = CliRunner().invoke(cli, ["backfill", "--assets", "covers", *arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def spans() -> list[tuple[str, str]]:
    """The first and last ranges of every run so far, oldest first."""
    with dg.DagsterInstance.get() as instance:
        return [(run.tags[RANGE_START], run.tags[RANGE_END]) for run in reversed(instance.get_runs())]


def made() -> set[str]:
    with dg.DagsterInstance.get() as instance:
        return instance.get_materialized_partitions(COVERS)


def until(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < ends, "it did not come"
        time.sleep(0.2)


def test_ranges_side_by_side_share_runs_and_a_gap_ends_one() -> None:
    known = ["0009_9", "0014_6", "0003_1", "0003_2", "0020_0"]  # in the order in which they became known

    assert plan_runs(known, set(known), 2) == [("0009_9", "0014_6"), ("0003_1", "0003_2"), ("0020_0",)]
    assert plan_runs(known, {"0009_9", "0003_1", "0003_2", "unknown"}, 20) == [("0009_9",), ("0003_1", "0003_2")]
    assert plan_runs(known, set(), 2) == []


def test_all_ranges_are_made_in_few_runs_without_a_daemon(world: World) -> None:
    done = backfill("--ranges-per-run", "4")

    assert (done.exit_code, made()) == (0, set(world.keys)), done.output
    assert spans() == [(world.keys[0], world.keys[3]), (world.keys[4], world.keys[5])]
    assert "done 0001_0 to 0001_3 (4 ranges)" in done.output
    assert "6 of 6 ranges done" in done.output
    assert sorted(world.asked()) == sorted(world.keys)


def test_a_dry_run_prints_the_runs_and_runs_none(world: World) -> None:
    done = backfill("--dry-run", "--from", "0001_1", "--to", "0001_5", "--ranges-per-run", "3")

    assert "run 1: 0001_1 to 0001_3 (3 ranges)\n  run 2: 0001_4 to 0001_5 (2 ranges)" in done.output
    assert (spans(), world.server.asked) == ([], [])


def test_a_bad_range_fails_alone_and_the_command_told_makes_it_when_it_is_mended(world: World) -> None:
    spoiled = world.spoil("0001_2")

    failed = backfill()

    assert failed.exit_code == 1
    assert made() == set(world.keys) - {"0001_2"}
    assert "1 ranges failed:\n  0001_2: " in failed.output
    assert "Try them again: book-search backfill --from 0001_2 --to 0001_2 --assets covers" in failed.output
    assert spans() == [("0001_0", "0001_5"), ("0001_2", "0001_2")]  # the others need no second run

    world.lake.delete(spoiled)
    world.server.asked.clear()
    mended = backfill("--only-missing")

    assert (mended.exit_code, made(), world.asked()) == (0, set(world.keys), ["0001_2"]), mended.output
    assert "nothing is left to do" in backfill("--only-missing").output


def test_a_range_that_failed_after_it_was_once_made_counts_as_missing(world: World) -> None:
    backfill()
    world.spoil("0001_3")
    backfill()

    assert "run 1: 0001_3\n" in backfill("--only-missing", "--dry-run").output


def test_where_all_fail_alike_the_rest_is_not_tried(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOK_SEARCH_COVERS_METADATA", "no/such/file.gz")

    failed = backfill()

    assert (failed.exit_code, made()) == (1, set())
    assert spans() == [("0001_0", "0001_5"), *((key, key) for key in world.keys[:3])]
    assert "3 ranges failed:" in failed.output
    assert "3 more, 0001_3 to 0001_5 (3 ranges), were not tried" in failed.output
    assert "Try them again: book-search backfill --from 0001_0 --to 0001_5" in failed.output


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_backfill_that_was_broken_off_goes_on_without_what_it_had_finished(world: World, how: signal.Signals) -> None:
    backfill("--to", "0001_0")  # an older backfill, which --resume does not mean
    world.server.script[world.path("0001_4")] = [Answer(body=b"x" * 1000, pause=0.1)]  # for ever, as it were
    command = [str(SCRIPTS / "book-search"), "backfill", "--assets", "covers", "--ranges-per-run", "2"]
    # What starts the tests may ignore Ctrl-C, which a child would inherit.
    start = [sys.executable, "-c", "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); "
             "os.execv(sys.argv[1], sys.argv[1:])", *command]  # fmt: skip
    with subprocess.Popen(start, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        until(lambda: "0001_4" in world.asked())
        running.send_signal(how)
        _, told = running.communicate(timeout=PATIENCE)
    if how == signal.SIGINT:
        assert running.returncode == 130
        assert "4 of 6 ranges are done; the same command with --resume goes on" in told
    world.server.script[world.path("0001_4")] = [Answer(404)]
    world.server.asked.clear()

    resumed = backfill("--resume")

    assert (resumed.exit_code, made()) == (0, set(world.keys)), resumed.output
    assert set(world.asked()) == {"0001_4", "0001_5"}
    assert spans()[-1] == ("0001_4", "0001_5")
    assert "nothing is left to do" in backfill("--resume").output
    with dg.DagsterInstance.get() as instance:
        assert not instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
        assert len({run.tags[BACKFILL] for run in instance.get_runs()}) == 2
        assert instance.event_log_storage.get_concurrency_info("covers_host").active_slot_count == 0


def test_what_cannot_be_meant_is_refused_in_a_sentence(world: World) -> None:
    assert "--assets pictures is none of covers" in CliRunner().invoke(cli, ["backfill", "--assets", "pictures"]).output
    assert "--assets names none of covers" in CliRunner().invoke(cli, ["backfill", "--assets", ","]).output
    assert "is no cover range" in backfill("--from", "14").output
    assert "--from 0001_4 lies after --to 0001_1" in backfill("--from", "0001_4", "--to", "0001_1").output
    assert "no known range lies there: they go from 0001_0 to 0001_5" in backfill("--from", "0999_0").output
    assert "--all, or --from and --to" in backfill("--all", "--from", "0001_0").output
    assert "there is no backfill to go on with" in backfill("--resume").output


MATERIALIZE = """mutation ($names: [String!]) { launchPartitionBackfill(backfillParams: {
    assetSelection: [{path: ["covers"]}], partitionNames: $names, title: "as the UI does"
}) { __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""


@pytest.mark.slow
@pytest.mark.timeout(600)  # a daemon, its code server and three runs are eight processes that import Dagster
def test_the_daemon_makes_what_the_ui_and_the_command_ask_for_in_few_runs(tmp_path: Path) -> None:
    with many_ranges(tmp_path, 25) as world:
        spoiled = world.spoil("0002_4")
        module = ("-m", "book_search.definitions")
        asked = subprocess.run(
            [SCRIPTS / "dagster-graphql", *module, "-t", MATERIALIZE, "-v", json.dumps({"names": world.keys})],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert "LaunchBackfillSuccess" in asked.stdout, asked.stdout + asked.stderr
        with (tmp_path / "daemon.log").open("w") as log:
            daemon = subprocess.Popen(
                [SCRIPTS / "dagster-daemon", "run", *module], cwd=ROOT, stdout=log, stderr=log, start_new_session=True
            )
        try:
            until(lambda: _statuses() == ["COMPLETED_FAILED"])
            assert made() == set(world.keys) - {"0002_4"}
            assert sorted(spans()) == [("0001_0", "0002_9"), ("0003_0", "0003_4")]  # 25 ranges, twenty a run

            world.lake.delete(spoiled)
            queued = backfill("--only-missing", "--queue")
            assert "is left for the daemon" in queued.output
            assert "no daemon has been heard of" not in queued.output
            until(lambda: _statuses() == ["COMPLETED_SUCCESS", "COMPLETED_FAILED"])
            assert made() == set(world.keys)
            assert spans()[-1] == ("0002_4", "0002_4")
        finally:
            os.killpg(daemon.pid, signal.SIGKILL)
            daemon.wait()


def _statuses() -> list[str]:
    """Of every backfill, newest first."""
    with dg.DagsterInstance.get() as instance:
        return [each.status.value for each in instance.get_backfills()]
