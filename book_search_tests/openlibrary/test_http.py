"""How we ask: whom, how often, how patiently, and how much we take."""

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from book_search import __version__
from book_search.openlibrary.breaker import Breaker
from book_search.openlibrary.host_states import SharedHostStates
from book_search.openlibrary.http import (
    BlockedHostError,
    GaveUpError,
    HostPausedError,
    MissingContactError,
    PoliteClient,
    Response,
    TooLargeError,
    require_contact,
    user_agent,
)
from book_search.openlibrary.ledger import next_try
from book_search.openlibrary.limits import Budget, BudgetSpentError, OutsideWindowError, Window
from book_search_tests.openlibrary.fake_time import FakeTime
from book_search_tests.openlibrary.scripted_server import Answer, ScriptedServer, scripted_server

FAST = 60_000.0  # requests a minute: no pace to speak of


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted_server() as running:
        yield running


@pytest.fixture
def fake() -> FakeTime:
    return FakeTime()


def client_of(server: ScriptedServer, fake: FakeTime | None = None, **options: Any) -> PoliteClient:
    if fake is not None:
        options |= {"clock": fake.clock, "sleep": fake.sleep}
    return PoliteClient(user_agent(None), server.url, **{"requests_per_minute": FAST, **options})


def test_every_request_says_who_asks_and_how_to_reach_them(server: ScriptedServer) -> None:
    server.script["/cover"] = [Answer(302, headers={"Location": "/moved"})]
    server.script["/moved"] = [Answer()]

    with PoliteClient(user_agent("me@example.org"), server.url, requests_per_minute=FAST) as client:
        client.get(f"{server.url}/cover")

    agents = [headers["User-Agent"] for _, _, headers in server.asked]
    assert agents == [f"book_search/{__version__} (+https://github.com/book-search/book_search; me@example.org)"] * 2


@pytest.mark.parametrize(
    "contact", ["nobody", "me at example.org", "me@example.org)", "a@b\r\nX-Evil: 1", "(me@example.org"]
)
def test_a_contact_that_nobody_could_write_to_is_refused(contact: str) -> None:
    with pytest.raises(MissingContactError, match="BOOK_SEARCH_CONTACT"):
        user_agent(contact)


def test_a_real_host_is_not_asked_without_a_contact() -> None:
    with pytest.raises(MissingContactError, match="set BOOK_SEARCH_CONTACT"):
        PoliteClient(user_agent(None), "https://covers.openlibrary.org")
    require_contact(user_agent(None), "http://localhost:8000/")
    require_contact(user_agent("https://example.org/us"), "https://covers.openlibrary.org")


def test_a_redirect_to_a_real_host_needs_a_contact_too(server: ScriptedServer) -> None:
    server.script["/cover"] = [Answer(302, headers={"Location": "https://archive.org/download/cover.jpg"})]

    with client_of(server, allowed_urls=("https://archive.org",)) as client, pytest.raises(MissingContactError):
        client.get(f"{server.url}/cover")


def test_a_redirect_to_another_server_of_this_machine_is_not_followed(server: ScriptedServer) -> None:
    with scripted_server() as inner:
        inner.script["/secret"] = [Answer()]
        server.script["/cover"] = [Answer(302, headers={"Location": f"{inner.url}/secret"})]

        with client_of(server) as client, pytest.raises(BlockedHostError) as blocked:
            client.get(f"{server.url}/cover")

        assert (blocked.value.http_status, blocked.value.attempts) == (302, 1)
        assert blocked.value.url == f"{inner.url}/secret"
        assert inner.asked == []


def test_a_public_name_that_resolves_to_this_machine_is_not_asked(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The one thing that cannot run for real here is the name service.
    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **more: resolve("127.0.0.1", *rest, **more))
    address = server.url.replace("127.0.0.1", "covers.example.org")

    with (
        PoliteClient(user_agent("me@example.org"), address, requests_per_minute=FAST) as client,
        pytest.raises(BlockedHostError, match="not public"),
    ):
        client.get(f"{address}/cover")

    assert server.asked == []


def test_a_circle_of_redirects_ends(server: ScriptedServer) -> None:
    server.script["/a"] = [Answer(302, headers={"Location": "/b"})]
    server.script["/b"] = [Answer(302, headers={"Location": "/a"})]

    with client_of(server) as client, pytest.raises(GaveUpError, match="redirects"):
        client.get(f"{server.url}/a")

    assert len(server.asked) == 6


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_refusals_that_may_pass_are_tried_again(server: ScriptedServer, fake: FakeTime, status: int) -> None:
    server.script["/cover"] = [Answer(status), Answer(status), Answer(body=b"at last")]

    response = client_of(server, fake).get(f"{server.url}/cover")

    assert (response.status, response.body, response.attempts) == (200, b"at last", 3)


