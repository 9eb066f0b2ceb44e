"""Fetching dumps, from a real server that breaks off, refuses, and forgets what a range is."""

import gzip
import hashlib
import json
import os
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from book_search.lake import Lake
from book_search.openlibrary.download import HttpStatusError, Retry
from book_search.openlibrary.dumps import (
    DamagedDumpError,
    DumpError,
    DumpNotFoundError,
    EmptyDumpError,
    current_dump,
    fetch_dump,
    find_latest,
)

AGENT = "book_search tests (mailto:tests@example.org)"
LINES = "".join(f"/type/edition\t/books/OL{n}M\t1\t2026\t{random.Random(n).random()}\n" for n in range(20_000))
CONTENT = gzip.compress(LINES.encode(), 6, mtime=0)


@dataclass
class Publisher:
    """What the server serves and how it misbehaves: one entry of `moods` is used up by each request for a body.

    A mood is bytes after which the connection breaks, an HTTP status to refuse with, or "no range".
    """

    files: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    moods: list[int | str] = field(default_factory=list)
    requests: list[tuple[str, str, str | None, str | None]] = field(default_factory=list)
    url: str = ""

    def publish(self, day: str, content: bytes = CONTENT, kind: str = "editions") -> None:
        """A dump, and the address of the latest that leads to it over a mirror."""
        name = f"ol_dump_{kind}_{day}.txt.gz"
        self.redirects[f"/data/ol_dump_{kind}_latest.txt.gz"] = f"/download/ol_dump_{day}/{name}"
        self.redirects[f"/download/ol_dump_{day}/{name}"] = f"/mirror/{name}"
        self.files[f"/mirror/{name}"] = content

    def bodies(self) -> list[str | None]:
        """The Range of each request for a file's body."""
        return [span for method, path, span, _ in self.requests if method == "GET" and path.startswith("/mirror/")]


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    """An Open Library on loopback."""
    state = Publisher()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, body: bool) -> None:
            path, span = urlsplit(self.path).path, self.headers["Range"]
            state.requests.append((self.command, path, span, self.headers["User-Agent"]))
            if target := state.redirects.get(path):
                self.reply(302, {"Location": target})
            elif path not in state.files:
                self.reply(404, {})
            else:
                self.serve(state.files[path], span, body)

        def serve(self, content: bytes, span: str | None, body: bool) -> None:
            tag = f'"{hashlib.sha256(content).hexdigest()[:12]}"'
            headers = {"ETag": tag, "Last-Modified": formatdate(0, usegmt=True)}
            mood = state.moods.pop(0) if body and state.moods else None
            if isinstance(mood, int) and 400 <= mood < 600:
                self.reply(mood, {"Retry-After": "7"})
                return
            start = int(span.removeprefix("bytes=").rstrip("-")) if span and mood != "no range" else 0
            if start and self.headers.get("If-Range", tag) != tag:
                start = 0
            if start >= len(content) > 0:
                self.reply(416, {"Content-Range": f"bytes */{len(content)}"})
                return
            if start:
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            part = content[start:]
            self.reply(206 if start else 200, headers, len(part))
            if body:
                self.wfile.write(part[:mood] if isinstance(mood, int) else part)
                if isinstance(mood, int):
                    self.close_connection = True

        def reply(self, status: int, headers: dict[str, str], length: int = 0) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(length))
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def waits() -> list[float]:
    """The seconds that were asked to wait, instead of the waiting."""
    return []


@pytest.fixture
def retry(waits: list[float]) -> Retry:
    """A patience that does not cost time."""
    return Retry(attempts=3, sleep=waits.append)


def test_the_latest_dump_is_found_by_the_dated_address_that_it_leads_to(publisher: Publisher) -> None:
    publisher.publish("2026-09-30")

    release = find_latest("editions", publisher.url + "/", AGENT)

    assert release.date == date(2026, 9, 30)
    assert release.url == f"{publisher.url}/download/ol_dump_2026-09-30/ol_dump_editions_2026-09-30.txt.gz"
    assert release.size == len(CONTENT)
    assert {method for method, *_ in publisher.requests} == {"HEAD"}
    assert {agent for *_, agent in publisher.requests} == {AGENT}


def test_a_dump_is_fetched_checked_and_recorded(publisher: Publisher, lake: Lake) -> None:
    publisher.publish("2026-09-30")
    seen: list[tuple[int, int | None]] = []

    record = fetch_dump(
        lake, find_latest("editions", publisher.url, AGENT), AGENT, lambda done, total: seen.append((done, total))
    )

    assert record.changed
    assert record.path == "dumps/editions/ol_dump_editions_2026-09-30.txt.gz"
    assert lake.read_bytes(record.path) == CONTENT
    assert record.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert current_dump(lake, "editions") == type(record)(**{**record.__dict__, "changed": False})
    assert {agent for *_, agent in publisher.requests} == {AGENT}
    assert list((lake.work / "downloads").iterdir()) == []


