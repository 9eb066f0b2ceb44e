"""How fetching leaves off: interrupted, at a paused host, behind a log-in page, short of time, waiting for another."""

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from book_search.lake import Lake
from book_search.openlibrary.archive import archive_zip
from book_search.openlibrary.breaker import Breaker
from book_search.openlibrary.cover_batch import CoverFile
from book_search.openlibrary.cover_files import parts_of, read_ledger
from book_search.openlibrary.covers import Fetching, fetch_batch, fetch_range
from book_search.openlibrary.http import BlockedHostError, PoliteClient, user_agent
from book_search.openlibrary.limits import Limits
from book_search.openlibrary.roads import RoadRule, choose_road
from book_search.sample.zips import archive_zips
from book_search_tests.openlibrary.scripted_server import Answer, ScriptedServer, scripted_server
from book_search_tests.openlibrary.test_bulk import PICTURES
from book_search_tests.openlibrary.test_bulk import serving as serving_zips
from book_search_tests.openlibrary.test_covers import BATCH, FIRST, RANGE, jpeg, ledger, serving

TOO_LONG = 30  # seconds after which a child is thought to hang: all that it could wait for here is longer by far


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted_server() as running:
        yield running


def path(cover_id: int) -> str:
    return f"/b/id/{cover_id}-M.jpg?default=false"


def wait_until(done: Callable[[], object], process: "subprocess.Popen[str] | None" = None) -> None:
    while not done() and (process is None or process.poll() is None):
        time.sleep(0.005)


INTERRUPTED = """
import signal, sys
from book_search.lake import open_lake
from book_search.openlibrary.covers import Fetching, fetch_batch
from book_search.openlibrary.http import PoliteClient, user_agent
signal.signal(signal.SIGINT, signal.default_int_handler)
home, url, batch, first = sys.argv[1:]
client = PoliteClient(user_agent(None), url, requests_per_minute=600, longest_wait=100_000)
try:
    fetch_batch(open_lake(home), batch, range(int(first), int(first) + 40), Fetching(client, url, "M"))
except KeyboardInterrupt:
    print("interrupted")
"""


