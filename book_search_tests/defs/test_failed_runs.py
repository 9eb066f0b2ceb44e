"""The sensor `failed_runs`: what failed and where, told in the log and to a real receiver, without a secret in it."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import dagster as dg
import pytest
from dagster._core.events import JobFailureData  # what Dagster writes itself: no public name makes one
from dagster_shared.error import SerializableErrorInfo

from book_search.defs import webhook
from book_search.defs.build import build_definitions
from book_search.defs.partitions import cover_ranges
from book_search.defs.range_runs import RANGE_END, RANGE_START
from book_search.defs.webhook import without_secrets

PASSWORD = "hunter2-and-more"


class Receiver:
    """Takes messages at `/hooks/T0/verysecret`; answers as `status` says, or never where it is 0."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, dict[str, Any]]] = []
        self.status = 200
        self.stopped = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.taken.append((self.headers["Content-Type"], json.loads(body)))
                if not receiver.status:
                    self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                    while not receiver.stopped.wait(0.05):
                        self.wfile.write(b"z")
                    return
                self.send_response(receiver.status)
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, request: object, client_address: object) -> None:
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}/hooks/T0/verysecret"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        self.stopped.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    receiver = Receiver()
    monkeypatch.setenv("BOOK_SEARCH_WEBHOOK", receiver.address)
    monkeypatch.setenv("BOOK_SEARCH_DAGSTER_URL", "https://dagster.example.org/")
    yield receiver
    receiver.stop()


@dg.asset(partitions_def=cover_ranges, backfill_policy=dg.BackfillPolicy.single_run())
def breaks() -> dg.MaterializeResult[None]:
    cause = ConnectionError(f"no route to postgresql://me:{PASSWORD}@db/books\nand a second line")
    raise RuntimeError("the outer one") from cause


def _failed_run(instance: dg.DagsterInstance) -> dg.DagsterRun:
    instance.add_dynamic_partitions("cover_range", ["0009_9", "0014_6"])
    ran = dg.materialize(
        [breaks], instance=instance, tags={RANGE_START: "0009_9", RANGE_END: "0014_6"}, raise_on_error=False
    )
    run = instance.get_run_by_id(ran.run_id)
    assert run is not None
    return run


def _lost_run(instance: dg.DagsterInstance, said: str | None, noted: str = "") -> dg.DagsterRun:
    job = build_definitions().resolve_job_def("embed_covers")
    run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    if noted:
        instance.report_engine_event("Started process", run)
        instance.report_engine_event(noted, run)
    instance.report_run_failed(run, said)
    return run


def _tell(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """What the daemon has the sensor do about a failed run."""
    (record,) = instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.RUN_FAILURE).records
    event = record.event_log_entry.dagster_event
    assert event is not None
    context = dg.build_run_status_sensor_context("failed_runs", event, instance, run).for_run_failure()
    build_definitions().get_repository_def().get_sensor_def("failed_runs")(context)


def test_a_failed_run_is_told_with_its_step_its_ranges_its_error_and_a_link(
    instance: dg.DagsterInstance, receiver: Receiver
) -> None:
    run = _failed_run(instance)

    _tell(instance, run)

    ((kind, message),) = receiver.taken
    assert kind == "application/json"
    assert message["run_id"] == run.run_id
    assert (message["steps"], message["partitions"]) == (["breaks"], "0009_9 to 0014_6")
    assert message["error"] == "ConnectionError: no route to postgresql://me:***@db/books"
    assert message["url"] == f"https://dagster.example.org/runs/{run.run_id}"
    for part in (message["job"], "breaks", "0009_9 to 0014_6", message["error"], message["url"]):
        assert part in message["text"]


@dg.asset(check_specs=[dg.AssetCheckSpec("whole", asset="checked", blocking=True)])
def checked() -> Iterator[dg.MaterializeResult[None]]:
    seen: dict[str, int | str] = {"records": 3, "way_out": "have it made again"}
    yield dg.MaterializeResult(check_results=[dg.AssetCheckResult(check_name="whole", passed=False, metadata=seen)])