def test_a_second_fetch_asks_for_no_body(publisher: Publisher, lake: Lake) -> None:
    publisher.publish("2026-09-30")
    fetch_dump(lake, find_latest("editions", publisher.url, AGENT), AGENT)
    publisher.requests.clear()

    again = fetch_dump(lake, find_latest("editions", publisher.url, AGENT), AGENT)

    assert not again.changed
    assert publisher.bodies() == []


def test_a_broken_download_goes_on_where_it_broke(publisher: Publisher, lake: Lake, retry: Retry) -> None:
    publisher.publish("2026-09-30")
    publisher.moods = [50_000, 20_000]

    record = fetch_dump(lake, find_latest("editions", publisher.url, AGENT), AGENT, retry=retry)

    assert publisher.bodies() == [None, "bytes=50000-", "bytes=70000-"]
    assert lake.read_bytes(record.path) == CONTENT


def test_a_killed_download_is_gone_on_with_by_the_next_run(publisher: Publisher, lake: Lake, retry: Retry) -> None:
    publisher.publish("2026-09-30")
    publisher.moods = [50_000, 503, 503]
    with pytest.raises(DumpError, match="start again to go on"):
        fetch_dump(lake, find_latest("editions", publisher.url, AGENT), AGENT, retry=retry)
    publisher.requests.clear()

    record = fetch_dump(lake, find_latest("editions", publisher.url, AGENT), AGENT, retry=retry)

    assert publisher.bodies() == ["bytes=50000-"]
    assert lake.read_bytes(record.path) == CONTENT


def test_a_refusal_is_waited_out_as_long_as_the_server_says(
    publisher: Publisher, lake: Lake, retry: Retry, waits: list[float]
) -> None:
    publisher.publish("2026-09-30")
    publisher.moods = [503, 429]

    fetch_dump(lake, find_latest("editions", publisher.url, AGENT), AGENT, retry=retry)

    assert waits == [7, 7]


def test_a_server_that_ignores_the_range_costs_time_but_no_harm(publisher: Publisher, lake: Lake, retry: Retry) -> None:
    publisher.publish("2026-09-30")
    publisher.moods = [50_000, "no range"]

    record = fetch_dump(lake, find_latest("editions", publisher.url, AGENT), AGENT, retry=retry)

    assert publisher.bodies() == [None, "bytes=50000-"]
    assert lake.read_bytes(record.path) == CONTENT


def test_a_file_that_changed_since_the_break_is_begun_anew(publisher: Publisher, lake: Lake, retry: Retry) -> None:
    publisher.publish("2026-09-30")
    publisher.moods = [50_000, 503, 503]
    with pytest.raises(DumpError):
        fetch_dump(lake, find_latest("editions", publisher.url, AGENT), AGENT, retry=retry)
    other = gzip.compress(LINES[::-1].encode(), mtime=0)
    publisher.publish("2026-09-30", other)

    record = fetch_dump(lake, find_latest("editions", publisher.url, AGENT), AGENT, retry=retry)

    assert lake.read_bytes(record.path) == other


def test_a_newer_dump_takes_the_place_of_the_older_and_never_the_reverse(publisher: Publisher, lake: Lake) -> None:
    publisher.publish("2026-08-31", gzip.compress(b"old\n"))
    old = find_latest("editions", publisher.url, AGENT)
    fetch_dump(lake, old, AGENT)
    publisher.publish("2026-09-30")
    fetch_dump(lake, find_latest("editions", publisher.url, AGENT), AGENT)

    again = fetch_dump(lake, old, AGENT)

    assert (again.date, again.changed) == (date(2026, 9, 30), False)
    assert lake.names("dumps/editions") == [
        "dumps/editions/ol_dump_editions_2026-09-30.rejects.parquet",
        "dumps/editions/ol_dump_editions_2026-09-30.txt.gz",
    ]


@pytest.mark.parametrize("empty", [b"", gzip.compress(b"")])
def test_an_empty_dump_replaces_nothing(publisher: Publisher, lake: Lake, empty: bytes) -> None:
    publisher.publish("2026-08-31")
    fetch_dump(lake, find_latest("editions", publisher.url, AGENT), AGENT)
    publisher.publish("2026-09-30", empty)

    with pytest.raises(EmptyDumpError, match="The dump of 2026-08-31 stays current"):
        fetch_dump(lake, find_latest("editions", publisher.url, AGENT), AGENT)

    record = current_dump(lake, "editions")
    assert record is not None
    assert (record.date, lake.read_bytes(record.path)) == (date(2026, 8, 31), CONTENT)


@pytest.mark.parametrize(
    "broken",
    [CONTENT[:-9], CONTENT[:5_000] + b"\xff\xff\xff\xff" + CONTENT[5_004:], b"<html>Sorry, maintenance</html>" * 9],
    ids=["cut off", "bytes flipped", "a web page"],
)
def test_a_damaged_dump_is_fetched_once_more_and_then_refused(publisher: Publisher, lake: Lake, broken: bytes) -> None:
    publisher.publish("2026-09-30", broken)

    with pytest.raises(DamagedDumpError, match="no older dump to go on with"):
        fetch_dump(lake, find_latest("editions", publisher.url, AGENT), AGENT)

    assert publisher.bodies() == [None, None]
    assert current_dump(lake, "editions") is None
    assert lake.names("dumps/editions") == []