@pytest.mark.parametrize("status", [400, 403, 404, 410])
def test_answers_that_will_not_change_are_taken_at_once(server: ScriptedServer, fake: FakeTime, status: int) -> None:
    server.script["/cover"] = [Answer(status)]

    response = client_of(server, fake).get(f"{server.url}/cover")

    assert (response.status, response.attempts, len(server.asked)) == (status, 1, 1)


def test_attempts_are_bounded_and_the_waits_between_them_grow(server: ScriptedServer, fake: FakeTime) -> None:
    server.script["/cover"] = [Answer(503)]
    most = [0.0] * 5

    for _ in range(30):
        fake.slept.clear()
        with pytest.raises(GaveUpError) as gave_up:
            client_of(server, fake, attempts=6, backoff=1.0, requests_per_minute=1e9).get(f"{server.url}/cover")
        waits = [seconds for seconds in fake.slept if seconds > 1e-6]
        assert len(waits) == 5
        assert all(wait <= 2**n for n, wait in enumerate(waits))
        most = [max(pair) for pair in zip(most, waits, strict=True)]

    assert (gave_up.value.attempts, gave_up.value.http_status) == (6, 503)
    assert len(server.asked) == 30 * 6
    assert all(wait > 2**n / 2 for n, wait in enumerate(most))  # drawn from all of [0, 2**n], not from its low end


def test_a_body_that_falls_short_is_a_failure(server: ScriptedServer, fake: FakeTime) -> None:
    server.script["/cover"] = [Answer(body=b"half", length=8), Answer(body=b"a half and a half")]

    with client_of(server, fake) as client:
        response = client.get(f"{server.url}/cover")

        assert (response.body, response.attempts) == (b"a half and a half", 2)
        assert client.metrics.by_status == {0: 1, 200: 1}


def test_a_server_that_is_not_there_is_given_up(fake: FakeTime) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    client = PoliteClient(user_agent(None), url, clock=fake.clock, sleep=fake.sleep, attempts=3)

    with pytest.raises(GaveUpError, match="after 3 attempts") as gave_up:
        client.get(f"{url}/cover")

    assert gave_up.value.http_status is None


def test_a_slow_drip_ends(server: ScriptedServer) -> None:
    server.script["/cover"] = [Answer(body=b"x" * 100, pause=0.05)]
    start = time.monotonic()

    with client_of(server, attempts=1, deadline=0.3) as client, pytest.raises(GaveUpError, match="not complete"):
        client.get(f"{server.url}/cover")

    assert time.monotonic() - start < 2


def test_a_body_beyond_the_cap_is_not_read(server: ScriptedServer) -> None:
    server.script["/declared"] = [Answer(body=b"x" * 2000)]
    server.script["/undeclared"] = [Answer(body=b"x" * 200_000, chunked=True)]
    server.script["/fits"] = [Answer(body=b"x" * 1000, chunked=True)]

    with client_of(server, max_bytes=1000) as client:
        for path in ("/declared", "/undeclared"):
            with pytest.raises(TooLargeError, match="1,000 bytes"):
                client.get(f"{server.url}{path}")
        assert len(client.get(f"{server.url}/fits").body) == 1000

    assert len(server.asked) == 3


def test_retry_after_in_seconds_is_waited_for(server: ScriptedServer) -> None:
    server.script["/cover"] = [Answer(429, headers={"Retry-After": "1"}), Answer()]

    with client_of(server, backoff=0.01) as client:
        client.get(f"{server.url}/cover")

    first, second = server.times("/cover")
    assert 1.0 <= second - first < 3


def test_retry_after_as_a_date_is_waited_for(server: ScriptedServer, fake: FakeTime) -> None:
    server.script["/cover"] = [
        Answer(503, headers={"Retry-After": formatdate(time.time() + 60, usegmt=True)}),
        Answer(),
    ]

    client_of(server, fake).get(f"{server.url}/cover")

    assert 58 <= sum(fake.slept) <= 63


@pytest.mark.parametrize(
    "header",
    [
        "soon",
        "-5",
        "Wed, 99 Foo 2026",
        "",
        "Sun, 06 Nov 99999999999999999999 08:49:37 GMT",
        "Sun, 06 Nov 2999 08:49:37 +999999999999999999",
    ],
)
def test_a_retry_after_that_says_nothing_is_no_harm(server: ScriptedServer, fake: FakeTime, header: str) -> None:
    server.script["/cover"] = [Answer(503, headers={"Retry-After": header}), Answer()]

    assert client_of(server, fake).get(f"{server.url}/cover").status == 200