def test_of_a_check_that_stopped_a_run_what_it_saw_and_the_way_out_are_told(
    instance: dg.DagsterInstance, receiver: Receiver
) -> None:
    run = instance.get_run_by_id(dg.materialize([checked], instance=instance, raise_on_error=False).run_id)
    assert run is not None

    _tell(instance, run)

    ((_, message),) = receiver.taken
    assert message["error"] == "checked failed its check whole: records 3. have it made again"


def test_a_run_whose_worker_died_is_told_too(instance: dg.DagsterInstance, receiver: Receiver) -> None:
    _tell(instance, _lost_run(instance, "its process ended without a word"))

    ((_, message),) = receiver.taken
    assert (message["job"], message["steps"]) == ("embed_covers", [])
    assert "its process ended without a word" in message["text"]


def test_of_a_run_that_was_killed_the_signal_is_told(instance: dg.DagsterInstance, receiver: Receiver) -> None:
    """What Dagster's code server does where a run's process is gone."""
    _tell(instance, _lost_run(instance, None, noted="Run execution process was terminated by signal 9 (SIGKILL)."))

    ((_, message),) = receiver.taken
    assert message["error"] == "Run execution process was terminated by signal 9 (SIGKILL)."


def test_a_run_that_failed_outside_of_a_step_is_told_with_what_ended_it(
    instance: dg.DagsterInstance, receiver: Receiver
) -> None:
    """As where a process of a step could not import the program."""
    job = build_definitions().resolve_job_def("embed_covers")
    run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    error = SerializableErrorInfo("In child processes:\n\nImportError: no module books\n  in some file", [], None)
    data = JobFailureData(error=error, failure_reason=None)
    ended = dg.DagsterEvent(dg.DagsterEventType.RUN_FAILURE.value, run.job_name, event_specific_data=data)
    instance.report_dagster_event(ended, run.run_id)

    _tell(instance, run)

    ((_, message),) = receiver.taken
    assert message["error"] == "In child processes: ImportError: no module books"


def test_without_a_webhook_the_log_is_told(
    instance: dg.DagsterInstance, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BOOK_SEARCH_WEBHOOK", raising=False)
    told = _log_of(instance, _lost_run(instance, "lost"), capfd)
    assert "book_search: embed_covers failed: " in told


@pytest.mark.parametrize(
    ("status", "why"), [(500, "it answered HTTP 500"), (302, "HTTP 302"), (0, "no answer in time")]
)
def test_a_webhook_that_fails_or_hangs_is_told_in_the_log_and_holds_nothing(
    instance: dg.DagsterInstance,
    receiver: Receiver,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    why: str,
) -> None:
    receiver.status = status
    monkeypatch.setattr(webhook, "SECONDS", 0.5)

    told = _log_of(instance, _lost_run(instance, "lost"), capfd)

    assert "BOOK_SEARCH_WEBHOOK did not take the message" in told
    assert why in told
    assert "verysecret" not in told


def test_a_webhook_that_is_not_there_is_told_without_its_address(
    instance: dg.DagsterInstance, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOOK_SEARCH_WEBHOOK", "http://127.0.0.1:9/hooks/verysecret")

    told = _log_of(instance, _lost_run(instance, "lost"), capfd)

    assert "did not take the message" in told
    assert "verysecret" not in told


def _log_of(instance: dg.DagsterInstance, run: dg.DagsterRun, capfd: pytest.CaptureFixture[str]) -> str:
    _tell(instance, run)
    return capfd.readouterr().err


def test_nothing_secret_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOK_SEARCH_DATABASE_URL", f"postgresql://me:{PASSWORD}@db/books")
    monkeypatch.setenv("BOOK_SEARCH_WEBHOOK", "https://hooks.example.org/verysecret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")

    told = without_secrets(
        f"{PASSWORD}, https://hooks.example.org/verysecret wJalrXUtnFEMI "
        "ftp://a:other-one@host/ password=third-one token: 'fourth-one' and a plain word"
    )

    for secret in (PASSWORD, "verysecret", "wJalr", "other-one", "third-one", "fourth-one"):
        assert secret not in told
    assert told.endswith("and a plain word")
    assert "a:***@host" in told