def interrupt(lake: Lake, server: ScriptedServer, ready: Callable[[], object]) -> str:
    """Start a run over 40 covers, interrupt it as Ctrl-C does, and give what it said."""
    command = [sys.executable, "-c", INTERRUPTED, lake.root, server.url, BATCH, str(FIRST)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            wait_until(ready, child)
            time.sleep(0.3)  # until its threads wait
            child.send_signal(signal.SIGINT)
            return child.communicate(timeout=TOO_LONG)[0].strip()
        finally:
            child.kill()


def test_ctrl_c_ends_a_run_that_waits_for_a_paused_host_and_keeps_what_came(lake: Lake, server: ScriptedServer) -> None:
    for number in range(5):
        server.script[path(FIRST + number)] = [Answer(body=jpeg(number))]
    for number in range(5, 40):
        server.script[path(FIRST + number)] = [Answer(429, headers={"Retry-After": "3000"})]

    refused = {path(FIRST + number) for number in range(5, 40)}
    said = interrupt(lake, server, lambda: refused & {asked for _, asked, _ in server.asked})

    assert said == "interrupted"
    pictures = {asked for _, asked, _ in server.asked} - refused
    assert {path(cover_id) for cover_id in ledger(lake)} == pictures
    assert {row["status"] for row in ledger(lake).values()} == {"ok"}
    assert list(lake.work.rglob("*.lock")) == []


def test_ctrl_c_does_not_wait_for_answers_that_drip(lake: Lake, server: ScriptedServer) -> None:
    for number in range(2):
        server.script[path(FIRST + number)] = [Answer(body=jpeg(number))]
    for number in range(2, 40):
        server.script[path(FIRST + number)] = [Answer(body=jpeg(number), pause=0.1)]  # some two minutes

    assert interrupt(lake, server, lambda: len(server.asked) >= 4) == "interrupted"
    assert list(ledger(lake)) == [FIRST, FIRST + 1]


def test_a_stopped_client_takes_the_answer_that_has_begun_and_asks_for_no_other(server: ScriptedServer) -> None:
    server.script["/cover"] = [Answer(body=b"a cover", pause=0.05)]
    got: list[bytes] = []
    with PoliteClient(user_agent(None), server.url) as client:
        mine = client.apart()
        asking = threading.Thread(target=lambda: got.append(mine.get(f"{server.url}/cover").body))
        asking.start()
        wait_until(lambda: server.asked)
        mine.stop()
        asking.join()

        assert got == [b"a cover"]
        with pytest.raises(RuntimeError, match="stopped"):
            mine.get(f"{server.url}/cover")
        assert len(server.asked) == 1
        assert client.get(f"{server.url}/another").status == 404


def test_a_range_goes_on_to_what_needs_no_paused_host(lake: Lake) -> None:
    first = FIRST - 20_000  # of another batch than the pictures, whose zip is on another host than is paused
    wanted = [*range(first, first + 10), *PICTURES]
    zips = archive_zips(PICTURES, "M")
    with serving({}) as covers_server, serving_zips({}, zips) as archive, scripted_server() as paused:
        paused.script[path(first)] = [Answer(429, headers={"Retry-After": "3600"})]
        rule = RoadRule(archive.url, share=0.001)
        with PoliteClient(user_agent(None), paused.url, (archive.url,), requests_per_minute=60_000) as client:
            report = fetch_range(lake, RANGE, wanted, Fetching(client, paused.url, "M", rule))
            asked = len(paused.asked)
            again = fetch_range(lake, RANGE, wanted, Fetching(client, paused.url, "M", rule))

        assert len(paused.asked) == asked == 1
        assert covers_server.asked == ()
    assert (report.statuses, list(report.left.values())) == ({"ok": 60}, [10])
    assert "asks to be left alone" in report.paused[0]
    assert (again.settled, list(again.left.values()), again.requests) == (60, [10], 0)


def test_where_the_covers_server_itself_resolves_to_a_private_address_no_cover_is_judged(
    lake: Lake, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The one thing that cannot run for real here is the name service, of a network that wants a log-in first.
    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **more: resolve("127.0.0.1", *rest, **more))
    address = server.url.replace("127.0.0.1", "covers.example.org")

    with (
        PoliteClient(user_agent("me@example.org"), address, requests_per_minute=60_000) as client,
        pytest.raises(BlockedHostError, match="log-in page"),
    ):
        fetch_batch(lake, BATCH, range(FIRST, FIRST + 40), Fetching(client, address, "M"))

    assert (ledger(lake), server.asked) == ({}, [])


def test_a_turn_taken_for_a_private_address_is_given_back(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = server.url.replace("127.0.0.1", "covers.example.org")
    resolve = socket.getaddrinfo
    breaker = Breaker(streak=1, first_pause=0.01, longest_pause=0.01, openings=100, probe=3600)
    client = PoliteClient(user_agent("me@example.org"), address, requests_per_minute=1e9, breaker=breaker)
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **more: resolve("127.0.0.1", *rest, **more))

    for _ in range(3):  # of which the second is on trial: kept, its turn would be waited for an hour
        with pytest.raises(BlockedHostError):
            client.get(f"{address}/cover")

    assert client.metrics.opened == 3


def test_a_whole_zip_that_would_not_be_here_in_time_is_not_begun(lake: Lake) -> None:
    with serving_zips(PICTURES, archive_zips(PICTURES, "M")) as server:
        rule = RoadRule(server.url, "bulk_whole")
        with PoliteClient(user_agent(None), server.url, requests_per_minute=60_000) as client:
            how = Fetching(client, server.url, "M", rule, limits=Limits(seconds=20))
            report = fetch_batch(lake, BATCH, list(PICTURES), how)

        name = archive_zip(server.url, BATCH, "M").url.rpartition("/")[2]
        assert {each.status for each in server.asked if each.path.endswith(name)} == {302, 206}
    assert (report.roads, report.statuses) == ({"bulk_members": 1}, {"ok": 60})


def test_a_road_is_chosen_among_those_that_end_in_time() -> None:
    rule, wanted = RoadRule("https://archive.org"), range(FIRST, FIRST + 10_000)

    whole = choose_road(rule, BATCH, wanted, "L")
    hurried = choose_road(rule, BATCH, wanted, "L", within=whole.seconds - 1)

    assert (whole.road, hurried.road) == ("bulk_whole", "bulk_members")
    assert choose_road(rule, BATCH, wanted, "L", within=whole.seconds).road == "bulk_whole"


def test_the_wait_for_another_run_is_told_and_is_not_the_batchs_own_time(
    lake: Lake, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    reports = []
    with serving({FIRST: jpeg(1)}) as server, PoliteClient(user_agent(None), server.url) as client:
        how = Fetching(client, server.url, "M", limits=Limits(seconds=1))
        waiting = threading.Thread(target=lambda: reports.append(fetch_batch(lake, BATCH, [FIRST], how)))
        with CoverFile.open(lake, BATCH):
            waiting.start()
            wait_until(lambda: "waiting for it to end" in caplog.text)
            time.sleep(1.2)  # longer than the batch may take
        waiting.join()

    assert f"process {os.getpid()} is at the covers of batch {BATCH}" in caplog.text
    assert reports[0].statuses == {"ok": 1}


def test_a_part_that_another_machine_merges_at_once_is_no_error(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    from book_search.openlibrary import cover_parts

    with serving({FIRST + number: jpeg(number) for number in range(20)}) as server:
        read = cover_parts._read

        def merged_first(of: Lake, part: str) -> object:
            """The other machine: it merges the part between its writing and its being read back."""
            if part in parts_of(of, BATCH):
                monkeypatch.setattr(cover_parts, "_read", read)
                other = CoverFile(of, BATCH, rows=dict(cover_parts.read_stored(of, BATCH).rows), _changed=True)
                other.finish()
            return read(of, part)

        monkeypatch.setattr(cover_parts, "_read", merged_first)
        with PoliteClient(user_agent(None), server.url, requests_per_minute=60_000) as client:
            how = Fetching(client, server.url, "M")
            report = fetch_batch(lake, BATCH, range(FIRST, FIRST + 20), how, save_every=8)

        assert len(server.asked) == 20
    assert report.statuses == {"ok": 20}
    assert read_ledger(lake, RANGE).num_rows == 20