@pytest.mark.parametrize("header", ["99999999999999", "9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_retry_after_beyond_all_dates_is_one_that_a_ledger_can_hold(server: ScriptedServer, header: str) -> None:
    server.script["/cover"] = [Answer(429, headers={"Retry-After": header})]

    with pytest.raises(GaveUpError) as raised, client_of(server, attempts=1) as client:
        client.get(f"{server.url}/cover")

    row_is_due = next_try("gave_up", datetime(2026, 11, 1, tzinfo=UTC), raised.value.retry_after)
    assert row_is_due is not None
    assert row_is_due.year == 2027


@pytest.mark.parametrize("location", ["http://[", "http://a:99999999/", "http://a\u00bd.org/"])
def test_a_redirect_to_what_is_no_address_is_blocked(server: ScriptedServer, location: str) -> None:
    server.script["/cover"] = [Answer(302, headers={"Location": location})]

    with pytest.raises(BlockedHostError) as raised, client_of(server) as client:
        client.get(f"{server.url}/cover")

    assert (raised.value.http_status, raised.value.attempts) == (302, 1)


def test_a_refusal_pauses_everybody(server: ScriptedServer) -> None:
    server.script["/refused"] = [Answer(429, headers={"Retry-After": "1"}), Answer()]
    for number in range(60):
        server.script[f"/{number}"] = [Answer()]

    with client_of(server, requests_per_minute=6000) as client, ThreadPoolExecutor(4) as threads:
        paths = [*range(10), "refused", *range(10, 60)]
        list(threads.map(lambda path: client.get(f"{server.url}/{path}"), paths))

    refused = server.times("/refused")[0]
    # 0.3 s, on a busy machine: what was on its way when the refusal came. Then nobody asks until the second is over.
    assert [path for at, path, _ in server.asked if refused + 0.3 < at < refused + 1] == []
    assert len(server.asked) == 62


def test_a_long_pause_is_not_sat_out(server: ScriptedServer, fake: FakeTime) -> None:
    server.script["/cover"] = [Answer(429, headers={"Retry-After": "3600"})]
    client = client_of(server, fake, longest_wait=120)

    with pytest.raises(HostPausedError, match=r"for 3,[56]\d\d s"):
        client.get(f"{server.url}/cover")
    with pytest.raises(HostPausedError):
        client.get(f"{server.url}/another")

    assert len(server.asked) == 1
    fake.now += 3600
    server.script["/cover"] = [Answer()]
    assert client.get(f"{server.url}/cover").status == 200


def test_threads_share_one_even_pace(server: ScriptedServer) -> None:
    server.script["/cover"] = [Answer()]

    with client_of(server, requests_per_minute=1200) as client, ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: client.get(f"{server.url}/cover"), range(21)))
        waited = client.metrics.waited

    times = server.times("/cover")
    assert times[-1] - times[0] >= 20 * 0.05 - 0.2  # the first may be late on a busy machine
    assert all(later - earlier > 0.2 for earlier, later in zip(times, times[10:], strict=False))  # never in bursts
    assert waited > 1


def test_metrics_tell_what_was_done(server: ScriptedServer, fake: FakeTime) -> None:
    server.script["/cover"] = [Answer(503, body=b"123"), Answer(body=b"12345")]
    client = client_of(server, fake)
    client.get(f"{server.url}/nothing")
    before = client.metrics

    client.get(f"{server.url}/cover")

    done = client.metrics.since(before)
    assert (done.requests, done.bytes, done.by_status) == (2, 8, {200: 1, 503: 1})
    assert done.waited == pytest.approx(sum(fake.slept))


def test_connections_are_kept_between_requests(server: ScriptedServer) -> None:
    server.script["/cover"] = [Answer()]
    before = threading.active_count()

    with client_of(server) as client:
        answers: list[Response] = [client.get(f"{server.url}/cover") for _ in range(20)]
        assert threading.active_count() == before + 1  # the server runs a thread a connection

    assert {answer.headers["Content-Length"] for answer in answers} == {"6"}


def test_a_budget_ends_asking_instead_of_a_wait_beyond_it(server: ScriptedServer, fake: FakeTime) -> None:
    server.script["/cover"] = [Answer(429, headers={"Retry-After": "100"}), Answer()]
    client = client_of(server, fake)
    bounded = client.within(Budget(60, fake.clock))

    with pytest.raises(BudgetSpentError, match="s are left"):
        bounded.get(f"{server.url}/cover")

    assert sum(fake.slept) < 60
    assert client.get(f"{server.url}/cover").status == 200
    assert bounded.metrics == client.metrics
    assert client.metrics.by_status == {200: 1, 429: 1}
    with pytest.raises(BudgetSpentError, match="are over"):
        bounded.get(f"{server.url}/cover")
    assert len(server.asked) == 2


