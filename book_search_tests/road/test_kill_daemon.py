"""The road as a server runs it, by the daemon's queue, with workers, daemons and both of them killed on the way.

Afterwards, with a daemon running again, every run that was asked for has ended well by itself, in the same state as
an undisturbed road. It takes minutes: only where `BOOK_SEARCH_TEST_DAEMON=1`, as in `make kill-road`.
"""

import json
import os
import random
import re
import signal
import subprocess
import sysconfig
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import dagster as dg
import pytest

from book_search.instance import LAPTOP
from book_search_tests.road.disturbed import SEED, Base, state_of

PATIENCE = 600.0  # seconds for a run, its retries, and a busy machine
SETTINGS = LAPTOP.replace("free_slots_after_run_end_seconds: 60", "free_slots_after_run_end_seconds: 1").replace(
    "max_runtime_seconds: 172800", "max_runtime_seconds: 172800\n  poll_interval_seconds: 2"
)
LONGEST = {"dagster/max_runtime": "120"}  # the tag by which a run says how long it may take
SCRIPTS = Path(sysconfig.get_path("scripts"))
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
IN_PROCESS = json.dumps({"execution": {"config": {"in_process": {}}}})  # a process a step would cost a minute
WORKER = re.compile(r"Started process for run \(pid: ([0-9]+)\)")
DONE = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


class Server:
    """A daemon on a home, and what it starts: a code server, and a worker a run."""

    def __init__(self, environment: dict[str, str], output: Path) -> None:
        self.environment, self.output = environment, output
        self.home = Path(environment["DAGSTER_HOME"])
        self.start()

    def start(self) -> None:
        command = [str(SCRIPTS / "dagster-daemon"), "run", "-m", "book_search.definitions"]
        with self.output.open("a") as file:
            self.daemon = subprocess.Popen(
                command, env=self.environment, stdout=file, stderr=file, start_new_session=True
            )

    def queue(self, job: str, tags: dict[str, str]) -> str:
        run_id = str(uuid.uuid4())
        command = [str(SCRIPTS / "dagster"), "job", "launch", "-m", "book_search.definitions", "-j", job]
        command += ["--run-id", run_id, "--tags", json.dumps(tags), "--config-json", IN_PROCESS]
        subprocess.run(command, env=self.environment, check=True, capture_output=True)
        return run_id

    def kill_daemon(self) -> None:
        self.daemon.kill()
        self.daemon.wait()

    def kill_all(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.daemon.pid, signal.SIGKILL)
        self.daemon.wait()


@contextmanager
def _serving(base: Base, name: str) -> Iterator[tuple[Server, dg.DagsterInstance, Path]]:
    killer = base.killer(name)
    place = killer.home / "dagster"
    place.mkdir()
    (place / "dagster.yaml").write_text(SETTINGS)
    plain = {key: value for key, value in os.environ.items() if not key.startswith(("BOOK_SEARCH", "DAGSTER"))}
    server = Server({**plain, **killer.environment, "DAGSTER_HOME": str(place)}, killer.output)
    try:
        with dg.DagsterInstance.from_config(str(place)) as instance:
            yield server, instance, killer.home
    finally:
        server.kill_all()


def _worker(instance: dg.DagsterInstance, run_id: str) -> int | None:
    """The process that works on a run, by the run's own first words."""
    for entry in instance.all_logs(run_id):
        if found := WORKER.search(entry.message):
            return int(found[1])
    return None


def _wait(instance: dg.DagsterInstance, run_id: str, *statuses: dg.DagsterRunStatus) -> dg.DagsterRun:
    """The newest run of a run and its retries, once its status is one of these."""
    until = time.monotonic() + PATIENCE
    while True:
        group = instance.get_run_group(run_id)
        ids = [run.run_id for run in group[1]] if group else [run_id]
        records = instance.get_run_records(dg.RunsFilter(run_ids=ids))
        runs = [each.dagster_run for each in sorted(records, key=lambda each: each.create_timestamp)]
        newest = runs[-1] if runs else None
        if newest is not None and newest.status in statuses:
            return newest
        assert time.monotonic() < until, (newest, [run.status for run in runs])
        time.sleep(0.2)


@pytest.mark.skipif("BOOK_SEARCH_TEST_DAEMON" not in os.environ, reason="takes minutes: BOOK_SEARCH_TEST_DAEMON=1")
@pytest.mark.timeout(3600)
def test_killed_workers_and_daemons_are_made_good_by_the_next_daemon(
    base: Base, undisturbed: dict[str, object]
) -> None:
    rng = random.Random(SEED)
    with _serving(base, "daemon") as (server, instance, home):
        for job, kill in (("refresh_catalogue", "worker"), ("embed_covers", "daemon"), ("build_search_index", "all")):
            tags = LONGEST if kill == "all" else {}
            if job == "embed_covers":
                keys = instance.get_dynamic_partitions("cover_range")
                tags = {RANGE_START: keys[0], RANGE_END: keys[-1]}
            run_id = server.queue(job, tags)
            _wait(instance, run_id, dg.DagsterRunStatus.STARTED, *DONE)
            time.sleep(rng.uniform(0, 3))
            worker = _worker(instance, run_id)
            print(job, kill, worker, flush=True)
            if kill == "worker" and worker is not None:
                os.kill(worker, signal.SIGKILL)
            elif kill == "daemon":
                server.kill_daemon()
                server.start()
            elif kill == "all":
                if worker is not None:
                    os.kill(worker, signal.SIGKILL)
                server.kill_all()
                server.start()
            began = time.monotonic()
            ended = _wait(instance, run_id, dg.DagsterRunStatus.SUCCESS)
            print(job, ended.run_id == run_id, f"{time.monotonic() - began:.0f} s", flush=True)

    assert state_of(home) == undisturbed