def test_a_damage_on_the_way_is_healed_by_the_second_fetch(publisher: Publisher, lake: Lake, retry: Retry) -> None:
    publisher.publish("2026-09-30")
    release = find_latest("editions", publisher.url, AGENT)
    publisher.moods = [50_000, 503, 503]
    with pytest.raises(DumpError):
        fetch_dump(lake, release, AGENT, retry=retry)
    (part,) = (lake.work / "downloads").glob("*.part")
    part.write_bytes(b"\xff" * part.stat().st_size)

    record = fetch_dump(lake, release, AGENT, retry=retry)

    assert lake.read_bytes(record.path) == CONTENT


def test_a_missing_dump_is_named_in_the_error(publisher: Publisher) -> None:
    with pytest.raises(DumpNotFoundError, match="no dump of works at http"):
        find_latest("works", publisher.url, AGENT)


def test_a_kind_that_does_not_exist_is_refused(publisher: Publisher) -> None:
    with pytest.raises(ValueError, match="editions, works, authors, redirects"):
        find_latest("covers", publisher.url, AGENT)


def test_without_a_dump_of_redirects_the_road_goes_on(publisher: Publisher, lake: Lake) -> None:
    release = find_latest("redirects", publisher.url, AGENT)

    first, second = fetch_dump(lake, release, AGENT), fetch_dump(lake, release, AGENT)

    assert not first.published
    assert (first.changed, second.changed) == (True, False)
    assert gzip.decompress(lake.read_bytes(first.path)) == b""

    publisher.publish("2026-09-30", gzip.compress(b"/type/redirect\n"), "redirects")
    then = fetch_dump(lake, find_latest("redirects", publisher.url, AGENT), AGENT)
    publisher.redirects.clear()
    stays = fetch_dump(lake, find_latest("redirects", publisher.url, AGENT), AGENT)
    assert then.published
    assert (stays.path, stays.changed) == (then.path, False)


def test_a_refusal_for_good_is_not_asked_again(
    publisher: Publisher, lake: Lake, waits: list[float], retry: Retry
) -> None:
    publisher.publish("2026-09-30")
    publisher.moods = [403]

    with pytest.raises(HttpStatusError, match="answered HTTP 403"):
        fetch_dump(lake, find_latest("editions", publisher.url, AGENT), AGENT, retry=retry)

    assert waits == []


def test_redirects_in_a_circle_end_in_an_error(publisher: Publisher) -> None:
    publisher.redirects = {"/data/ol_dump_works_latest.txt.gz": "/x", "/x": "/data/ol_dump_works_latest.txt.gz"}

    with pytest.raises(DumpError, match="leads on through more than"):
        find_latest("works", publisher.url, AGENT)


def test_a_direct_address_needs_no_latest(publisher: Publisher) -> None:
    publisher.publish("2026-09-30")

    release = find_latest("editions", publisher.url + "/mirror/ol_dump_{kind}_2026-09-30.txt.gz", AGENT)

    assert (release.date, release.size) == (date(2026, 9, 30), len(CONTENT))


def test_a_folder_of_dumps_is_a_source(tmp_path: Path, lake: Lake) -> None:
    for day in ("2026-08-31", "2026-09-30"):
        (tmp_path / f"ol_dump_editions_{day}.txt.gz").write_bytes(CONTENT)

    release = find_latest("editions", tmp_path.as_uri(), AGENT)
    record, again = fetch_dump(lake, release, AGENT), fetch_dump(lake, release, AGENT)

    assert (record.date, record.changed, again.changed) == (date(2026, 9, 30), True, False)
    assert record.source_url == (tmp_path / "ol_dump_editions_2026-09-30.txt.gz").as_uri()
    assert lake.read_bytes(record.path) == CONTENT


def test_a_changed_local_file_is_read_again_though_its_size_is_the_same(tmp_path: Path, lake: Lake) -> None:
    file = tmp_path / "ol_dump_editions_2026-09-30.txt.gz"
    file.write_bytes(gzip.compress(b"one\n", mtime=0))
    fetch_dump(lake, find_latest("editions", tmp_path.as_uri(), AGENT), AGENT)
    file.write_bytes(gzip.compress(b"two\n", mtime=0))
    os.utime(file, (1, 1))

    record = fetch_dump(lake, find_latest("editions", tmp_path.as_uri(), AGENT), AGENT)

    assert record.changed
    assert gzip.decompress(lake.read_bytes(record.path)) == b"two\n"


def test_a_record_without_its_file_is_no_dump(publisher: Publisher, lake: Lake) -> None:
    publisher.publish("2026-09-30")
    record = fetch_dump(lake, find_latest("editions", publisher.url, AGENT), AGENT)

    lake.delete(record.path)

    assert json.loads(lake.read_bytes("dumps/editions.json"))["date"] == "2026-09-30"
    assert current_dump(lake, "editions") is None