def test_a_picture_on_its_way_when_the_budget_ends_is_taken(server: ScriptedServer) -> None:
    server.script["/cover"] = [Answer(body=b"a cover", pause=0.02)]

    with client_of(server) as client:
        budget = Budget(0.06)
        assert client.within(budget).get(f"{server.url}/cover").body == b"a cover"

        assert budget.left() == 0
        assert (client.metrics.requests, client.metrics.bytes) == (1, 7)


def test_a_budget_ends_a_stream_between_two_pieces(server: ScriptedServer, fake: FakeTime) -> None:
    server.script["/zip"] = [Answer(body=b"x" * 1_000_000)]

    with client_of(server, fake).within(Budget(60, fake.clock)).open(f"{server.url}/zip") as stream:
        pieces = iter(stream)
        next(pieces)
        fake.now += 61
        with pytest.raises(BudgetSpentError):
            list(pieces)


def test_nothing_is_asked_outside_the_window(server: ScriptedServer) -> None:
    server.script["/cover"] = [Answer()]
    now = datetime.now(UTC)
    open_now = Window((now - timedelta(hours=1)).time(), (now + timedelta(hours=1)).time())
    closed_now = Window((now + timedelta(hours=1)).time(), (now - timedelta(hours=1)).time())

    with client_of(server) as client:
        with pytest.raises(OutsideWindowError, match="go on after"):
            client.within(window=closed_now).get(f"{server.url}/cover")
        assert server.asked == []
        assert client.within(window=open_now).get(f"{server.url}/cover").status == 200


def test_a_host_that_fails_again_and_again_is_left_alone_until_the_run_ends(
    server: ScriptedServer, fake: FakeTime
) -> None:
    for number in range(3):
        server.script[f"/{number}"] = [Answer(503)]
    client = client_of(server, fake, breaker=Breaker(streak=10, openings=4))

    for number in range(2):
        with pytest.raises(GaveUpError):
            client.get(f"{server.url}/{number}")
    with pytest.raises(HostPausedError, match="failed 13 times in a row"):
        client.get(f"{server.url}/2")

    assert (len(server.asked), client.metrics.opened) == (10 + 3, 4)
    assert sum(fake.slept) > 7.5 + 15 + 30  # pauses of at least half of 15, 30 and 60 s, waited for


def test_broken_connections_count_as_a_streak_and_one_answer_ends_it(server: ScriptedServer, fake: FakeTime) -> None:
    server.script["/cover"] = [Answer(body=b"half", length=8)] * 4 + [Answer(404)]
    client = client_of(server, fake, breaker=Breaker(streak=4, first_pause=50))

    assert client.get(f"{server.url}/cover").status == 404

    assert client.metrics.opened == 1
    assert sum(fake.slept) >= 25
    assert client.get(f"{server.url}/nothing").status == 404


def test_a_long_body_after_a_pause_lets_the_others_go_on(server: ScriptedServer, fake: FakeTime) -> None:
    server.script["/zip"] = [Answer(503), Answer(body=b"x" * 1_000_000)]
    client = client_of(server, fake, breaker=Breaker(streak=1, first_pause=2, probe=1000))

    with client.open(f"{server.url}/zip") as stream:
        before = fake.now
        client.get(f"{server.url}/nothing")

        assert fake.now - before < 1
        assert len(b"".join(stream)) == 1_000_000


def test_a_pause_is_shared_by_all_clients_of_a_machine(server: ScriptedServer, fake: FakeTime, tmp_path: Path) -> None:
    server.script["/cover"] = [Answer(429, headers={"Retry-After": "600"})]
    one, other = (client_of(server, fake, states=SharedHostStates(tmp_path, fake.clock)) for _ in range(2))

    with pytest.raises(HostPausedError):
        one.get(f"{server.url}/cover")
    with pytest.raises(HostPausedError, match="it asks to be left alone"):
        other.get(f"{server.url}/another")

    assert len(server.asked) == 1


def test_a_budget_ends_a_wait_between_two_attempts(server: ScriptedServer, fake: FakeTime) -> None:
    server.script["/cover"] = [Answer(503)]
    client = client_of(server, fake, backoff=1e6).within(Budget(0.001, fake.clock))

    with pytest.raises(BudgetSpentError):
        client.get(f"{server.url}/cover")

    assert (len(server.asked), fake.slept) == (1, [])
