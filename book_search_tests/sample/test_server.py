"""The server that plays Open Library, asked by plain urllib3 as anybody would ask the real one."""

import gzip
import time
from collections.abc import Iterator
from datetime import date
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
import urllib3

from book_search.sample.server import BLANK, Content, Faults, SampleServer

DUMP = gzip.compress(b"/type/edition\t/books/OL1M\t1\tx\t{}\n" * 500, mtime=0)
EDITIONS = "/download/ol_dump_2026-10-31/ol_dump_editions_2026-10-31.txt.gz"
ID, ARCHIVED, GONE, UNKNOWN = 14_620_000, 14_620_001, 14_620_002, 14_620_003


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SampleServer]:
    works = tmp_path / "works.gz"
    works.write_bytes(DUMP[::-1])
    covers: dict[int, bytes | int] = {ID: b"\xff\xd8\xffpicture", ARCHIVED: b"\xff\xd8\xffarchived", GONE: 410}
    content = Content(date(2026, 10, 31), {"editions": DUMP, "works": works}, covers, frozenset({ARCHIVED}))
    with SampleServer(content) as running:
        yield running


def ask(server: SampleServer, path: str, method: str = "GET", **headers: str) -> urllib3.BaseHTTPResponse:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return urllib3.request(method, server.url + path, headers=names, redirect=False, retries=False)


def test_the_latest_dump_leads_to_the_dated_one(server: SampleServer) -> None:
    latest = ask(server, "/data/ol_dump_editions_latest.txt.gz")

    assert (latest.status, latest.headers["Location"]) == (302, EDITIONS)
    assert ask(server, EDITIONS).data == DUMP
    assert ask(server, EDITIONS.replace("editions", "works")).data == DUMP[::-1]
    assert ask(server, "/data/ol_dump_authors_latest.txt.gz").status == 404
    assert ask(server, EDITIONS.replace("2026", "2025")).status == 404


def test_a_dump_is_served_from_any_byte_on(server: SampleServer) -> None:
    head = ask(server, EDITIONS, "HEAD")
    tag = head.headers["ETag"]
    rest = ask(server, EDITIONS, Range="bytes=100-", If_Range=tag)
    part = ask(server, EDITIONS, Range="bytes=0-9")

    assert (head.status, int(head.headers["Content-Length"]), head.data) == (200, len(DUMP), b"")
    assert (rest.status, rest.data) == (206, DUMP[100:])
    assert rest.headers["Content-Range"] == f"bytes 100-{len(DUMP) - 1}/{len(DUMP)}"
    assert part.data == DUMP[:10]
    assert ask(server, EDITIONS, Range="bytes=100-", If_Range='"another"').data == DUMP
    assert ask(server, EDITIONS, Range=f"bytes={len(DUMP)}-").status == 416


@pytest.mark.parametrize("size", ["S", "M", "L"])
def test_covers_are_served_by_id(server: SampleServer, size: str) -> None:
    found = ask(server, f"/b/id/{ID}-{size}.jpg?default=false")
    archived = ask(server, f"/b/id/{ARCHIVED}-{size}.jpg?default=false")

    assert (found.status, found.data) == (200, b"\xff\xd8\xffpicture")
    assert archived.status == 302
    item = f"{size.lower()}_covers_0014"
    assert archived.headers["Location"] == f"/download/{item}/{item}_62.zip/0014620001-{size}.jpg"
    assert ask(server, archived.headers["Location"]).data == b"\xff\xd8\xffarchived"


def test_an_absent_cover_is_404_only_where_no_default_is_wanted(server: SampleServer) -> None:
    absent, blank = ask(server, f"/b/id/{UNKNOWN}-M.jpg?default=false"), ask(server, f"/b/id/{UNKNOWN}-M.jpg")

    assert (absent.status, blank.status, blank.data) == (404, 200, BLANK)
    assert ask(server, f"/b/id/{GONE}-M.jpg").status == 410


def test_other_addresses_are_not_found(server: SampleServer) -> None:
    for path in ("/", "/b/isbn/9780000000002-M.jpg", f"/b/id/{ID}-X.jpg", f"/b/id/{ID}.jpg", "/../etc/passwd"):
        assert ask(server, path).status == 404


def test_it_counts_what_it_is_asked(server: SampleServer) -> None:
    for _ in range(3):
        ask(server, f"/b/id/{ID}-M.jpg?default=false", User_Agent="a test")
    ask(server, "/nothing")

    assert server.counts() == {200: 3, 404: 1}
    assert server.busiest(60) == 4
    assert server.busiest(1e-9) == 1
    first = server.asked[0]
    assert (first.method, first.path, first.user_agent) == ("GET", f"/b/id/{ID}-M.jpg", "a test")
    server.forget()
    assert server.asked == ()


def test_faults_come_by_seed_and_pass(server: SampleServer) -> None:
    covers: dict[int, bytes | int] = dict.fromkeys(range(300), b"\xff\xd8\xff picture")

    def statuses(seed: int) -> list[list[int]]:
        faults = Faults(seed, throttled=0.1, unavailable=0.2, broken=0.1)
        with SampleServer(Content(date(2026, 10, 31), {}, covers), faults) as faulty:
            pool = urllib3.PoolManager(retries=False)
            answers = []
            for number in range(60):
                answers.append([])
                for _ in range(3):
                    try:
                        answers[-1].append(pool.request("GET", f"{faulty.url}/b/id/{number}-M.jpg").status)
                    except urllib3.exceptions.ProtocolError:
                        answers[-1].append(0)
            return answers

    first = statuses(seed=1)
    assert statuses(seed=1) == first
    assert statuses(seed=2) != first
    assert {answer for answers in first for answer in answers} == {0, 200, 429, 503}
    assert {answers[2] for answers in first} == {200}  # never three times in a row


@pytest.mark.parametrize("retry_date", [False, True])
def test_a_refusal_says_when_to_come_back(retry_date: bool) -> None:
    faults = Faults(throttled=1.0, retry_after=30, retry_date=retry_date)
    with SampleServer(Content(date(2026, 10, 31), {}, {ID: b"x"}), faults) as server:
        refused = ask(server, f"/b/id/{ID}-M.jpg")

    assert (refused.status, refused.json()) == (429, {"error": "too many requests"})
    said = refused.headers["Retry-After"]
    seconds = parsedate_to_datetime(said).timestamp() - time.time() if retry_date else float(said)
    assert 25 < seconds <= 30


def test_a_stopped_server_frees_its_port() -> None:
    with SampleServer(Content(date(2026, 10, 31), {}, {})) as first:
        port = first.port
    with SampleServer(Content(date(2026, 10, 31), {}, {}), port=port) as second:
        assert second.url == f"http://127.0.0.1:{port}"
        assert ask(second, "/").status == 404
