"""Bodies too large to hold, parts of them, and all that can happen to a body on its way: asked of the sample server."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

import pytest

from book_search.openlibrary.http import (
    BlockedHostError,
    BrokenOffError,
    GaveUpError,
    PoliteClient,
    TooLargeError,
    user_agent,
)
from book_search.sample.server import Content, Faults, SampleServer
from book_search_tests.openlibrary.fake_time import FakeTime
from book_search_tests.openlibrary.scripted_server import Answer, ScriptedServer, scripted_server

DUMP = bytes(range(256)) * 4000
DUMP_PATH = "/download/ol_dump_2026-10-31/ol_dump_works_2026-10-31.txt.gz"
COVER = b"\xff\xd8\xff" + b"a picture" * 5000


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted_server() as running:
        yield running


@contextmanager
def sample(**faults: Any) -> Iterator[SampleServer]:
    content = Content(date(2026, 10, 31), {"works": DUMP}, dict.fromkeys(range(100), COVER))
    with SampleServer(content, Faults(**faults)) as running:
        yield running


def client_of(url: str, **options: Any) -> PoliteClient:
    return PoliteClient(user_agent(None), url, **{"requests_per_minute": 1e9, "backoff": 0.001, **options})


def cover(server: SampleServer, cover_id: int = 7) -> str:
    return f"{server.url}/b/id/{cover_id}-L.jpg?default=false"


def test_a_large_body_comes_in_pieces() -> None:
    with sample() as server, client_of(server.url, max_bytes=10) as client:
        with client.open(server.url + DUMP_PATH, max_bytes=len(DUMP)) as stream:
            assert (stream.status, stream.attempts, stream.url) == (200, 1, server.url + DUMP_PATH)
            assert stream.headers["Content-Length"] == str(len(DUMP))
            pieces = list(stream)

        assert b"".join(pieces) == DUMP
        assert max(map(len, pieces)) <= 1 << 16
        assert (client.metrics.bytes, client.metrics.by_status) == (len(DUMP), {200: 1})


def test_a_part_of_a_file_is_had_by_its_range() -> None:
    with sample() as server, client_of(server.url) as client:
        part = client.get(server.url + DUMP_PATH, {"Range": "bytes=10-19"}, max_bytes=10)
        with client.open(server.url + DUMP_PATH, {"Range": f"bytes={len(DUMP) - 3}-"}) as stream:
            rest = b"".join(stream)
        beyond = client.get(server.url + DUMP_PATH, {"Range": f"bytes={len(DUMP)}-"})

    assert (part.status, part.body, part.headers["Content-Range"]) == (206, DUMP[10:20], f"bytes 10-19/{len(DUMP)}")
    assert (stream.status, rest) == (206, DUMP[-3:])
    assert (beyond.status, beyond.headers["Content-Range"], beyond.attempts) == (416, f"bytes */{len(DUMP)}", 1)


def test_a_stream_is_asked_for_again_until_its_first_bytes_are_here(server: ScriptedServer) -> None:
    server.script["/zip"] = [
        Answer(503),
        Answer(body=b"", length=5),
        Answer(302, headers={"Location": "/node"}),
    ]
    server.script["/node"] = [Answer(body=b"a whole zip")]

    with client_of(server.url) as client, client.open(f"{server.url}/zip") as stream:
        assert b"".join(stream) == b"a whole zip"
        assert (stream.attempts, stream.url) == (3, f"{server.url}/node")
        assert client.metrics.retries == 2


def test_a_stream_that_breaks_off_says_how_far_it_came(server: ScriptedServer) -> None:
    server.script["/zip"] = [Answer(body=b"half", length=8)]

    with client_of(server.url) as client, client.open(f"{server.url}/zip") as stream:
        pieces: list[bytes] = []
        with pytest.raises(BrokenOffError, match="after 4 bytes") as broken:
            pieces.extend(stream)

    assert (pieces, broken.value.received, broken.value.http_status) == ([b"half"], 4, 200)
    assert len(server.asked) == 1
    assert client.metrics.by_status == {0: 1}


def test_a_stream_beyond_its_cap_ends(server: ScriptedServer) -> None:
    server.script["/declared"] = [Answer(body=b"x" * 2000)]
    server.script["/undeclared"] = [Answer(body=b"x" * 200_000, chunked=True)]

    with client_of(server.url) as client:
        with pytest.raises(TooLargeError):
            client.open(f"{server.url}/declared", max_bytes=1000)
        with pytest.raises(TooLargeError), client.open(f"{server.url}/undeclared", max_bytes=100_000) as stream:
            list(stream)


def test_a_stream_that_drips_is_given_up_and_one_that_flows_may_take_its_time(server: ScriptedServer) -> None:
    server.script["/drip"] = [Answer(body=b"x" * 100, pause=0.02)]

    with (
        client_of(server.url, deadline=0.3) as client,
        pytest.raises(BrokenOffError, match="too slow"),
        client.open(f"{server.url}/drip") as stream,
    ):
        list(stream)

    with sample(dripping=1.0, drip_pause=0.1) as flowing, client_of(flowing.url, deadline=0.3, attempts=1) as client:
        with pytest.raises(GaveUpError, match="not complete"):
            client.get(cover(flowing, 1))
        with client.open(cover(flowing, 2)) as stream:
            assert b"".join(stream) == COVER


def test_a_slow_reader_is_not_taken_for_a_slow_server() -> None:
    fake = FakeTime()
    with sample() as server, client_of(server.url, clock=fake.clock, sleep=fake.sleep, deadline=5) as client:
        with client.open(server.url + DUMP_PATH) as stream:
            for _ in stream:
                fake.now += 100

        assert stream.received == len(DUMP)


def test_a_stream_that_is_left_costs_no_more_than_what_was_read() -> None:
    with sample() as server, client_of(server.url) as client:
        with client.open(server.url + DUMP_PATH) as stream:
            next(iter(stream))

        assert client.metrics.bytes < len(DUMP)
        assert client.metrics.by_status == {200: 1}
        assert client.get(cover(server)).body == COVER


@pytest.mark.parametrize("fault", ["unavailable", "throttled_silently", "broken", "reset", "length_too_long"])
def test_what_may_pass_is_asked_for_again_and_no_half_picture_is_taken(fault: str) -> None:
    with sample(**{fault: 1.0}) as server, client_of(server.url) as client:
        response = client.get(cover(server))

        assert (response.status, response.body, response.attempts) == (200, COVER, 3)
        assert len(server.asked) == 3


def test_a_slow_drip_of_a_whole_picture_is_waited_for() -> None:
    with sample(dripping=1.0, drip_pause=0.01) as server, client_of(server.url) as client:
        assert client.get(cover(server)).body == COVER
        assert len(server.asked) == 1


def test_a_length_that_is_too_short_does_not_spoil_the_next_answer() -> None:
    with sample(length_too_short=1.0) as server, client_of(server.url) as client:
        first, second = client.get(cover(server, 1)), client.get(cover(server, 2))

    assert first.body == second.body == COVER[: len(COVER) // 2]


def test_a_page_in_a_pictures_name_is_an_answer_as_any_other() -> None:
    with sample(page=1.0) as server, client_of(server.url) as client:
        page = client.get(cover(server))

    assert (page.status, page.headers["Content-Type"], page.attempts) == (200, "text/html", 1)


def test_a_redirect_to_elsewhere_is_not_followed() -> None:
    with sample() as elsewhere, sample(elsewhere=1.0, elsewhere_url=elsewhere.url) as server:
        with client_of(server.url) as client, pytest.raises(BlockedHostError):
            client.get(cover(server))

        assert (len(server.asked), elsewhere.asked) == (1, ())


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 416, 451])
def test_the_server_is_asked_once_for_what_will_not_change(status: int) -> None:
    with SampleServer(Content(date(2026, 10, 31), {}, {7: status})) as server, client_of(server.url) as client:
        assert client.get(cover(server)).status == status
        assert server.counts() == {status: 1}


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 507])
def test_the_server_is_asked_as_often_as_it_may_for_what_may_pass(status: int) -> None:
    with SampleServer(Content(date(2026, 10, 31), {}, {7: status})) as server:
        with client_of(server.url, attempts=4) as client, pytest.raises(GaveUpError):
            client.get(cover(server))
        assert server.counts() == {status: 4}


def test_a_redirect_or_a_refusal_with_an_endless_body_is_no_burden(server: ScriptedServer) -> None:
    endless = b"x" * 3_000_000
    server.script["/cover"] = [
        Answer(503, body=endless),
        Answer(302, body=endless, headers={"Location": "/moved"}),
    ]
    server.script["/moved"] = [Answer(body=b"a picture")]

    with client_of(server.url, max_bytes=100) as client:
        assert client.get(f"{server.url}/cover").body == b"a picture"
        assert client.metrics.bytes < 300_000


@contextmanager
def answering(begin: bytes, on_and_on: bytes = b"") -> Iterator[str]:
    """A server's address: it answers one request, and goes on until the client hangs up. Fails where it does not."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        hung_up = threading.Event()

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1 << 16)
                try:
                    connection.sendall(begin)
                    while on_and_on and not hung_up.wait(0.02):
                        connection.sendall(on_and_on)
                except OSError:
                    hung_up.set()

        thread = threading.Thread(target=answer)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread.join(10)
        assert hung_up.is_set() == bool(on_and_on)


def test_headers_that_drip_are_given_up() -> None:
    with (
        answering(b"HTTP/1.1 200 OK\r\nX-Endless: ", b"x") as url,
        client_of(url, deadline=0.3, attempts=1) as client,
        pytest.raises(GaveUpError, match="ReadTimeoutError"),
    ):
        client.get(url)


def test_trailers_without_end_are_given_up() -> None:
    begin = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"
    with (
        answering(begin, b"X-Trailer: y\r\n") as url,
        client_of(url, deadline=0.3, attempts=1) as client,
        pytest.raises(GaveUpError, match="ReadTimeoutError"),
    ):
        client.get(url)


@pytest.mark.parametrize("length", [b"\xb2", b"9" * 5000], ids=["a digit to Python alone", "more than it counts to"])
def test_a_length_that_is_no_number_of_bytes_is_not_believed(length: bytes) -> None:
    begin = b"HTTP/1.1 200 OK\r\nContent-Length: " + length + b"\r\n\r\na body"
    with answering(begin) as url, client_of(url, attempts=1) as client:
        assert client.get(url).body == b"a body"
