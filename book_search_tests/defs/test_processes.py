"""Runs whose process was killed are ended by the next one, with the pools' slots that they held; others are not."""

import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from book_search.defs.in_process import PROCESS, bury_dead_runs
from book_search.defs.processes import mark_of_this_process
from book_search.instance import prepare_dagster_home

POOL = "postgres"


@dg.op
def nothing() -> None:
    """For a job to have a step."""


@dg.job
def idle() -> None:
    """A job whose runs are only recorded."""
    nothing()


def _begin(home: Path, status: dg.DagsterRunStatus) -> str:
    """A run of this process that has not ended; once started it holds the pool."""
    with dg.DagsterInstance.from_config(str(home)) as instance:
        run = instance.create_run_for_job(idle, status=status, tags={PROCESS: mark_of_this_process(instance)})
        if status is dg.DagsterRunStatus.STARTED:
            instance.event_log_storage.initialize_concurrency_limit_to_default(POOL)
            instance.event_log_storage.claim_concurrency_slot(POOL, run.run_id, "nothing")
        return run.run_id


def _begin_and_die(home: Path, status: dg.DagsterRunStatus) -> None:
    _begin(home, status)
    os.kill(os.getpid(), 9)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    prepare_dagster_home(tmp_path)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        yield instance


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTED])
def test_runs_of_a_killed_process_are_ended_and_those_of_a_living_one_go_on(
    instance: dg.DagsterInstance, tmp_path: Path, status: dg.DagsterRunStatus
) -> None:
    child = multiprocessing.get_context("spawn").Process(target=_begin_and_die, args=(tmp_path, status))
    child.start()
    child.join()
    own = _begin(tmp_path, dg.DagsterRunStatus.NOT_STARTED)
    (dead,) = (run.run_id for run in instance.get_runs() if run.run_id != own)
    held = instance.event_log_storage.get_concurrency_info(POOL).claimed_slots
    assert len(held) == (status is dg.DagsterRunStatus.STARTED)

    bury_dead_runs(instance)

    statuses = {run.run_id: run.status for run in instance.get_runs()}
    assert statuses == {dead: dg.DagsterRunStatus.FAILURE, own: dg.DagsterRunStatus.NOT_STARTED}
    assert instance.event_log_storage.get_concurrency_info(POOL).claimed_slots == []
    assert len(list((tmp_path / "processes").iterdir())) == 1
