"""What runs may take and how long: pools, slots of the dead, tries after what passes, and an end to every wait."""

import logging
import signal
import socket
import subprocess
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import dagster as dg
import psycopg
import pytest
import yaml
from click.testing import CliRunner
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from dagster._daemon.monitoring.concurrency import execute_concurrency_slots_iteration
from dagster._daemon.monitoring.run_monitoring import execute_run_monitoring_iteration

from book_search.cli.main import cli
from book_search.defs import resources
from book_search.defs.build import build_definitions
from book_search.defs.in_process import NOT_BY_DAGSTER, PROCESS
from book_search.defs.resources import DatabaseResource
from book_search.defs.retries import DATABASE, Patience, again_later, network_passes
from book_search.index import connection as connections
from book_search.index.connection import DatabaseUnreachableError, connect
from book_search.instance import LAPTOP
from book_search.openlibrary.download import Retry
from book_search.openlibrary.dumps import find_latest
from book_search_tests.defs.ranges_world import World, many_ranges
from book_search_tests.openlibrary.scripted_server import Answer, scripted_server

COMMAND = Path(sysconfig.get_path("scripts")) / "book-search"
AT_ONCE = dg.RetryPolicy(2, delay=0.01, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
POOLS = {
    **dict.fromkeys(("edition_dump", "work_dump", "author_dump", "redirect_dump"), "open_library"),
    "covers": "covers_host",
    **dict.fromkeys(("cover_embeddings", "cover_tags", "relevance_report"), "embedding"),
    **dict.fromkeys(("book_rows", "cover_vectors", "search_index"), "postgres"),
}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with many_ranges(tmp_path, 2) as world:
        yield world


def test_each_asset_takes_a_slot_of_what_it_would_crowd() -> None:
    definitions = build_definitions()
    pools = {
        asset.key.to_user_string(): asset.op.pool
        for asset in definitions.assets or ()
        if isinstance(asset, dg.AssetsDefinition) and len(asset.keys) == 1 and asset.op.pool
    }

    assert pools == POOLS


def test_a_laptop_has_the_servers_limits() -> None:
    server = yaml.safe_load((Path(__file__).parents[2] / "infra/dagster.yaml").read_text())
    laptop = yaml.safe_load(LAPTOP)

    assert laptop["run_monitoring"] == server["run_monitoring"]
    assert laptop["run_retries"] == server["run_retries"]
    assert laptop["concurrency"]["pools"] == server["concurrency"]["pools"]


def test_a_slot_of_a_killed_process_is_told_by_the_doctor_and_freed_by_the_run_monitoring(world: World) -> None:
    quick = LAPTOP.replace("free_slots_after_run_end_seconds: 60", "free_slots_after_run_end_seconds: 1")
    (world.dagster_home / "dagster.yaml").write_text(quick)
    world.server.script[world.path("0001_1")] = [Answer(body=b"x" * 1000, pause=0.1)]
    with subprocess.Popen(
        [COMMAND, "backfill", "--assets", "covers"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as running:
        while "0001_1" not in world.asked():
            assert running.poll() is None
            time.sleep(0.1)
        running.send_signal(signal.SIGKILL)
    with dg.DagsterInstance.get() as instance:
        (run,) = instance.get_runs()
        assert _taken(instance) == 1

        told = CliRunner().invoke(cli, ["doctor"]).output
        assert f"warn pool covers_host: a slot of 1 is held by covers of the run {run.run_id}" in told
        assert "book-search doctor --free-slots gives it back" in told

        instance.add_run_tags(run.run_id, {"dagster/max_runtime": "1"})
        time.sleep(1.5)  # on a quick machine it has not taken that long yet
        with WorkspaceProcessContext(instance, EmptyWorkspaceTarget()) as workspace:
            logger = logging.getLogger("monitoring")
            assert not [error for error in execute_run_monitoring_iteration(workspace, logger) if error]
            time.sleep(1.5)
            assert not [error for error in execute_concurrency_slots_iteration(workspace, logger) if error]
        ended = instance.get_run_by_id(run.run_id)
        assert ended is not None
        assert (ended.status, _taken(instance)) == (dg.DagsterRunStatus.FAILURE, 0)


def test_the_doctor_frees_the_slots_of_runs_that_ended_and_no_others(world: World) -> None:
    with dg.DagsterInstance.get() as instance:
        instance.event_log_storage.set_concurrency_slots("covers_host", 2)
        ended = instance.create_run_for_job(_nothing)
        instance.report_run_failed(ended)
        at_work = instance.create_run_for_job(_nothing)
        for run in (ended, at_work):
            instance.event_log_storage.claim_concurrency_slot("covers_host", run.run_id, "covers")

        done = CliRunner().invoke(cli, ["doctor", "--free-slots"])

        assert f"freed a slot of covers_host: it was held by covers of the run {ended.run_id}" in done.output
        assert f"ok   pool covers_host: a slot of 2 is held by covers of the run {at_work.run_id}" in done.output
        assert _taken(instance) == 1


def test_a_run_that_was_lost_is_run_again_and_one_whose_asset_failed_is_not(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text(LAPTOP)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        lost, ours = instance.create_run_for_job(_nothing), instance.create_run_for_job(_nothing, tags=NOT_BY_DAGSTER)
        for run in (lost, ours):
            instance.report_run_failed(run, "its machine is gone")
        failed = _failing.execute_in_process(instance=instance, raise_on_error=False)

        again = [instance.get_run_by_id(run_id) for run_id in (lost.run_id, ours.run_id, failed.run_id)]

    assert [run.tags["dagster/will_retry"] for run in again if run] == ["true", "false", "false"]


@dg.op
def _fail() -> None:
    raise ValueError("a wrong setting")


@dg.job
def _failing() -> None:
    _fail()


@dg.op
def _do_nothing() -> None: ...


@dg.job
def _nothing() -> None:
    _do_nothing()


def _taken(instance: dg.DagsterInstance) -> int:
    return instance.event_log_storage.get_concurrency_info("covers_host").active_slot_count


# --- what passes is tried again, in the same run


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The database is waited for as often, but not as long."""
    monkeypatch.setattr(resources, "DATABASE", Patience(DATABASE.passes, AT_ONCE))


def _tries(work: Callable[[DatabaseResource, int], object], tags: Mapping[str, str] | None = None) -> tuple[bool, int]:
    """Whether an asset that does `work(postgres, attempt)` succeeds in the end, and how often it was tried."""
    tried = []

    @dg.asset
    def worker(context: dg.AssetExecutionContext, postgres: DatabaseResource) -> None:
        tried.append(context.retry_number)
        work(postgres, context.retry_number)

    result = dg.materialize(
        [worker], resources={"postgres": DatabaseResource()}, raise_on_error=False, tags=dict(tags or {})
    )
    return result.success, len(tried)


def test_a_step_whose_server_restarts_is_run_again(
    database_dsn: str,
    quick: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BOOK_SEARCH_DATABASE_URL", database_dsn)

    def lose_the_connection_once(postgres: DatabaseResource, attempt: int) -> None:
        with postgres.connection() as opened:
            if attempt == 0:
                with psycopg.connect(database_dsn, autocommit=True) as other:
                    other.execute("SELECT pg_terminate_backend(%s)", [opened.info.backend_pid])
            opened.execute("SELECT 1")

    assert _tries(lose_the_connection_once) == (True, 2)


def test_a_server_that_is_away_is_asked_again_and_told_in_the_end(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound, and not listening: whoever connects is refused
        monkeypatch.setenv("BOOK_SEARCH_DATABASE_URL", f"postgresql://me@127.0.0.1:{free.getsockname()[1]}/books")

        assert _tries(lambda postgres, _: postgres.connection().__enter__()) == (False, 3)


def test_a_wrong_password_and_a_statement_that_took_too_long_are_not_tried_again(
    foreign: str,
    quick: None,
    database_dsn: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BOOK_SEARCH_DATABASE_URL", f"postgresql://boss:wrong@{foreign.rpartition('@')[2]}/postgres")
    assert _tries(lambda postgres, _: postgres.connection().__enter__()) == (False, 1)

    def be_slow(postgres: DatabaseResource, attempt: int) -> None:
        with postgres.connection() as opened:
            opened.execute("SET statement_timeout = '10ms'")
            opened.execute("SELECT pg_sleep(5)")

    monkeypatch.setenv("BOOK_SEARCH_DATABASE_URL", database_dsn)
    assert _tries(be_slow) == (False, 1)


def test_a_dump_is_asked_for_again_after_what_passes_and_not_after_what_stays() -> None:
    patience = Patience(network_passes, AT_ONCE, at_a_terminal=False)
    with scripted_server() as server:

        def ask(_: DatabaseResource, attempt: int) -> None:
            with again_later(patience):
                find_latest("editions", server.url, "test", Retry(attempts=1))

        path = "/data/ol_dump_editions_latest.txt.gz"
        server.script[path] = [Answer(503)]
        assert _tries(ask) == (False, 3)
        assert _tries(ask, tags={PROCESS: "of a person who waits"}) == (False, 1)
        server.script[path] = [Answer(404)]
        assert _tries(ask) == (False, 1)


def test_pauses_grow_and_are_spread_by_chance() -> None:
    pauses = [[DATABASE.policy.calculate_delay(attempt) for _ in range(50)] for attempt in (1, 2, 3, 4)]

    assert all(len(set(each)) > 40 for each in pauses)
    means = [sum(each) / len(each) for each in pauses]
    assert means == sorted(means)
    assert max(map(max, pauses)) <= 150


# --- every wait ends


def test_a_run_tells_the_server_what_is_too_long(
    database_dsn: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BOOK_SEARCH_DATABASE_URL", database_dsn)
    with DatabaseResource().connection() as opened:
        limits = [
            opened.execute(f"SHOW {name}").fetchone()
            for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
        ]

    assert limits == [("12h",), ("2h",), ("1h",)]


def test_a_lock_that_nobody_gives_back_ends_the_wait(
    database_dsn: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BOOK_SEARCH_DATABASE_URL", database_dsn)
    monkeypatch.setattr(connections, "LOCK_SECONDS", 0.1)
    with connect(database_dsn) as other, other.transaction(), DatabaseResource().connection() as opened:
        other.execute("SELECT pg_advisory_xact_lock(1)")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            opened.execute("SELECT pg_advisory_lock(1)")


def test_a_server_that_takes_the_call_and_says_nothing_is_given_up() -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        address = f"postgresql://me@127.0.0.1:{mute.getsockname()[1]}/books"

        with pytest.raises(DatabaseUnreachableError, match="timeout expired"):
            connect(f"{address}?connect_timeout=2")  # libpq's shortest
    assert connections.PATIENCE["connect_timeout"] == 10
